"""Hostile objects: what a pack may not bring, told to the pusher, and nothing of it kept.

Paths with a backslash (``a\\..\\..\\b``) and links that lead out of the work tree are kept as any
other: the server never checks files out, and git on Windows refuses such names when it does.
"""

import pytest

from tests.support.git import GitRepository
from tests.support.hostile import FILE, FOLDER, LINK, SUBMODULE, Objects
from tests.support.hostile_world import TARGET, World
from tests.support.raw_git import Door, HTTPDoor, Report, push, read_report
from tests.support.raw_git import commands as command_list

REF = "refs/heads/hostile"


def gitmodules(text: bytes) -> tuple[Objects, str]:
    objects = Objects()
    return objects, objects.files(_gitmodules=text)


def submodule(key: bytes, value: bytes, name: bytes = b"lib") -> bytes:
    settings = {b"path": b"lib", b"url": b"https://example.com/lib.git"} | {key: value}
    lines = b"".join(b"\t%s = %s\n" % pair for pair in settings.items())
    return b'[submodule "%s"]\n%s' % (name, lines)


def refused(world: World, door: Door, objects: Objects, tip: str) -> str:
    """Push ``tip``; what the whole pack is refused for. Nothing may have changed."""
    before = world.state(TARGET)
    report = push(door, TARGET, world.mallory, [(REF, None, tip)], objects.pack())
    assert report.refs == {REF: "unpacker error"}
    assert report.error == ""
    assert world.state(TARGET) == before
    return report.unpack


def unsafe(world: World, door: Door, objects: Objects, tip: str, *, commit: str = "") -> str:
    """Push ``tip``; why the ``.gitmodules`` of ``commit`` is refused. Nothing may have changed."""
    before = world.state(TARGET)
    report = push(door, TARGET, world.mallory, [(REF, None, tip)], objects.pack())
    assert (report.unpack, report.error) == ("ok", "")
    assert world.state(TARGET) == before
    return reason_in(report, commit or tip)


def reason_in(report: Report, commit: str) -> str:
    start, end = ".gitmodules is not safe: ", f" (commit {commit[:12]})"
    reason = report.refs[REF]
    assert reason.startswith(start)
    assert reason.endswith(end)
    return reason[len(start) : -len(end)]


def accepted(world: World, door: Door, objects: Objects, tip: str) -> None:
    """Push ``tip`` and delete the ref again."""
    report = push(door, TARGET, world.mallory, [(REF, None, tip)], objects.pack())
    assert (report.unpack, report.refs) == ("ok", {REF: "ok"})
    report = push(door, TARGET, world.mallory, [(REF, tip, None)], b"")
    assert report.refs == {REF: "ok"}


DISGUISES = {
    ".git": (b".git", "hasDotgit: contains '.git'"),
    ".GIT": (b".GIT", "hasDotgit: contains '.git'"),
    "CVE-2019-1352 alternate stream": (
        b".git::$INDEX_ALLOCATION",
        "hasDotgit: contains '.git'",
    ),
    "CVE-2019-1353 short name": (b"git~1", "hasDotgit: contains '.git'"),
    "CVE-2014-9390 ignorable": (".g\u200cit".encode(), "hasDotgit: contains '.git'"),
    "CVE-2014-9390 trailing dot": (b".git.", "hasDotgit: contains '.git'"),
    "CVE-2014-9390 trailing space": (b".git ", "hasDotgit: contains '.git'"),
    "CVE-2019-1353 backslash": (b"a\\.git\\config", "hasDotgit: contains '.git'"),
    "dot": (b".", "hasDot: contains '.'"),
    "dot dot": (b"..", "hasDotdot: contains '..'"),
    "slash": (b"a/b", "fullPathname: contains full pathnames"),
    "empty": (b"", "empty filename in tree entry"),
}


