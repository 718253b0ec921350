"""Which e-mail addresses are accepted, and the form in which they are compared.

A strict ASCII rule instead of all that RFC 5322 allows: quoted local parts, comments and address
literals are refused, and letters beyond ASCII too, since folding them makes one address match
another (CVE-2019-19844). Comparison ignores case and nothing else.
"""

import re

from services.errors import Invalid
from services.settings import ServiceSettings

MAX_EMAIL_LENGTH = 254
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NOREPLY = re.compile(r"([1-9][0-9]{0,9})\+[a-z0-9-]{1,39}", re.ASCII)


def email_key(settings: ServiceSettings, email: str) -> str:
    """The form to compare. Raises Invalid for what is no address, or one of the hub's own."""
    fault = None
    key = email.lower() if email.isascii() else ""
    local, _, domain = key.rpartition("@")
    labels = domain.split(".")
    if not email.isascii():
        fault = "an e-mail address can only have ASCII characters here"
    elif len(email) > MAX_EMAIL_LENGTH or len(local) > 64:
        fault = f"an e-mail address can have at most {MAX_EMAIL_LENGTH} characters, 64 before the @"
    elif (
        not _LOCAL.fullmatch(local)
        or len(labels) < 2
        or not all(_LABEL.fullmatch(label) for label in labels)
        or labels[-1].isdigit()
    ):
        fault = "this is not an e-mail address; write it like ann@example.com"
    elif domain == noreply_domain(settings):
        fault = f"addresses of {domain} belong to this server"
    if fault:
        raise Invalid(fault, fields=("email",))
    return key


def noreply_domain(settings: ServiceSettings) -> str:
    """The domain of addresses that stand in commits and receive no mail."""
    return f"users.noreply.{(settings.base_url.host or 'localhost').lower()}"


def noreply_address(settings: ServiceSettings, user_id: int, login: str) -> str:
    """An address by which commits find the account without telling a real one."""
    return f"{user_id}+{login}@{noreply_domain(settings)}"


def noreply_user_id(settings: ServiceSettings, email: str) -> int | None:
    """Whose noreply address this is. The number alone decides: logins change hands."""
    local, _, domain = email.lower().rpartition("@")
    match = _NOREPLY.fullmatch(local)
    if match is None or domain != noreply_domain(settings):
        return None
    return int(match[1])
