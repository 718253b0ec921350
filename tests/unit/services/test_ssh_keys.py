"""SSH keys: which are accepted, in real ssh-keygen's words, and whose they are."""

import asyncio
import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from models import Event, SSHKey, User, Visibility
from services import authentication, deploy_keys, ssh_keys
from services.actor import Actor
from services.errors import (
    Conflict,
    FailedPrecondition,
    Forbidden,
    InsufficientScopes,
    Invalid,
    NotFound,
    Unauthenticated,
)
from services.runtime import Runtime
from services.ssh_public_keys import parse_public_key
from tests.support.factories import (
    make_key_pair,
    make_repository,
    make_session,
    make_ssh_key,
    make_token,
    make_user,
    session_actor,
)
from tests.support.runtime import make_op, operator

DAMAGED = "the key is damaged; copy the whole line of the .pub file"
OPTIONS = "options before the key are not accepted; begin with the type of the key"
CURE = "make one with: ssh-keygen -t ed25519"


def ssh_keygen(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["ssh-keygen", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def generate(folder: Path, kind: str, bits: int | None = None) -> str:
    size = () if bits is None else ("-b", str(bits))
    ssh_keygen(folder, "-q", "-t", kind, *size, "-N", "", "-C", "ann@laptop", "-f", "key")
    return (folder / "key.pub").read_text()


def line_of(*fields: bytes) -> str:
    """A key line made of length-prefixed fields; the first is the type."""
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return f"{fields[0].decode()} {base64.b64encode(blob).decode()}"


def fields_of(line: str) -> list[bytes]:
    blob, fields = base64.b64decode(line.split()[1]), []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def security_keys() -> dict[str, str]:
    """Lines as hardware tokens make them."""
    edwards = ed25519.Ed25519PrivateKey.generate().public_key()
    nist = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {
        "sk-ssh-ed25519@openssh.com": line_of(
            b"sk-ssh-ed25519@openssh.com",
            edwards.public_bytes(Encoding.Raw, PublicFormat.Raw),
            b"ssh:",
        ),
        "sk-ecdsa-sha2-nistp256@openssh.com": line_of(
            b"sk-ecdsa-sha2-nistp256@openssh.com",
            b"nistp256",
            nist.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            b"ssh:hub",
        ),
    }


def fault_of(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        parse_public_key(text)
    assert caught.value.fields == ("key",)
    return caught.value.message


@pytest.mark.parametrize(
    ("kind", "bits", "name"),
    [
        ("ed25519", None, "ssh-ed25519"),
        ("ecdsa", 256, "ecdsa-sha2-nistp256"),
        ("ecdsa", 384, "ecdsa-sha2-nistp384"),
        ("ecdsa", 521, "ecdsa-sha2-nistp521"),
        ("rsa", 2048, "ssh-rsa"),
        ("rsa", 3072, "ssh-rsa"),
    ],
)
def test_keys_of_ssh_keygen_are_read_as_it_reads_them(
    tmp_path: Path, kind: str, bits: int | None, name: str
) -> None:
    text = generate(tmp_path, kind, bits)
    key = parse_public_key(text)
    assert (key.type, key.comment) == (name, "ann@laptop")
    assert key.text == text.rsplit(" ", 1)[0]
    assert ssh_keygen(tmp_path, "-l", "-f", "key.pub").split()[1] == key.fingerprint


def test_security_keys_are_read_as_ssh_keygen_reads_them(tmp_path: Path) -> None:
    for name, line in security_keys().items():
        key = parse_public_key(f"  {line} my token \r\n")
        assert (key.type, key.text, key.comment) == (name, line, "my token")
        (tmp_path / "key.pub").write_text(line + "\n")
        assert ssh_keygen(tmp_path, "-l", "-f", "key.pub").split()[1] == key.fingerprint


def test_short_rsa_keys_are_refused_with_the_cure(tmp_path: Path) -> None:
    assert fault_of(generate(tmp_path, "rsa", 1024)) == (
        f"the RSA key has 1024 bits; at least 2048 are needed. Better, {CURE}"
    )
    fields = fields_of(generate_again(tmp_path))
    # 2041 bits look like 2048 in the length of the number.
    short = b"\x01" + fields[2][2:]
    assert fault_of(line_of(b"ssh-rsa", fields[1], short)).startswith("the RSA key has 2041 bits")


def generate_again(folder: Path) -> str:
    for name in ("key", "key.pub"):
        (folder / name).unlink()
    return generate(folder, "rsa", 2048)


def test_private_keys_are_refused_and_exposed(tmp_path: Path) -> None:
    generate(tmp_path, "ed25519")
    assert fault_of((tmp_path / "key").read_text()) == (
        "this is a private key, which must never leave your machine; paste the .pub file. "
        "Treat the private key as exposed and make a new one"
    )


def test_certificates_are_refused(tmp_path: Path) -> None:
    generate(tmp_path, "ed25519")
    ssh_keygen(tmp_path, "-q", "-s", "key", "-I", "ann", "-n", "git", "key.pub")
    assert fault_of((tmp_path / "key-cert.pub").read_text()) == (
        "this is a certificate; paste the key it was made for, the .pub file without -cert"
    )


def test_what_is_not_one_plain_line_is_refused_with_the_reason() -> None:
    line = make_key_pair("").public.strip()
    kind, encoded = line.split()
    other = make_key_pair("").public.split()[1]
    cases = {
        "": f"the key is empty; paste the line of the .pub file, or {CURE}",
        "ssh-dss AAAAB3NzaC1kc3M=": f"DSA keys are not secure any more; {CURE}",
        "ssh-ed448 AAAA": f"keys of this type are not accepted; {CURE}",
        "hello": f"keys of this type are not accepted; {CURE}",
        f'command="sh" {line}': OPTIONS,
        f'no-pty,permitopen="a b" {line}': OPTIONS,
        f"from=* {line}": OPTIONS,
        f"{line}\n{line}": "the key has several lines; paste the one line of the .pub file",
        f"{line}\rssh-rsa x": "the key has several lines; paste the one line of the .pub file",
        kind: "the key is not of the form 'ssh-ed25519 AAAA... comment'; copy the whole line",
        f"{kind} not*base64": (
            "the key is not of the form 'ssh-ed25519 AAAA... comment'; copy the whole line"
        ),
        f"{kind} {'A' * 20_000}": "the key is longer than 16384 characters; paste one key only",
        f"{kind} {encoded[:-4]}": DAMAGED,
        f"{kind} {encoded[:-1]}": DAMAGED,
        f"{kind} {encoded}AAAA": DAMAGED,
        f"{kind} {encoded}{other}": DAMAGED,
        f"ssh-rsa {encoded}": DAMAGED,
        f"ecdsa-sha2-nistp256 {encoded}": DAMAGED,
        f"{kind} AAAA": DAMAGED,
        f"{kind} AAAAAA==": DAMAGED,
        f"sk-ssh-ed25519@openssh.com {encoded}": DAMAGED,
    }
    for text, fault in cases.items():
        assert fault_of(text) == fault
    assert parse_public_key(f"{line}\ttab comment").comment == "tab comment"


def test_one_key_has_one_form(tmp_path: Path) -> None:
    """Else a key could be added twice, or be stored as one that no client ever sends."""
    _, exponent, modulus = fields_of(generate(tmp_path, "rsa", 2048))
    assert fault_of(line_of(b"ssh-rsa", b"\0" + exponent, modulus)) == DAMAGED
    assert fault_of(line_of(b"ssh-rsa", exponent, b"\0" + modulus)) == DAMAGED
    assert fault_of(line_of(b"ssh-rsa", exponent, modulus[1:])) == DAMAGED
    assert fault_of(line_of(b"ssh-rsa", exponent, modulus, b"")) == DAMAGED


def test_damaged_security_keys_are_refused() -> None:
    kinds = security_keys()
    edwards = fields_of(kinds["sk-ssh-ed25519@openssh.com"])
    nist = fields_of(kinds["sk-ecdsa-sha2-nistp256@openssh.com"])
    for fields in (
        edwards[:2],
        [*edwards, b"more"],
        [edwards[0], edwards[1][:-1], b"ssh:"],
        [edwards[0], edwards[1], b"https://evil.example"],
        [edwards[0], edwards[1], b"ssh:\xff"],
        nist[:3],
        [nist[0], b"nistp384", *nist[2:]],
        [nist[0], nist[1], b"\x04" + b"\0" * 64, nist[3]],  # not on the curve
        [nist[0], nist[1], b"", nist[3]],
        [nist[0], nist[1], b"\x02" + nist[2][1:33], nist[3]],  # compressed
    ):
        assert fault_of(line_of(*fields)) == DAMAGED
    swapped = f"sk-ssh-ed25519@openssh.com {kinds['sk-ecdsa-sha2-nistp256@openssh.com'].split()[1]}"
    assert fault_of(swapped) == DAMAGED


async def actor_of(runtime: Runtime, user: User) -> Actor:
    return session_actor(await make_session(runtime, user))


@pytest.mark.databases
async def test_adding_listing_and_removing(runtime: Runtime, ann: User) -> None:
    op = make_op(runtime, await actor_of(runtime, ann))
    pair = make_key_pair("ann@laptop")
    titled = await ssh_keys.add_ssh_key(op, ann.id, " my laptop ", make_key_pair().public)
    untitled = await ssh_keys.add_ssh_key(op, ann.id, "", pair.public)
    bare = await ssh_keys.add_ssh_key(op, ann.id, "", make_key_pair("").public)
    assert (titled.title, untitled.title) == ("my laptop", "ann@laptop")
    assert bare.title == bare.fingerprint
    assert untitled.public_key == pair.public.rsplit(" ", 1)[0]
    async with op.read() as tx:
        assert [row.id for row in await ssh_keys.list_ssh_keys(tx)] == [
            titled.id,
            untitled.id,
            bare.id,
        ]
    await ssh_keys.remove_ssh_key(op, titled.id)
    with pytest.raises(NotFound) as caught:
        await ssh_keys.remove_ssh_key(op, titled.id)
    assert caught.value.message == "there is no such SSH key"
    async with op.read() as tx:
        names = list(await tx.session.scalars(select(Event.name)))
    assert names.count("CredentialCreated") == 4  # with the session
    assert names.count("CredentialRevoked") == 1
    with pytest.raises(Invalid) as title:
        await ssh_keys.add_ssh_key(op, ann.id, "a\nb", pair.public)
    assert title.value.message == "a key's title can have at most 255 printable characters"


@pytest.mark.databases
async def test_a_key_stands_for_one_identity(runtime: Runtime, ann: User, bob: User) -> None:
    demo = await make_repository(runtime, ann, "demo")
    public = make_key_pair().public
    await make_ssh_key(runtime, ann, public)
    for attempt in (
        make_ssh_key(runtime, ann, public),
        make_ssh_key(runtime, bob, public + " other comment"),
        deploy_keys.add_deploy_key(operator(runtime), demo.id, "robot", public),
    ):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.message == "key is already in use"
        assert caught.value.fields == ("key",)
    contested = make_key_pair().public
    outcomes = await asyncio.gather(
        *(make_ssh_key(runtime, user, contested) for user in (ann, bob, ann, bob)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict"] * 3 + ["SSHKey"]


async def test_who_may_add_and_remove_keys(runtime: Runtime, ann: User, bob: User) -> None:
    mine = await make_ssh_key(runtime, ann)
    public = make_key_pair().public
    boss = await make_user(runtime, "boss", site_admin=True)
    for user in (bob, boss):
        with pytest.raises(Forbidden) as caught:
            await ssh_keys.add_ssh_key(
                make_op(runtime, await actor_of(runtime, user)), ann.id, "", public
            )
        assert caught.value.message == "credentials can only be made for one's own account"
    with pytest.raises(Unauthenticated):
        await ssh_keys.add_ssh_key(make_op(runtime), ann.id, "", public)
    with pytest.raises(NotFound):
        await ssh_keys.remove_ssh_key(make_op(runtime, await actor_of(runtime, bob)), mine.id)

    async def by_token(*scopes: str, only: list[int] | None = None) -> Actor:
        made = await make_token(runtime, ann, *scopes, repository_ids=only)
        return await authentication.authenticate_token(make_op(runtime), made.token)

    reading = make_op(runtime, await by_token("read:public_key", "repo"))
    async with reading.read() as tx:
        assert len(await ssh_keys.list_ssh_keys(tx)) == 1
    with pytest.raises(InsufficientScopes) as scope:
        await ssh_keys.add_ssh_key(reading, ann.id, "", public)
    assert scope.value.details == {"scopes": ["admin:public_key", "write:public_key"]}
    demo = await make_repository(runtime, ann, "demo")
    limited = make_op(runtime, await by_token("admin:public_key", only=[demo.id]))
    with pytest.raises(Forbidden) as narrow:
        await ssh_keys.add_ssh_key(limited, ann.id, "", public)
    assert narrow.value.message == (
        "an access token limited to some repositories cannot change the account"
    )
    writing = make_op(runtime, await by_token("write:public_key"))
    added = await ssh_keys.add_ssh_key(writing, ann.id, "", public)
    with pytest.raises(InsufficientScopes):
        await ssh_keys.remove_ssh_key(writing, added.id)
    await ssh_keys.remove_ssh_key(make_op(runtime, await by_token("admin:public_key")), added.id)
    by_key = await authentication.authenticate_ssh_key(make_op(runtime), mine.fingerprint)
    with pytest.raises(Forbidden) as key:
        await ssh_keys.add_ssh_key(make_op(runtime, by_key), ann.id, "", public)
    assert key.value.message == "an SSH key can only fetch and push"
    await ssh_keys.remove_ssh_key(make_op(runtime, await actor_of(runtime, boss)), mine.id)


async def test_there_is_room_for_so_many_keys(
    runtime: Runtime, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_keys, "MAX_KEYS", 1)
    monkeypatch.setattr(deploy_keys, "MAX_DEPLOY_KEYS", 1)
    demo = await make_repository(runtime, ann, "demo")
    await make_ssh_key(runtime, ann)
    await deploy_keys.add_deploy_key(operator(runtime), demo.id, "", make_key_pair().public)
    with pytest.raises(FailedPrecondition) as caught:
        await make_ssh_key(runtime, ann)
    assert caught.value.message == "an account can have at most 1 SSH keys; delete one first"
    with pytest.raises(FailedPrecondition) as caught:
        await deploy_keys.add_deploy_key(operator(runtime), demo.id, "", make_key_pair().public)
    assert caught.value.message == "a repository can have at most 1 deploy keys; delete one first"


@pytest.mark.databases
async def test_deploy_keys_belong_to_a_repository(runtime: Runtime, ann: User, bob: User) -> None:
    demo = await make_repository(runtime, ann, "demo", visibility=Visibility.PRIVATE)
    other = await make_repository(runtime, ann, "other")
    op = make_op(runtime, await actor_of(runtime, ann))
    row = await deploy_keys.add_deploy_key(op, demo.id, "robot", make_key_pair().public)
    assert (row.read_only, row.user_id, row.added_by_id) == (True, None, ann.id)
    async with op.read() as tx:
        assert [each.id for each in await deploy_keys.list_deploy_keys(tx, demo)] == [row.id]
        assert await deploy_keys.list_deploy_keys(tx, other) == []
    for number in (row.id, 0, 2**70):
        with pytest.raises(NotFound) as caught:
            await deploy_keys.remove_deploy_key(op, other.id, number)
        assert caught.value.message == "the repository has no such deploy key"
    # A deploy key is no SSH key of an account, so that door does not remove it either.
    with pytest.raises(NotFound):
        await ssh_keys.remove_ssh_key(op, row.id)
    stranger = make_op(runtime, await actor_of(runtime, bob))
    with pytest.raises(NotFound):
        await deploy_keys.add_deploy_key(stranger, demo.id, "", make_key_pair().public)
    with pytest.raises(Forbidden):
        await deploy_keys.add_deploy_key(stranger, other.id, "", make_key_pair().public)
    async with stranger.read() as tx:
        with pytest.raises(Forbidden):
            await deploy_keys.list_deploy_keys(tx, other)
    await deploy_keys.remove_deploy_key(op, demo.id, row.id)
    async with runtime.database.read() as session:
        assert await session.scalar(select(SSHKey)) is None
