"""Repositories made up for the bench, the same in every run, and what one should know of them."""

import dataclasses
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.programs import ENVIRONMENT, BenchFailed, git

MB = 1_000_000
BLAMED = "long.c"  # in what make_wide makes
BRANCHES_AND_TAGS = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
_SEED = 20_240_601
_EPOCH = 1_500_000_000
_BYTES_PER_FILE = 10_000  # of the pack, revisions and trees included
_REVISIONS_PER_FILE = 4
_FILES_PER_FOLDER = 24
_FILES_PER_COMMIT = 2
_COMMITS_PER_TAG = 200
_BULK_BLOB_BYTES = 4 * MB


@dataclasses.dataclass(frozen=True)
class Source:
    """A bare repository to push from. ``branch`` is the full name of its main branch."""

    path: Path
    branch: str
    description: str

    def tip(self, back: int = 0) -> str:
        """The commit ``back`` steps before the tip of the main branch, along first parents."""
        return git("rev-parse", f"{self.branch}~{back}", cwd=self.path).decode().strip()


def describe(path: Path, name: str) -> Source:
    """A repository that is there already. Raises BenchFailed if it has no main branch."""
    branch = git("symbolic-ref", "HEAD", cwd=path).decode().strip()
    git("rev-parse", "--verify", "--quiet", branch, cwd=path)
    commits = git("rev-list", "--count", "--branches", "--tags", cwd=path).decode().strip()
    refs = git("for-each-ref", "--format=x", "refs/heads", "refs/tags", cwd=path).count(b"x")
    counts = dict(
        line.split(": ") for line in git("count-objects", "-v", cwd=path).decode().splitlines()
    )
    objects, megabytes = int(counts["in-pack"]), int(counts["size-pack"]) * 1024 / MB
    words = (
        f"{name}: {int(commits):,} commits, {refs:,} branches and tags, "
        f"{objects:,} objects in packs of {megabytes:,.0f} MB"
    )
    return Source(path, branch, words)