@pytest.mark.parametrize("mode", [FILE, LINK, FOLDER], ids=["file", "link", "folder"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_git_folders_in_disguise(world: World, http: HTTPDoor, disguise: str, mode: bytes) -> None:
    """CVE-2014-9390, CVE-2018-11235, CVE-2019-1352, CVE-2019-1353, CVE-2021-21300."""
    name, reason = DISGUISES[disguise]
    objects = Objects()
    inner = objects.blob(b"x")
    if mode == FOLDER:
        inner = objects.tree((FILE, b"config", inner))
    tree = objects.tree((mode, name, inner))
    tip = objects.commit(tree)
    text = refused(world, http, objects, tip)
    assert reason in text


@pytest.mark.parametrize("depth", [1, 40])
def test_a_git_folder_in_disguise_below_others(world: World, door: Door, depth: int) -> None:
    """CVE-2024-32002: no level is too deep to be looked at, and both doors say the same."""
    objects = Objects()
    tree = bad = objects.tree((FILE, b".git", objects.blob(b"x")))
    for _ in range(depth):
        tree = objects.tree((FOLDER, b"a", tree))
    text = refused(world, door, objects, objects.commit(tree))
    assert text == f"object {bad}: hasDotgit: contains '.git'; fsck error in packed object"


REFUSED_GITMODULES = {
    "CVE-2018-17456 url": (
        submodule(b"url", b"-u./payload"),
        "gitmodulesUrl: disallowed submodule url: -u./payload",
    ),
    "CVE-2018-17456 path": (
        submodule(b"path", b"-x"),
        "gitmodulesPath: disallowed submodule path: -x",
    ),
    "CVE-2018-11235 name": (
        submodule(b"path", b"x", name=b"../../evil"),
        "gitmodulesName: disallowed submodule name: ../../evil",
    ),
    "CVE-2019-19604 update": (
        submodule(b"update", b"!touch /tmp/x"),
        "gitmodulesUpdate: disallowed submodule update setting: !touch /tmp/x",
    ),
    "CVE-2020-5260 newline in url": (
        submodule(b"url", b"https://example.com/%0ahost=evil"),
        "gitmodulesUrl: disallowed submodule url: https://example.com/%0ahost=evil",
    ),
    "CVE-2020-11008 url without host": (
        submodule(b"url", b"../:evil.example.com/x"),
        "gitmodulesUrl: disallowed submodule url: ../:evil.example.com/x",
    ),
}


@pytest.mark.parametrize("case", REFUSED_GITMODULES)
def test_gitmodules_that_git_itself_refuses(world: World, http: HTTPDoor, case: str) -> None:
    content, reason = REFUSED_GITMODULES[case]
    objects, tip = gitmodules(content)
    blob = objects.blob(content)
    assert refused(world, http, objects, tip) == (
        f"object {blob}: {reason}; fsck error in pack objects"
    )


BOM = b"\xef\xbb\xbf"
RUNS_EXT = "the url of submodule 'lib' would run the program git-remote-ext"
CONTROL = "has a control character"
NO_HOST = "is a path on the disk of whoever clones; begin it with ./ or ../, or name a host"
SCHEMES = "use one of https, http, ssh, git"
DANGEROUS_GITMODULES = {
    "CVE-2025-48384 path": (
        submodule(b"path", b'"lib\r"'),
        f"the path of submodule 'lib' {CONTROL}",
    ),
    "CVE-2025-48384 name": (
        submodule(b"path", b"lib", name=b"lib\r"),
        f"the name of submodule 'lib\\r' {CONTROL}",
    ),
    "CVE-2024-52006 carriage return in url": (
        submodule(b"url", b'"https://example.com/x\r"'),
        f"the url of submodule 'lib' {CONTROL}",
    ),
    "CVE-2024-50349 escape in url": (
        submodule(b"url", b"https://evil.example.com%1b[2K/x"),
        f"the url of submodule 'lib' {CONTROL}",
    ),
    "escape in branch": (
        submodule(b"branch", b"x\x1b[31m"),
        f"the branch of submodule 'lib' {CONTROL}",
    ),
    "CVE-2022-24439 ext": (
        submodule(b"url", b"ext::sh -c touch% /tmp/pwned"),
        RUNS_EXT,
    ),
    "fd": (
        submodule(b"url", b"fd::17"),
        "the url of submodule 'lib' would run the program git-remote-fd",
    ),
    "any helper": (
        submodule(b"url", b"my-own::x"),
        "the url of submodule 'lib' would run the program git-remote-my-own",
    ),
    "CVE-2022-39253 file": (
        submodule(b"url", b"file:///etc"),
        f"the url of submodule 'lib' has the scheme file; {SCHEMES}",
    ),
    "other scheme": (
        submodule(b"url", b"gopher://example.com/x"),
        f"the url of submodule 'lib' has the scheme gopher; {SCHEMES}",
    ),
    "CVE-2022-39253 path": (
        submodule(b"url", b"/home/victim/private.git"),
        f"the url of submodule 'lib' {NO_HOST}",
    ),
    "path on Windows": (
        submodule(b"url", b"C:/Users/victim/private.git"),
        f"the url of submodule 'lib' {NO_HOST}",
    ),
    "CVE-2017-1000117 host": (
        submodule(b"url", b"ssh://-oProxyCommand=touch% x/y"),
        "the url of submodule 'lib' has a host that begins with '-'",
    ),
    "CVE-2017-1000117 user": (
        submodule(b"url", b"git@-oProxyCommand=x:y"),
        "the url of submodule 'lib' has a host that begins with '-'",
    ),
    "name like an option": (
        submodule(b"path", b"lib", name=b"--help"),
        "the name of submodule '--help' begins with '-'",
    ),
    "zero byte": (submodule(b"path", b"lib\0"), "git cannot parse it"),
    "not configuration": (b"[submodule\n", "git cannot parse it"),
    "CVE-2018-17456 after a byte order mark": (
        BOM + submodule(b"url", b"-u./payload"),
        "the url of submodule 'lib' begins with '-'",
    ),
    "CVE-2019-19604 after a byte order mark": (
        BOM + submodule(b"update", b"!touch /tmp/x"),
        "the update of submodule 'lib' would run a command",
    ),
    "CVE-2018-11235 after a byte order mark": (
        BOM + submodule(b"path", b"x", name=b"../../evil"),
        "the name of submodule '../../evil' leads out of the repository",
    ),
    "CVE-2020-11008 after a byte order mark": (
        BOM + submodule(b"url", b"../:evil.example.com/x"),
        "the url of submodule 'lib' leads nowhere",
    ),
    "CVE-2020-11008 no host after a byte order mark": (
        BOM + submodule(b"url", b"https:///evil"),
        "the url of submodule 'lib' names no host",
    ),
}


@pytest.mark.parametrize("case", DANGEROUS_GITMODULES)
def test_gitmodules_that_git_would_let_pass(world: World, http: HTTPDoor, case: str) -> None:
    content, reason = DANGEROUS_GITMODULES[case]
    objects, tip = gitmodules(content)
    assert unsafe(world, http, objects, tip) == reason


def test_dangerous_gitmodules_over_ssh_with_git_itself(world: World, clone: GitRepository) -> None:
    """CVE-2025-48384: what the pusher reads, in the words of git's own client."""
    before = world.state(TARGET)
    tip = clone.commit("evil", files={".gitmodules": submodule(b"path", b'"lib\r"')})
    clone.environment |= world.hub.ssh_environment(world.mallory.key)
    told = clone.failure("push", world.hub.ssh_url(TARGET), "HEAD:refs/heads/evil")
    reason = f".gitmodules is not safe: the path of submodule 'lib' {CONTROL}"
    refusal = f"{reason} (commit {tip[:12]})"
    assert f" ! [remote rejected] HEAD -> evil ({refusal})\n" in told
    assert world.state(TARGET) == before


@pytest.mark.parametrize(
    "url",
    [
        "./lib.git",
        "../lib.git",
        "../../other/lib",
        "https://example.com/lib.git",
        "http://user@example.com:8080/lib",
        "ssh://git@example.com:22/lib",
        "git+ssh://git@example.com/lib",
        "git://example.com/lib",
        "git@example.com:group/lib.git",
        "example.com:lib",
        "git@[2001:db8::1]:lib.git",
        "",
    ],
)
def test_ordinary_submodules_are_accepted(world: World, http: HTTPDoor, url: str) -> None:
    objects, tip = gitmodules(submodule(b"url", url.encode()) + b"\tshallow\n# comment\n")
    accepted(world, http, objects, tip)


def test_gitmodules_in_the_middle_of_a_history(world: World, http: HTTPDoor) -> None:
    """CVE-2025-48384: what the tip no longer has is found in the commits below it."""
    objects = Objects()
    first = objects.files(_gitmodules=submodule(b"url", b"https://example.com/a"))
    evil = objects.files(first, _gitmodules=submodule(b"url", b"ext::sh"))
    tip = objects.files(evil, README=b"clean")
    assert unsafe(world, http, objects, tip, commit=evil) == RUNS_EXT


def test_gitmodules_in_a_merge_alone(world: World, http: HTTPDoor) -> None:
    """CVE-2025-48384: a merge that brings what none of its parents has."""
    objects = Objects()
    one, two = objects.files(a=b"1"), objects.files(b=b"2")
    evil = objects.files(one, two, _gitmodules=submodule(b"url", b"file:///x"))
    tip = objects.files(evil, README=b"clean")
    assert unsafe(world, http, objects, tip, commit=evil) == (
        f"the url of submodule 'lib' has the scheme file; {SCHEMES}"
    )


def test_gitmodules_that_is_an_ordinary_file_elsewhere(world: World, http: HTTPDoor) -> None:
    """The same bytes under another name first do not hide them."""
    content = submodule(b"url", b"ext::sh")
    objects = Objects()
    evil = objects.files(README=content, _gitmodules=content)
    assert unsafe(world, http, objects, evil) == RUNS_EXT
    harmless = Objects()
    accepted(world, http, harmless, harmless.files(README=content))


def test_gitmodules_in_capitals(world: World, http: HTTPDoor) -> None:
    """CVE-2021-21300: where letters are folded, this is the file that git reads."""
    objects = Objects()
    blob = objects.blob(submodule(b"url", b"ext::sh"))
    tip = objects.commit_of((FILE, b".GITmodules", blob))
    assert unsafe(world, http, objects, tip) == RUNS_EXT


def test_gitmodules_that_came_unseen_with_an_earlier_push(
    world: World, http: HTTPDoor, fresh: str
) -> None:
    """CVE-2025-48384: a commit no ref led to when it came is judged when one does."""
    objects = Objects()
    good = objects.files(README=b"good")
    evil = objects.files(_gitmodules=submodule(b"url", b"ext::sh"))
    report = push(http, fresh, world.mallory, [("refs/heads/main", None, good)], objects.pack())
    assert report.refs == {"refs/heads/main": "ok"}
    before = world.state(fresh)
    report = push(http, fresh, world.mallory, [(REF, None, evil)], Objects().pack())
    assert reason_in(report, evil) == RUNS_EXT
    assert world.state(fresh) == before


def test_a_file_cannot_hide_the_one_after_it(world: World, http: HTTPDoor, fresh: str) -> None:
    """Versions are parsed together: none can end, reopen or comment out another."""
    objects = Objects()
    tip = objects.files(README=b"1")
    commits = []
    for text in (
        b'[submodule "a"]\n\tpath = a\\',
        b'[submodule "b"]\n\tpath = b ; "',
        b'\xef\xbb\xbf[submodule "c"]\n\tpath = c',
        b"[none]\n\toid = 0000000000000000000000000000000000000000\n",
        b'[submodule "d"]\n\turl = ext::sh\n',
        b'[submodule "e"]\n\tpath = e\n',
    ):
        tip = objects.files(tip, _gitmodules=text)
        commits.append(tip)
    report = push(http, fresh, world.mallory, [(REF, None, tip)], objects.pack())
    assert reason_in(report, commits[4]) == RUNS_EXT.replace("lib", "d")


def test_gitmodules_beyond_its_limit(world: World, http: HTTPDoor) -> None:
    objects, tip = gitmodules(b"#" * (1024 * 1024 + 1))
    before = world.state(TARGET)
    report = push(http, TARGET, world.mallory, [(REF, None, tip)], objects.pack())
    assert report.refs == {
        REF: ".gitmodules may have 1048576 bytes, and its new versions 268435456 bytes together"
    }
    assert world.state(TARGET) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b".gitmodules", "gitmodulesSymlink: .gitmodules is a symbolic link"),
        (b".GitModules", "gitmodulesSymlink: .gitmodules is a symbolic link"),
        (b".gitattributes", "gitattributesSymlink: .gitattributes is a symlink"),
        (b"gitatt~1", "gitattributesSymlink: .gitattributes is a symlink"),
    ],
    ids=["CVE-2018-11235", "CVE-2021-21300", "CVE-2021-21300 attributes", "short name"],
)
def test_links_where_git_reads_settings(
    world: World, http: HTTPDoor, name: bytes, reason: str
) -> None:
    objects = Objects()
    tree = objects.tree((LINK, name, objects.blob(b"/etc/passwd")))
    tip = objects.commit(tree)
    assert refused(world, http, objects, tip) == (
        f"object {tree}: {reason}; fsck error in packed object"
    )


