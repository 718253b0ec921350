"""What ``.gitmodules`` may say: whoever clones with submodules runs git on its names and addresses.

Git's own check (fsck) refuses options, commands and ``..`` there, but not in a file that begins
with a byte order mark, which it cannot read and a checkout can. Nor does it refuse control
characters, with which a path means another one after it was written and read again
(CVE-2025-48384), or addresses that run a program or read the disk of whoever clones. So all of it
is judged here.
"""

import re
from collections.abc import Iterable

from gitstore.errors import PackRejected
from gitstore.gitmodules import new_gitmodules
from gitstore.quarantine import Quarantine

_SHOWN = 64
# C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENCODED_CONTROL = re.compile(r"%([01][0-9a-f]|7f)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z0-9+.-]+)://")
# Git runs the program ``git-remote-NAME`` for ``NAME::address``.
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")
_SCP_LIKE = re.compile(r"(?:[^/:@]+@)?(\[[^\]/]+\]|[^/:@\[\]]+):")
_LEADS_NOWHERE = re.compile(r"(?:\.\.?/)+[/:]")
_SEPARATOR = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
SCHEMES = ("https", "http", "ssh", "git", "git+ssh", "ssh+git")


async def gitmodules_of_push_fault(
    quarantine: Quarantine, tips: Iterable[str], known: Iterable[str], *, object_count: int
) -> str | None:
    """Why the versions of the file that a push brings are refused, or None; see ``new_gitmodules``.

    Raises MissingObjects.
    """
    try:
        async for version in new_gitmodules(quarantine, tips, known, object_count=object_count):
            if fault := gitmodules_fault(version.settings):
                return f".gitmodules is not safe: {fault} (commit {version.commit[:12]})"
    except PackRejected as error:
        return str(error)
    return None


def gitmodules_fault(settings: Iterable[tuple[str, str | None]] | None) -> str | None:
    """Why the file with these settings is refused, or None. None stands for one without sense."""
    if settings is None:
        return "git cannot parse it"
    for key, value in settings:
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section != "submodule":
            continue
        shown = ascii(name[:_SHOWN])
        if _CONTROL.search(name):
            return f"the name of submodule {shown} has a control character"
        if name.startswith("-"):
            return f"the name of submodule {shown} begins with '-'"
        if fault := path_fault(name):
            return f"the name of submodule {shown} {fault}"
        if value is None:
            continue
        if _CONTROL.search(value):
            return f"the {_word(variable)} of submodule {shown} has a control character"
        if variable in ("path", "url") and value.startswith("-"):
            return f"the {variable} of submodule {shown} begins with '-'"
        if variable == "path" and (fault := path_fault(value)):
            return f"the path of submodule {shown} {fault}"
        if variable == "update" and value.startswith("!"):
            return f"the update of submodule {shown} would run a command"
        if variable == "url" and value and (fault := url_fault(value)):
            return f"the url of submodule {shown} {fault}"
    return None


def path_fault(path: str) -> str | None:
    """Why a submodule's place is refused, as the end of a sentence, or None.

    Its path is one in the work tree, its name is one in ``.git/modules``.
    """
    if path.startswith(("/", "\\")) or _DRIVE.match(path):
        return "is absolute"
    if ".." in _SEPARATOR.split(path):
        return "leads out of the repository"
    return None


def url_fault(url: str) -> str | None:
    """Why a submodule's address is refused, as the end of a sentence, or None."""
    if _ENCODED_CONTROL.search(url):
        return "has a control character"
    if helper := _HELPER.match(url):
        return f"would run the program git-remote-{helper[0].removesuffix('::')}"
    if url.startswith(("./", "../")):
        # Joined to the address of the repository this could become one without a host.
        return "leads nowhere" if _LEADS_NOWHERE.match(url) else None
    if scheme := _SCHEME.match(url):
        if scheme[1].lower() not in SCHEMES:
            return f"has the scheme {scheme[1][:_SHOWN]}; use one of {', '.join(SCHEMES[:4])}"
        host = url[scheme.end() :].partition("/")[0].rpartition("@")[2]
        if not host:
            return "names no host"
    elif (remote := _SCP_LIKE.match(url)) and not _DRIVE.fullmatch(remote[0]):
        host = remote[1]
    else:
        return "is a path on the disk of whoever clones; begin it with ./ or ../, or name a host"
    return "has a host that begins with '-'" if host.startswith("-") else None


def _word(variable: str) -> str:
    return variable[:_SHOWN] if variable.isidentifier() else "setting"
