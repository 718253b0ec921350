"""Rights: judged for each ref, from the route alone, never lent by one repository to another."""

import dataclasses
from pathlib import Path

import pytest

from gitserve.pktline import encode
from services.tokens import new_access_token
from tests.support.git import GitRepository
from tests.support.hostile import Objects
from tests.support.hostile_world import PUBLIC, SECRET, TARGET, World, told
from tests.support.raw_git import (
    DELIMITER,
    FLUSH,
    Answer,
    Door,
    HTTPDoor,
    Person,
    SSHDoor,
    commands,
    packets,
    push,
)
from tests.support.ssh import generate_key

NOT_FOUND = "repository not found"
SCOPES = "your token has not been granted the required scopes: this requires one of the following"
LIMITED = "this credential is limited to other repositories than"
OTHER = "hostile-ann/other"  # private, and Ann's as well
MISSING = "missing necessary objects"
RESERVED = "refs of this namespace are written by the hub alone"


def test_each_ref_of_a_push_is_judged_alone(world: World, door: Door, fresh: str) -> None:
    """CVE-2026-27775: the first ref's right is not the right to the others."""
    objects = Objects()
    tip = objects.files(README=b"x")
    moves = [
        ("refs/heads/main", None, tip),
        ("refs/pull/1/head", None, tip),
        ("refs/och/x", None, tip),
        ("refs/heads/other", None, "1" * 40),
        ("refs/tags/v1", None, tip),
    ]
    report = push(door, fresh, world.mallory, moves, objects.pack())
    assert report.unpack == "ok"
    assert report.refs == {
        "refs/heads/main": "ok",
        "refs/pull/1/head": RESERVED,
        "refs/och/x": RESERVED,
        "refs/heads/other": MISSING,
        "refs/tags/v1": "ok",
    }
    assert world.state(fresh).refs == [("refs/heads/main", tip), ("refs/tags/v1", tip)]


def test_one_bad_ref_ends_an_atomic_push(world: World, door: Door) -> None:
    """CVE-2026-27775, with --atomic: all or nothing."""
    objects = Objects()
    tip = objects.files(README=b"x")
    before = world.state(TARGET)
    report = push(
        door,
        TARGET,
        world.mallory,
        [("refs/heads/new", None, tip), ("refs/pull/1/head", None, tip)],
        objects.pack(),
        capabilities="report-status side-band-64k quiet atomic object-format=sha1",
    )
    assert report.refs == {"refs/heads/new": "atomic push failed", "refs/pull/1/head": RESERVED}
    assert world.state(TARGET) == before


def want(version: int, *oids: str) -> bytes:
    """A request for the objects, and nothing that the client has."""
    if version == 2:
        head = encode(b"command=fetch\n") + encode(b"object-format=sha1\n") + DELIMITER
        lines = [b"no-progress\n", *(f"want {oid}\n".encode() for oid in oids), b"done\n"]
        return head + b"".join(encode(line) for line in lines) + FLUSH
    first, *rest = (f"want {oid}" for oid in oids)
    lines = [f"{first} ofs-delta no-progress\n", *(f"{line}\n" for line in rest)]
    return b"".join(encode(line.encode()) for line in lines) + FLUSH + encode(b"done\n")


@pytest.mark.parametrize("version", [0, 1, 2])
def test_an_object_of_another_repository(world: World, door: Door, version: int) -> None:
    """GHSA CFOR: knowing the id of a private commit fetches it from no other repository."""
    for path in (TARGET, PUBLIC):
        answer = door.exchange(
            "upload-pack", path, world.mallory, want(version, world.secret), version=version
        )
        assert packets(answer.body) == [f"ERR upload-pack: not our ref {world.secret}".encode()], (
            answer
        )
    answer = door.exchange(
        "upload-pack", SECRET, world.ann, want(version, world.secret), version=version
    )
    assert b"PACK" in answer.body


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_private_repository_itself(world: World, door: Door, version: int) -> None:
    """Its name and a missing one are told the same, whatever the protocol."""
    answers = [
        door.exchange("upload-pack", path, world.mallory, want(version, world.secret))
        for path in (SECRET, "hostile-ann/missing", "nobody-at-all/secret")
    ]
    assert len({refusal_of(door, answer) for answer in answers}) == 1
    expected = f"ERROR: {NOT_FOUND}\n" if door.name == "ssh" else f"ERR {NOT_FOUND}"
    assert refusal_of(door, answers[0]) == expected


def refusal_of(door: Door, answer: Answer) -> str:
    if door.name == "ssh":
        assert answer.body == b""
        return told(answer.told)
    (packet,) = packets(answer.body)
    return told(packet.decode())