def test_attributes_that_overflow(world: World, http: HTTPDoor) -> None:
    """CVE-2022-23521, CVE-2022-41903: lines of attributes that are too long."""
    objects = Objects()
    content = b"a " + b"b" * 3000 + b"\n"
    tip = objects.files(_gitattributes=content)
    blob = objects.blob(content)
    assert refused(world, http, objects, tip) == (
        f"object {blob}: gitattributesLineLength: .gitattributes has too long lines to parse;"
        " fsck error in pack objects"
    )


def test_what_is_contained_is_kept_and_served(world: World, http: HTTPDoor, fresh: str) -> None:
    """Names and links that only a work tree could fall for; the server has none (see above)."""
    objects = Objects()
    blob = objects.blob(b"../../../etc/passwd")
    tip = objects.commit_of(
        (FILE, b"-x", blob),
        (FILE, b"a\nb", blob),
        (FILE, b"a\\..\\..\\b", blob),
        (FILE, "b\u202etxt.exe".encode(), blob),
        (LINK, b"c", blob),
        (FILE, b"d\xff", blob),
        (SUBMODULE, b"e", "1" * 40),
        (FILE, b"f" * 5000, blob),
    )
    ref = "refs/heads/main"
    report = push(http, fresh, world.mallory, [(ref, None, tip)], objects.pack())
    assert (report.unpack, report.refs) == ("ok", {ref: "ok"})
    url = world.hub.clone_url(fresh)
    assert GitRepository(world.hub.folder).git("ls-remote", url, ref) == f"{tip}\t{ref}"


