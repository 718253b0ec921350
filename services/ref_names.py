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
# The letters of those scripts that do (Unicode's confusables.txt, single letters).
_LIKE_LATIN = frozenset(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0457\u0458\u0455\u04bb\u0501\u051b\u051d"
    "\u04cf\u04af\u0475\u0433\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420"
    "\u0405\u0422\u0425\u0423\u04ae\u050c\u04c0"
    "\u03b1\u03b3\u03b9\u03ba\u03bd\u03bf\u03c1\u03c3\u03c5\u03c7\u0391\u0392\u0395\u0396\u0397"
    "\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
)
_WORD = re.compile(r"[^\W\d_]+")


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
    if any(_could_be_latin(part) for part in name.split("/")):
        return "a part of the ref name mixes Latin letters with Cyrillic or Greek ones"
    return None


def _could_be_latin(part: str) -> bool:
    """Whether foreign letters stand among Latin ones: within a word, or as a word of its own that
    no letter tells from a Latin one. A Cyrillic word beside a Latin one is neither."""
    words = _WORD.findall(part)
    scripts = [{_script(letter) for letter in word} for word in words]
    if not any(_LATIN in each for each in scripts):
        return False
    return any(
        each & _LOOK_ALIKE_SCRIPTS and (_LATIN in each or _LIKE_LATIN.issuperset(word))
        for word, each in zip(words, scripts, strict=True)
    )


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
