"""What an access token is good for: GitHub's classic scopes, and which include which."""

from collections.abc import Iterable

from services.errors import Invalid

# Each scope with those it directly includes.
_INCLUDES: dict[str, tuple[str, ...]] = {
    "repo": ("public_repo", "repo:status", "repo_deployment", "repo:invite", "security_events"),
    "public_repo": (),
    "repo:status": (),
    "repo_deployment": (),
    "repo:invite": (),
    "security_events": (),
    "delete_repo": (),
    "workflow": (),
    "admin:repo_hook": ("write:repo_hook",),
    "write:repo_hook": ("read:repo_hook",),
    "read:repo_hook": (),
    "admin:org": ("write:org",),
    "write:org": ("read:org",),
    "read:org": (),
    "admin:org_hook": (),
    "admin:public_key": ("write:public_key",),
    "write:public_key": ("read:public_key",),
    "read:public_key": (),
    "admin:gpg_key": ("write:gpg_key",),
    "write:gpg_key": ("read:gpg_key",),
    "read:gpg_key": (),
    "user": ("read:user", "user:email", "user:follow"),
    "read:user": (),
    "user:email": (),
    "user:follow": (),
    "gist": (),
    "notifications": (),
    "write:discussion": ("read:discussion",),
    "read:discussion": (),
    "write:packages": ("read:packages",),
    "read:packages": (),
    "delete:packages": (),
    "project": ("read:project",),
    "read:project": (),
    "site_admin": (),
}
KNOWN_SCOPES = frozenset(_INCLUDES)


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes with all that they include. Unknown names grant nothing and are dropped."""
    found: set[str] = set()
    ahead = [scope for scope in scopes if scope in _INCLUDES]
    while ahead:
        scope = ahead.pop()
        if scope not in found:
            found.add(scope)
            ahead.extend(_INCLUDES[scope])
    return frozenset(found)


def granting(scope: str) -> frozenset[str]:
    """Every scope that includes this one, itself among them."""
    return frozenset(each for each in _INCLUDES if scope in expand([each]))


def check_known(scopes: Iterable[str]) -> frozenset[str]:
    """The names without repetitions. Raises Invalid for those that do not exist."""
    wanted = frozenset(scopes)
    if unknown := sorted(wanted - KNOWN_SCOPES):
        raise Invalid(
            f"unknown scope {', '.join(map(repr, unknown))}; "
            f"the scopes are {', '.join(sorted(KNOWN_SCOPES))}",
            fields=("scopes",),
            details={"unknown": unknown},
        )
    return wanted


def stored_form(scopes: Iterable[str]) -> str:
    """As ``access_tokens.scopes`` keeps them: sorted, separated by one space."""
    return " ".join(sorted(frozenset(scopes)))
