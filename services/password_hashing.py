"""Passwords as argon2id hashes. Which passwords are acceptable is ``services.password_rules``'s."""

import asyncio
import concurrent.futures
import dataclasses
import unicodedata
from collections.abc import Callable
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from services.errors import Unavailable

MAX_PASSWORD_BYTES = 1024
_MAX_WAITING = 64
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class PasswordCheck:
    """``new_hash`` is set when the password is right and its stored hash is of an older strength;
    the caller stores it."""

    is_right: bool
    new_hash: str | None = None


class PasswordHasher:
    """Hashes off the event loop, at most two at once: each takes 64 MiB and a core for a while.

    Building one costs nothing; its threads start with the first password. Belongs to one event
    loop. Methods raise Unavailable when too many passwords are waiting already.
    """

    def __init__(
        self,
        *,
        parameters: argon2.Parameters = argon2.profiles.RFC_9106_LOW_MEMORY,
        concurrency: int = 2,
    ) -> None:
        self._argon2 = argon2.PasswordHasher.from_parameters(parameters)
        # The threads are the bound. A semaphore around asyncio.to_thread would be released by a
        # cancelled request whose thread goes on computing.
        self._threads = concurrent.futures.ThreadPoolExecutor(
            max_workers=concurrency, thread_name_prefix="argon2"
        )
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The PHC string to store."""
        secret = _as_bytes(password)
        return await self._run(lambda: self._argon2.hash(secret))

    async def verify(self, stored_hash: str | None, password: str) -> PasswordCheck:
        """Compare in constant time. ``stored_hash`` is None for an account that does not exist or
        has no password: that answers no after the same work, so that time tells nothing."""
        secret = _as_bytes(password)
        return await self._run(lambda: self._verify(stored_hash, secret))

    def close(self) -> None:
        """Let the threads end; running computations are waited for."""
        self._threads.shutdown(cancel_futures=True)

    def _verify(self, stored_hash: str | None, secret: bytes) -> PasswordCheck:
        if stored_hash is None:
            self._argon2.hash(secret)
            return PasswordCheck(is_right=False)
        try:
            self._argon2.verify(stored_hash, secret)
        except (VerificationError, InvalidHashError):
            return PasswordCheck(is_right=False)
        if self._argon2.check_needs_rehash(stored_hash):
            return PasswordCheck(is_right=True, new_hash=self._argon2.hash(secret))
        return PasswordCheck(is_right=True)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("too many sign-ins at the moment; try again in a few seconds")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _as_bytes(password: str) -> bytes:
    """One byte form per password, whichever way a keyboard composes its accents.

    Longer ones are cut before any work is done with them; no stored password is that long.
    """
    text = unicodedata.normalize("NFC", password[: MAX_PASSWORD_BYTES + 1])
    return text.encode("utf-8", "surrogatepass")[: MAX_PASSWORD_BYTES + 1]
