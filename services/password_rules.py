"""Which passwords are good enough: long enough, and none of those that attackers try first."""

import re

from services.common_passwords import COMMON_PASSWORDS
from services.errors import Invalid
from services.password_hashing import MAX_PASSWORD_BYTES

MIN_PASSWORD_LENGTH = 8
_TRAILING = re.compile(r"[0-9!.?*#@$_-]+\Z")


def check_password(password: str, *, login: str) -> None:
    """Raises Invalid with what to do unless the account may have this password."""
    fault = None
    lowered = password.lower()
    if len(password) < MIN_PASSWORD_LENGTH:
        fault = f"a password needs at least {MIN_PASSWORD_LENGTH} characters"
    elif len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        fault = f"a password can have at most {MAX_PASSWORD_BYTES} bytes"
    elif len(set(password)) < 4:
        fault = "this password repeats too few characters; choose another one"
    elif lowered in COMMON_PASSWORDS or _TRAILING.sub("", lowered) in COMMON_PASSWORDS:
        fault = "this password is among the first that attackers try; choose another one"
    elif _TRAILING.sub("", lowered) == login.lower():
        fault = "the password is almost the login; choose another one"
    if fault:
        raise Invalid(fault, fields=("password",))
