"""Which ref names the hub accepts: git's rules (git-check-ref-format) and a few of its own."""

import re
import unicodedata

from services.errors import Invalid

MAX_REF_NAME_BYTES = 255
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
# Written by the hub itself: pull requests, and what later features keep beside branches.
RESERVED = ("refs/pull/", "refs/och/")
RESERVED_FAULT = "refs of this namespace are written by the hub alone"
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_OBJECT_ID = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")
# Control, format (bidirectional overrides, zero width), surrogates, separators: names that look
# like other names, or like nothing.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"))
# Scripts whose letters look like Latin ones, as the words that begin the letters' Unicode names.
_LATIN = "LATIN"
_LOOK_ALIKE_SCRIPTS = frozenset(("CYRILLIC", "GREEK"))


def check_ref_name(name: str) -> None:
    """Raises Invalid with the reason unless a user may create or change a ref of this name."""
    if reason := ref_name_fault(name):
        raise Invalid(reason, fields=("name",), details={"name": name})


def check_branch_name(name: str) -> None:
    """As ``check_ref_name`` for a short branch name such as ``main``."""
    check_ref_name(BRANCHES + name)


def ref_name_fault(name: str) -> str | None:
    """Why a full ref name is refused, or None if it is fine."""
    if len(name.encode("utf-8", "surrogateescape")) > MAX_REF_NAME_BYTES:
        return f"ref name is longer than {MAX_REF_NAME_BYTES} bytes"
    if any(unicodedata.category(character) in _INVISIBLE for character in name):
        return "ref name has a control or invisible character"
    if fault := _look_alike_fault(name):
        return fault
    parts = name.split("/")
    if parts[0] != "refs" or len(parts) < 3 or not all(parts):
        return "ref name is not of the form refs/heads/NAME or refs/tags/NAME"
    if _FORBIDDEN.search(name) or name.endswith("."):
        return "ref name has a character or sequence that git does not allow"
    if any(part.startswith(".") or part.endswith(".lock") for part in parts):
        return "a part of the ref name begins with '.' or ends with '.lock'"
    if any(part.startswith("-") for part in parts):
        return "a part of the ref name begins with '-'"
    if name.startswith(RESERVED):
        return RESERVED_FAULT
    short = parts[2] if len(parts) == 3 and parts[1] in ("heads", "tags") else ""
    if short in ("HEAD", "@"):
        return f"{short} cannot be the name of a branch or tag"
    if _OBJECT_ID.fullmatch(short):
        return "a branch or tag cannot be named like an object id"
    return None


def _look_alike_fault(name: str) -> str | None:
    """Why a name could be taken for another one that looks the same, or None."""
    if name.isascii():
        return None
    if unicodedata.normalize("NFC", name) != name:
        return "ref name is not in Unicode's normal form NFC"
    if unicodedata.normalize("NFKC", name) != name:
        return "ref name has a character that stands for others, such as a full-width letter"
    for part in name.split("/"):
        scripts = {_script(character) for character in part if character.isalpha()}
        if _LATIN in scripts and scripts & _LOOK_ALIKE_SCRIPTS:
            return "a part of the ref name mixes Latin letters with Cyrillic or Greek ones"
    return None


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