def test_a_ref_to_an_object_of_another_repository(world: World, door: Door) -> None:
    """CVE-2026-28740, in git's terms: an id is no proof of having the object."""
    before = world.state(TARGET)
    for data in (Objects().pack(), b""):
        report = push(
            door, TARGET, world.mallory, [("refs/heads/stolen", None, world.secret)], data
        )
        assert set(report.refs) == {"refs/heads/stolen"}
        assert report.refs["refs/heads/stolen"] in (MISSING, "unpacker error")
    objects = Objects()
    tip = objects.commit(objects.tree(), world.secret)
    report = push(door, TARGET, world.mallory, [("refs/heads/stolen", None, tip)], objects.pack())
    assert report.refs["refs/heads/stolen"] in (MISSING, "unpacker error")
    assert world.state(TARGET) == before


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_fork_and_its_source_share_no_object(world: World, door: Door, version: int) -> None:
    """GHSA CFOR: neither serves what was deleted or pushed later in the other, whoever asks."""
    source = world.create(world.ann, f"forked-{door.name}-{version}")
    objects = Objects()
    base = objects.files(README=b"x")
    deleted = objects.files(base, KEY=f"deleted {source}".encode())
    moves = [("refs/heads/main", None, base), ("refs/heads/secret", None, deleted)]
    assert push(door, source, world.ann, moves, objects.pack()).unpack == "ok"
    gone = push(door, source, world.ann, [("refs/heads/secret", deleted, None)], b"")
    assert gone.refs == {"refs/heads/secret": "ok"}
    given = {"repositoryId": world.node_id(source, world.mallory)}
    answer = world.mutate(world.mallory, "forkRepository", given, "repository { nameWithOwner }")
    fork = answer["repository"]["nameWithOwner"]  # type: ignore[index]
    later = {}
    for path, who in ((source, world.ann), (fork, world.mallory)):
        objects = Objects()
        later[path] = objects.files(base, LATER=path.encode())
        report = push(door, path, who, [("refs/heads/later", None, later[path])], objects.pack())
        assert report.refs == {"refs/heads/later": "ok"}
    for path, oid in ((fork, deleted), (fork, later[source]), (source, later[fork])):
        answer = door.exchange("upload-pack", path, world.ann, want(version, oid), version=version)
        assert packets(answer.body) == [f"ERR upload-pack: not our ref {oid}".encode()]


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """Keys and tokens of limited use, by name."""

    by_name: dict[str, Person]


