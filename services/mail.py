"""Sending mail: what rules ask for. Transports implement ``Mailer``.

No transport exists yet, so ``NoMailer`` is what a server has. Then nobody can prove an address by
mail, and only an administrator of the server may mark one as verified (``services.accounts``).
"""

import dataclasses
from typing import Protocol

from services.errors import FailedPrecondition


@dataclasses.dataclass(frozen=True, slots=True)
class Mail:
    """A plain text to one address, taken from its stored form."""

    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """May be called concurrently, after the transaction that led to the mail."""

    def require(self) -> None:
        """Raises FailedPrecondition where no mail can be sent at all."""
        ...

    async def send(self, mail: Mail) -> None:
        """Hand the mail over. Raises Unavailable when the transport does not take it."""
        ...


class NoMailer:
    """The mailer of a server without a transport."""

    def require(self) -> None:
        raise FailedPrecondition(
            "this server sends no mail; ask its administrator to verify the address"
        )

    async def send(self, mail: Mail) -> None:
        self.require()


class MemoryMailer:
    """Keeps what was sent, for tests."""

    def __init__(self) -> None:
        self.outbox: list[Mail] = []

    def require(self) -> None:
        """It can always send."""

    async def send(self, mail: Mail) -> None:
        self.outbox.append(mail)
