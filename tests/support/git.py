"""Real git for tests: builds histories at run time, with fixed names and times."""

import os
import subprocess
from pathlib import Path

CLEAN_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.com",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


class GitError(AssertionError):
    """Git failed where a test expected success; the text is what git printed."""


class GitRepository:
    """A working repository of a test. ``git(...)`` runs git in it and returns standard output."""

    def __init__(self, path: Path, *, environment: dict[str, str] | None = None) -> None:
        self.path = path
        self.environment = CLEAN_ENVIRONMENT | (environment or {})

    @classmethod
    def create(
        cls, path: Path, *args: str, environment: dict[str, str] | None = None
    ) -> "GitRepository":
        path.mkdir(parents=True, exist_ok=True)
        repository = cls(path, environment=environment)
        repository.git("init", "--quiet", "--initial-branch=main", *args, ".")
        return repository

    @classmethod
    def clone(
        cls, url: str, path: Path, *args: str, environment: dict[str, str] | None = None
    ) -> "GitRepository":
        repository = cls(path, environment=environment)
        run_git("clone", "--quiet", *args, url, str(path), environment=repository.environment)
        return repository

    def run(self, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git whatever its outcome."""
        return subprocess.run(
            ["git", *args],
            cwd=self.path,
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            check=False,
        )

    def git(self, *args: str, stdin: bytes | None = None) -> str:
        """Standard output without the final newline. Raises GitError."""
        done = self.run(*args, stdin=stdin)
        if done.returncode:
            raise GitError(f"git {' '.join(args)}: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout.decode("utf-8", "replace").rstrip("\n")

    def failure(self, *args: str, stdin: bytes | None = None) -> str:
        """What git printed on standard error; fails the test if git succeeded."""
        done = self.run(*args, stdin=stdin)
        if not done.returncode:
            raise GitError(f"git {' '.join(args)} succeeded")
        return done.stderr.decode("utf-8", "replace")

    def commit(
        self, message: str = "change", *, files: dict[str, str | bytes] | None = None
    ) -> str:
        """Write files, commit everything, return the commit's id."""
        for name, content in (files or {f"{message}.txt": message}).items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.oid("HEAD")

    def oid(self, revision: str) -> str:
        return self.git("rev-parse", "--verify", revision)

    def pack(self, *revisions: str, thin: bool = False) -> bytes:
        """A pack of what the revisions reach, as a push would send it."""
        args = ["pack-objects", "--stdout", "--revs", "--quiet", *(["--thin"] if thin else [])]
        return self.run(*args, stdin="".join(f"{each}\n" for each in revisions).encode()).stdout

    def refs(self) -> dict[str, str]:
        """Every ref with its value."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)


def run_git(*args: str, environment: dict[str, str] | None = None) -> str:
    """Run git outside any repository. Raises GitError."""
    done = subprocess.run(
        ["git", *args],
        env=CLEAN_ENVIRONMENT | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise GitError(f"git {' '.join(args)}: {done.stderr.decode('utf-8', 'replace')}")
    return done.stdout.decode("utf-8", "replace").rstrip("\n")
