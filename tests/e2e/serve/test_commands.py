"""The operator's commands: what they print, and each failure as one line."""

import re
from pathlib import Path

import pytest

from tests.support.hub import ROOT, Hub, run_och

# Those of tests/unit/models/test_migrations.py; here it is about the commands.
REVISIONS = sorted(
    path.name[:4] for path in (ROOT / "models/migrations/versions").glob("[0-9]*.py")
)


def outcome(folder: Path, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    done = run_och(folder, *arguments, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    assert outcome(tmp_path, "migrate") == (
        0,
        "".join(f"applied {each}\n" for each in REVISIONS),
        "",
    )
    return tmp_path


def test_version(tmp_path: Path) -> None:
    assert outcome(tmp_path, "version") == (0, "0.1.0\n", "")


def test_migrate_twice(migrated: Path) -> None:
    assert outcome(migrated, "migrate") == (0, "the database is up to date\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create-user", "ann", "--email", "ann@example.com"],
        ["create-token", "ann", "--name", "x", "--scopes", "repo"],
        ["create-repository", "ann/demo"],
        ["seed"],
    ],
)
def test_commands_want_a_migrated_database(tmp_path: Path, arguments: list[str]) -> None:
    code, out, error = outcome(tmp_path, *arguments)
    assert (code, out) == (78, "")
    assert error == f"och: the database lacks {len(REVISIONS)} migrations; run: och migrate\n"


@pytest.mark.parametrize("part", ["web", "sshd", "worker", "beat"])
def test_parts_alone_want_a_redis(migrated: Path, part: str) -> None:
    assert outcome(migrated, part) == (
        78,
        "",
        "och: configuration: OCH_REDIS_URL: must be set here; "
        "only och serve starts a Redis of its own\n",
    )


@pytest.mark.parametrize("part", ["web", "sshd", "worker", "beat"])
def test_parts_alone_want_a_migrated_database(tmp_path: Path, part: str, redis_url: str) -> None:
    done = run_och(tmp_path, part, more={"OCH_REDIS_URL": redis_url})
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == f"och: the database lacks {len(REVISIONS)} migrations; run: och migrate\n"


def test_accounts_credentials_and_repositories(migrated: Path) -> None:
    email = ["--email", "ann@example.com"]
    assert outcome(migrated, "create-user", "ann", *email, "--site-admin") == (
        0,
        "created administrator ann, who has no password and cannot sign in on the web\n",
        "",
    )
    bob = ["create-user", "bob", "--email", "bob@example.com", "--password-stdin"]
    assert outcome(migrated, *bob, stdin="correct horse battery\n") == (0, "created user bob\n", "")
    code, out, error = outcome(
        migrated, "create-token", "bob", "--name", "laptop", "--scopes", "repo, read:org"
    )
    assert (code, error) == (0, "")
    assert re.fullmatch(r"och_[0-9A-Za-z]{42}\n", out)
    assert outcome(migrated, "create-repository", "bob/demo", "--private") == (
        0,
        "http://127.0.0.1:8000/bob/demo.git\nssh://git@127.0.0.1:2222/bob/demo.git\n",
        "",
    )


def test_an_ssh_key(migrated: Path) -> None:
    outcome(migrated, "create-user", "ann", "--email", "ann@example.com")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+yzPzm0Fg4B1yVJwC9QKJ3Wd2mS1fXyq2lP3Ykz0aB ann\n"
    code, out, error = outcome(
        migrated, "create-ssh-key", "ann", "--title", "laptop", "--key-file", "-", stdin=key
    )
    assert (code, error) == (0, "")
    assert re.fullmatch(r"added SHA256:[0-9A-Za-z+/]{43} to ann\n", out)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create-token", "nobody", "--name", "x", "--scopes", "repo"], 1,
         "Could not resolve to a User with the login of 'nobody'."),
        (["create-user", "ann", "--email", "other@example.com"], 1,
         "the login 'ann' is already taken"),
        (["create-user", "x", "--email", "x@example.com", "--password-stdin"], 1,
         "no password came on standard input"),
        (["create-ssh-key", "ann", "--title", "x", "--key-file", "missing.pub"], 1,
         "missing.pub cannot be read: No such file or directory"),
        (["create-repository", "ann"], 1, "'ann' is not of the form OWNER/NAME"),
        (["create-user", "x"], 2,
         "the following arguments are required: --email; see och create-user --help"),
        (["web", "--port", "many"], 78,
         "configuration: --port: must be a whole number (it is 'many')"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line(migrated: Path, arguments: list[str], code: int, words: str) -> None:
    outcome(migrated, "create-user", "ann", "--email", "ann@example.com")
    assert outcome(migrated, *arguments, stdin="") == (code, "", f"och: {words}\n")


def test_an_unreachable_database(tmp_path: Path) -> None:
    url = f"postgresql://och:swordfish@/och?host={tmp_path}"
    done = run_och(tmp_path, "migrate", more={"OCH_DATABASE_URL": url})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("och: no connection to the database: ")
    assert done.stderr.count("\n") == 1
    assert "swordfish" not in done.stderr


def test_seed(tmp_path: Path) -> None:
    outcome(tmp_path, "migrate")
    code, out, error = outcome(tmp_path, "seed")
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"user ann \(administrator\), password \S{16}", lines[0])
    assert lines[3:] == [
        "repository http://127.0.0.1:8000/ann/weather: 120 commits",
        "repository http://127.0.0.1:8000/ann/diary: 12 commits",
        "repository http://127.0.0.1:8000/bob/bridge: 300 commits",
        "repository http://127.0.0.1:8000/cyd/handbook: 40 commits",
    ]
    assert outcome(tmp_path, "seed") == (
        1,
        "",
        "och: the database is not empty; seed an empty one (--data-dir)\n",
    )


def test_the_schema(tmp_path: Path) -> None:
    code, out, error = outcome(tmp_path, "schema")
    assert (code, error) == (0, "")
    assert "type Query {" in out


def test_doctor_finds_nothing_wrong(hub: Hub) -> None:
    out = hub.och("doctor")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"ok     {name}"
        for name in (
            "settings", "database", "migrations", "redis", "storage", "git", "clock", "disk"
        )
    ]  # fmt: skip


def test_doctor_tells_faults_with_their_cures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = {
        "PATH": str(tmp_path / "empty"),
        "OCH_STORAGE_URL": "memory://",
        "OCH_REDIS_URL": f"unix://{tmp_path}/nobody.sock",
        "OCH_TRUSTED_PROXY": "10.0.0.0/8",
    }
    done = run_och(tmp_path, "doctor", more=settings)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "FAULT  settings: OCH_TRUSTED_PROXY is not a setting; did you mean OCH_TRUSTED_PROXIES?",
        "       cure: correct or unset these environment variables",
    ]
    assert lines[3:5] == [
        f"FAULT  migrations: the database lacks {len(REVISIONS)} migrations",
        "       cure: run: och migrate",
    ]
    assert lines[5].startswith("FAULT  redis: does not answer: ")
    assert lines[6] == "       cure: start Redis, or correct OCH_REDIS_URL"
    assert lines[7:11] == [
        "FAULT  storage: objects are kept in memory and lost when the process ends",
        "       cure: set OCH_STORAGE_URL to a lasting place such as file:///srv/opencodehub",
        "FAULT  git: git is not installed",
        "       cure: install the package git",
    ]
