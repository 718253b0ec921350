"""Which names accounts and repositories may have. ASCII alone, so that no name looks like another.

``login_key`` and ``repository_name_key`` return the key stored beside the name, which is compared,
or raise Invalid with a cure.
"""

import re

from services.errors import Invalid
from services.reserved_names import (
    RESERVED_LOGINS,
    RESERVED_REPOSITORY_NAMES,
    RESERVED_REPOSITORY_SUFFIXES,
)

MAX_LOGIN_LENGTH = 39
MAX_REPOSITORY_NAME_LENGTH = 100
_LOGIN = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", re.ASCII)
_LOOKED_UP = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def login_key(login: str) -> str:
    """GitHub's rules: letters, digits and single hyphens between them, at most 39."""
    fault = None
    if not login:
        fault = "a login cannot be empty"
    elif len(login) > MAX_LOGIN_LENGTH:
        fault = f"a login can have at most {MAX_LOGIN_LENGTH} characters"
    elif not login.isascii():
        fault = (
            "a login can only have the letters a to z, digits and hyphens; "
            "this one has a character that may look like another"
        )
    elif not _LOGIN.fullmatch(login):
        fault = (
            "a login can only have letters, digits and single hyphens, "
            "and cannot begin or end with a hyphen"
        )
    elif login.lower() in RESERVED_LOGINS:
        fault = f"the login '{login}' is reserved; choose another one"
    if fault:
        raise Invalid(fault, fields=("login",))
    return login.lower()


def repository_name_key(name: str) -> str:
    """GitHub's rules: letters, digits, ``.``, ``_`` and ``-``, at most 100."""
    fault = None
    key = name.lower() if name.isascii() else ""
    if not name:
        fault = "a repository name cannot be empty"
    elif len(name) > MAX_REPOSITORY_NAME_LENGTH:
        fault = f"a repository name can have at most {MAX_REPOSITORY_NAME_LENGTH} characters"
    elif not _REPOSITORY_NAME.fullmatch(name):
        fault = "a repository name can only have the letters a to z, digits, '.', '-' and '_'"
    elif key in RESERVED_REPOSITORY_NAMES:
        fault = f"the repository name '{name}' is reserved; choose another one"
    elif key.endswith(RESERVED_REPOSITORY_SUFFIXES):
        suffix = next(each for each in RESERVED_REPOSITORY_SUFFIXES if key.endswith(each))
        fault = f"a repository name cannot end with '{suffix}'"
    elif name.startswith("-"):
        fault = "a repository name cannot begin with '-'"
    if fault:
        raise Invalid(fault, fields=("name",))
    return key


def name_key(text: str) -> str:
    """The key to look a login or a repository name up by; empty, which none has, for a strange one.

    Only ASCII is folded: the Kelvin sign in lower case would be a plain "k".
    """
    return text.lower() if _LOOKED_UP.fullmatch(text) else ""


def is_id(number: int) -> bool:
    """Whether a row can have this number. Databases fail on larger ones instead of finding none."""
    return 0 < number < 2**31


def printable(text: str) -> str:
    """What a user sent, fit to be shown back: cut, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in text[:140])