@pytest.fixture(scope="session")
def credentials(world: World, tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    folder = tmp_path_factory.mktemp("credentials")
    people = {"ann": world.ann, "reader": world.ron, "other": world.mallory}
    people["stranger"] = world.stranger
    for scope in ("public_repo", "read:user"):
        token = world.hub.create_token(world.ann.login, scope)
        people[f"token {scope}"] = Person(world.ann.login, token, world.stranger.key)
    for name, read_only in (("deploy key", False), ("read-only deploy key", True)):
        key = folder / name.replace(" ", "-")
        generate_key(key)
        given = {
            "repositoryId": world.node_id(SECRET, world.ann),
            "title": name,
            "key": key.with_name(f"{key.name}.pub").read_text(),
            "readOnly": read_only,
        }
        world.mutate(world.ann, "createDeployKey", given, "clientMutationId")
        people[name] = Person("", "", key)
    people["wrong token"] = Person(world.ann.login, new_access_token(), world.stranger.key)
    world.create(world.ann, "other", private=True)
    return Credentials(people)


HTTP_MATRIX = {
    ("ann", SECRET): None,
    ("ann", PUBLIC): None,
    ("reader", SECRET): (
        403,
        "you need the write role on hostile-ann/secret for this; yours is read\n",
    ),
    ("reader", PUBLIC): (
        403,
        "you need the write role on hostile-ann/public for this; yours is read\n",
    ),
    ("other", SECRET): (404, "repository not found\n"),
    ("stranger", SECRET): (401, "authentication required\n"),
    ("stranger", PUBLIC): (401, "authentication required\n"),
    ("wrong token", PUBLIC): (401, "Bad credentials\n"),
    ("token public_repo", PUBLIC): None,
    ("token public_repo", SECRET): (403, f"{SCOPES} scopes: ['repo']\n"),
    ("token read:user", PUBLIC): (403, f"{SCOPES} scopes: ['public_repo', 'repo']\n"),
    ("token read:user", SECRET): (403, f"{SCOPES} scopes: ['repo']\n"),
}


@pytest.mark.parametrize(("who", "path"), HTTP_MATRIX)
def test_who_may_push_over_http(
    world: World, http: HTTPDoor, credentials: Credentials, who: str, path: str
) -> None:
    """CVE-2026-28699, CVE-2026-28744: a credential's scope holds on this route as on any other."""
    person = credentials.by_name[who]
    expected = HTTP_MATRIX[who, path]
    before = world.state(path)
    answer = http.advertise("receive-pack", path, person)
    oid = Objects().files(README=b"x")
    moves = [("refs/heads/new", None, oid)]
    direct = http.exchange("receive-pack", path, person, commands(moves) + Objects().pack())
    if expected is None:
        assert answer.status == 200
        assert b"ng refs/heads/new" in direct.body
    else:
        assert (answer.status, told(answer.body.decode())) == expected
        # Whoever skips the question is refused in the answer, where a git client shows it.
        assert direct.status in (200, 401)
        assert expected[1].strip() in told(direct.body.decode())
    assert world.state(path) == before


SSH_MATRIX = {
    ("ann", SECRET): None,
    ("reader", SECRET): "you need the write role on hostile-ann/secret for this; yours is read",
    ("other", SECRET): NOT_FOUND,
    ("deploy key", SECRET): None,
    ("deploy key", OTHER): NOT_FOUND,
    ("deploy key", PUBLIC): f"{LIMITED} {PUBLIC}",
    ("deploy key", TARGET): f"{LIMITED} {TARGET}",
    ("read-only deploy key", SECRET): "this deploy key is read-only",
    ("read-only deploy key", OTHER): NOT_FOUND,
    ("read-only deploy key", TARGET): f"{LIMITED} {TARGET}",
}


@pytest.mark.parametrize(("who", "path"), SSH_MATRIX)
def test_who_may_push_over_ssh(
    world: World, ssh: SSHDoor, credentials: Credentials, who: str, path: str
) -> None:
    """GHSA-rh79-75qm-gwjr: a deploy key reaches one repository, and writes only if it may."""
    expected = SSH_MATRIX[who, path]
    answer = ssh.advertise("receive-pack", path, credentials.by_name[who])
    if expected is None:
        assert (answer.status, answer.told) == (0, "")
    else:
        assert (answer.status, answer.body) == (1, b"")
        assert told(answer.told) == f"ERROR: {expected}\n"


def test_a_stranger_at_the_ssh_door(world: World, ssh: SSHDoor) -> None:
    answer = ssh.advertise("receive-pack", PUBLIC, world.stranger)
    assert (answer.status, answer.body) == (255, b"")
    assert answer.told.replace("\r", "") == "git@127.0.0.1: Permission denied (publickey).\n"


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        (
            f"/{PUBLIC}.git/git-receive-pack?service=git-upload-pack",
            400,
            "the query names another service than the path\n",
        ),
        (
            f"/{PUBLIC}.git/git-receive-pack?service=git-receive-pack&service=git-upload-pack",
            400,
            "the query names another service than the path\n",
        ),
        (f"/{PUBLIC}.git/git-receive-pack", 401, "authentication required\n"),
        (
            f"/{PUBLIC}.git/git-receive-pack?service=",
            400,
            "the query names another service than the path\n",
        ),
    ],
)
def test_the_query_does_not_choose_the_right(
    world: World, http: HTTPDoor, target: str, status: int, text: str
) -> None:
    """CVE-2026-52810: the route alone tells which right a request takes."""
    answer = http.request(
        "POST",
        target,
        world.stranger,
        body=commands([("refs/heads/x", None, world.base)]) + Objects().pack(),
        headers={"Content-Type": "application/x-git-receive-pack-request"},
    )
    assert (answer.status, told(answer.body.decode())) == (status, text)


def test_a_right_that_ended(world: World, door: Door, tmp_path: Path) -> None:
    """CVE-2026-20800 and its like: who was a collaborator is none at the next request."""
    path = world.create(world.ann, f"lent-{door.name}", private=True)
    given = {"repositoryId": world.node_id(path, world.ann)}
    user = world.hub.graphql(
        "query($login: String!) { user(login: $login) { id } }",
        {"login": world.ron.login},
        token=world.ann.token,
    )["data"]["user"]["id"]
    share = given | {"userId": user, "permission": "WRITE"}
    world.mutate(world.ann, "addCollaborator", share, "clientMutationId")
    objects = Objects()
    tip = objects.files(README=b"x")
    report = push(door, path, world.ron, [("refs/heads/main", None, tip)], objects.pack())
    assert report.refs == {"refs/heads/main": "ok"}
    world.mutate(world.ann, "removeCollaborator", given | {"userId": user}, "clientMutationId")
    before = world.state(path)
    answer = door.exchange(
        "receive-pack", path, world.ron, commands([("refs/heads/main", tip, None)])
    )
    assert NOT_FOUND in told(answer.body.decode() + answer.told)
    assert world.state(path) == before
    url = world.hub.clone_url(path, world.ron.token)
    assert "not found" in GitRepository(tmp_path).failure("ls-remote", url)
