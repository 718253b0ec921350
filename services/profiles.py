"""What people say about themselves: the name and the bio shown beside the login."""

import dataclasses

from models import User
from services.accounts import lock_account
from services.context import OpContext
from services.errors import Invalid
from services.events import UserUpdated
from services.omitted import OMITTED, OmittedType

MAX_NAME_LENGTH = 255
MAX_BIO_LENGTH = 160


@dataclasses.dataclass(frozen=True, slots=True)
class ProfileChanges:
    """What to change; what is left out stays, and None removes."""

    name: str | OmittedType | None = OMITTED
    bio: str | OmittedType | None = OMITTED


async def update_profile(op: OpContext, user_id: int, changes: ProfileChanges) -> User:
    """Change one's own profile (scope ``user``), or any as an administrator.

    Emits UserUpdated if anything changed. Raises Invalid, NotFound, Forbidden, InsufficientScopes,
    Unauthenticated.
    """
    wanted: dict[str, str | None] = {}
    if changes.name is not OMITTED:
        wanted["name"] = _one_line(changes.name, "name", MAX_NAME_LENGTH)
    if changes.bio is not OMITTED:
        wanted["bio"] = _one_line(changes.bio, "bio", MAX_BIO_LENGTH)
    async with op.transaction() as tx:
        user = await lock_account(tx, user_id, "user")
        changed = tuple(
            attribute for attribute, value in wanted.items() if getattr(user, attribute) != value
        )
        for attribute in changed:
            setattr(user, attribute, wanted[attribute])
        if changed:
            tx.emit(UserUpdated(user.id, changed))
    return user


def _one_line(text: str | None, field: str, longest: int) -> str | None:
    """Plain text on one line; an empty one is none."""
    if text is None or not text.strip():
        return None
    fault = None
    if len(text) > longest:
        fault = f"a {field} can have at most {longest} characters"
    elif not all(each.isprintable() for each in text):
        fault = f"a {field} cannot have line breaks or control characters"
    if fault:
        raise Invalid(fault, fields=(field,))
    return text.strip()