def broken_packs() -> dict[str, tuple[bytes, str]]:
    objects = Objects()
    tip = objects.files(README=b"x")
    whole = objects.pack()
    return {
        "cut": (whole[:-30], "early EOF"),
        "bit": (
            whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
            "pack is corrupted (SHA1 mismatch)",
        ),
        "no pack": (b"GIT!" + whole[4:], "pack signature mismatch"),
        "version": (whole[:7] + b"\x07" + whole[8:], "pack version 7 unsupported"),
    } | {"tip": (tip.encode(), "")}


@pytest.mark.parametrize("case", ["cut", "bit", "no pack", "version"])
def test_broken_packs(world: World, door: Door, case: str) -> None:
    packs = broken_packs()
    data, reason = packs[case]
    tip = packs["tip"][0].decode()
    before = world.state(TARGET)
    answer = door.exchange(
        "receive-pack", TARGET, world.mallory, command_list([(REF, None, tip)]) + data
    )
    if case == "cut" and door.name == "ssh":
        # Nobody is told: the client is taken to have left in the middle.
        assert answer.body == b"" or reason in read_report(answer.body).unpack
    else:
        report = read_report(answer.body)
        assert reason in report.unpack
        assert report.refs == {REF: "unpacker error"}
    assert world.state(TARGET) == before