@contextmanager
def _fast_import(path: Path) -> Iterator[IO[bytes]]:
    git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    feed = subprocess.Popen(
        ["git", "-C", str(path), "fast-import", "--quiet", "--depth=50"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert feed.stdin is not None
    try:
        yield feed.stdin
        feed.stdin.close()
        if feed.wait():
            raise BenchFailed("git fast-import failed")
    finally:
        if feed.poll() is None:
            feed.kill()
            feed.wait()


class _Prose:
    """Text like a program's: words of a vocabulary, indented lines of uneven length."""

    def __init__(self) -> None:
        self.chance = random.Random(_SEED)
        letters = "etaoinshrdlucmfwygpbvk_"
        self._words = [
            "".join(self.chance.choices(letters, k=self.chance.randint(2, 11))).encode()
            for _ in range(4096)
        ]

    def lines(self, size: int) -> list[bytes]:
        """About ``size`` bytes, in words that belong to one place of the vocabulary."""
        start = self.chance.randrange(len(self._words) - 256)
        words = self._words[start : start + 256]
        words[:24] = [b"\n    return", b"\n    ", b"\n\n", b"\n        if"] * 6
        text = b" ".join(map(words.__getitem__, self.chance.randbytes(size // 7)))
        return text.split(b"\n")


def make_project(path: Path, size: int) -> Source:
    """A project of about ``size`` bytes packed: text files in folders, most of them revised.

    The revisions of a file are deltas, each commit changes two files and so three or more trees,
    and every so many commits there is an annotated tag.
    """
    prose = _Prose()
    chance = prose.chance
    names: dict[int, bytes] = {}
    marks: list[tuple[int, int]] = []  # revision of a file, mark of its blob
    with _fast_import(path) as feed:
        mark = 0
        for number in range(max(50, size // _BYTES_PER_FILE)):
            folder = number // _FILES_PER_FOLDER
            names[number] = b"part%d/module%d/file%d.c" % (folder // 20, folder, number)
            lines = prose.lines(int(5000 * chance.paretovariate(0.75)) % 180_000 + 1000)
            revisions = chance.randint(1, 2 * _REVISIONS_PER_FILE - 1) if len(lines) < 600 else 1
            for revision in range(revisions):
                if revision:
                    at = chance.randrange(len(lines))
                    lines[at : at + 3] = prose.lines(400)
                text = b"\n".join(lines)
                mark += 1
                feed.write(b"blob\nmark :%d\ndata %d\n%s\n" % (mark, len(text), text))
                marks.append((revision * 1_000_000 + chance.randrange(1_000_000), mark))
                names[-mark] = names[number]
        # In an order that mixes the files but never puts a revision before an earlier one.
        order = [mark for _, mark in sorted(marks)]
        _write_commits(feed, chance, [(one, names[-one]) for one in order])
    return describe(path, "made up")


def _write_commits(
    feed: IO[bytes], chance: random.Random, changes: list[tuple[int, bytes]]
) -> None:
    message = b"Change what was asked for\n\nAnd say why in a paragraph of the usual length.\n"
    for number, at in enumerate(range(0, len(changes), _FILES_PER_COMMIT), 1):
        who = b"Author %d <author%d@example.com>" % (number % 97, number % 97)
        text = b"%s\nPart %d of it, %d.\n" % (message, number, chance.getrandbits(60))
        feed.write(
            b"commit refs/heads/main\nmark :%d\nauthor %s %d +0200\ncommitter %s %d +0000\n"
            b"data %d\n%s"
            % (
                *(10_000_000 + number, who, _EPOCH + number * 900),
                *(who, _EPOCH + number * 900, len(text), text),
            )
        )
        for mark, name in changes[at : at + _FILES_PER_COMMIT]:
            feed.write(b"M 100644 :%d %s\n" % (mark, name))
        if number % _COMMITS_PER_TAG == 0:
            feed.write(
                b"\ntag v%d\nfrom :%d\ntagger %s %d +0000\ndata 8\nrelease\n"
                % (number // _COMMITS_PER_TAG, 10_000_000 + number, who, _EPOCH + number * 900)
            )


def make_bulk(path: Path, size: int) -> Source:
    """``size`` bytes that nothing makes smaller, in blobs of 4 MB: all transport, no deltas."""
    chance = random.Random(_SEED)
    with _fast_import(path) as feed:
        feed.write(
            b"commit refs/heads/main\ncommitter Bench <bench@example.com> %d +0000\n"
            b"data 4\nbulk\n" % _EPOCH
        )
        for number in range(max(1, size // _BULK_BLOB_BYTES)):
            data = chance.randbytes(_BULK_BLOB_BYTES)
            feed.write(b"M 100644 inline blob%d\ndata %d\n%s\n" % (number, len(data), data))
    return describe(path, f"{size // MB} MB of random bytes")


def make_refs(path: Path, count: int) -> Source:
    """``count`` branches over a history of a thousand small commits."""
    with _fast_import(path) as feed:
        for number in range(1, 1001):
            text = b"number %d\n" % number
            feed.write(
                b"commit refs/heads/main\nmark :%d\ncommitter Bench <bench@example.com> %d +0000\n"
                b"data 5\nstep\nM 100644 inline file.txt\ndata %d\n%s\n"
                % (number, _EPOCH + number, len(text), text)
            )
        for number in range(count - 1):
            feed.write(
                b"reset refs/heads/topic/number-%05d\nfrom :%d\n\n" % (number, number % 1000 + 1)
            )
    return describe(path, "made up")


def make_wide(path: Path, commits: int, *, entries: int) -> Source:
    """A history of small commits to files at the top, and one long file that many of them edit."""
    chance = random.Random(_SEED)
    lines = [b"line %d of it" % number for number in range(3_000)]
    with _fast_import(path) as feed:
        for number in range(commits):
            text = b"Change number %d\n\nAnd say why.\n" % number
            who = b"Author %d <author%d@example.com>" % (number % 97, number % 97)
            when = _EPOCH + number * 900
            feed.write(
                b"commit refs/heads/main\nauthor %s %d +0000\ncommitter %s %d +0000\ndata %d\n%s\n"
                % (who, when, who, when, len(text), text)
            )
            if number < entries:
                name = b"README.md" if number == 0 else b"file%d.c" % number
            else:
                # Most changes meet few files, as in real projects.
                name = b"file%d.c" % (1 + int((entries - 1) * chance.random() ** 4))
            content = b"number %d\n" % number
            feed.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(content), content))
            if number % max(1, commits // 300) == 0:
                at = chance.randrange(len(lines) - 20)
                for line in range(at, at + chance.randrange(1, 20)):
                    lines[line] = b"line %d, changed by %d" % (line, number)
                content = b"\n".join(lines)
                feed.write(
                    b"M 100644 inline %s\ndata %d\n%s\n" % (BLAMED.encode(), len(content), content)
                )
    return describe(path, "made up, wide")


def make_small_commits(path: Path, source: Source, count: int, label: str = "small") -> list[str]:
    """A bare repository that borrows the source's objects; returns commits over its tip.

    Each changes one small file, and each is the next one's parent.
    """
    git("clone", "--quiet", "--bare", "--shared", str(source.path), str(path))
    feed = b"".join(
        b"commit refs/bench/small\ncommitter Bench <bench@example.com> %d +0000\ndata 6\nsmall\n"
        b"%sM 100644 inline bench/folder/small.txt\ndata %d\n%s\n"
        % (
            2_000_000_000 + number,
            b"" if number else b"from %s\n" % source.tip().encode(),
            len(text := b"%s change %d\n" % (label.encode(), number)),
            text,
        )
        for number in range(count)
    )
    git("fast-import", "--quiet", cwd=path, stdin=feed)
    listed = git("rev-list", "--reverse", f"--max-count={count}", "refs/bench/small", cwd=path)
    return listed.decode().split()
