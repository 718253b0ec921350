"""Hashing passwords, and which are good enough."""

import asyncio
import dataclasses
import threading

import argon2
import pytest

from services.errors import Invalid, Unavailable
from services.password_hashing import MAX_PASSWORD_BYTES, PasswordHasher
from services.password_rules import check_password
from tests.support.runtime import WEAK_HASHING

RIGHT = "correct horse battery staple"


@pytest.fixture
def hasher() -> PasswordHasher:
    return PasswordHasher(parameters=WEAK_HASHING)


async def test_the_default_is_argon2id_of_the_rfc() -> None:
    stored = await PasswordHasher().hash(RIGHT)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_password_is_right_or_wrong(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(RIGHT)
    assert stored != await hasher.hash(RIGHT)
    assert (await hasher.verify(stored, RIGHT)).is_right
    assert (await hasher.verify(stored, RIGHT)).new_hash is None
    for wrong in ("", "correct horse battery stapl", RIGHT.upper(), RIGHT + " ", RIGHT + "\0"):
        assert not (await hasher.verify(stored, wrong)).is_right
    assert not (await hasher.verify(None, RIGHT)).is_right
    assert not (await hasher.verify("not a hash", RIGHT)).is_right


async def test_accents_may_be_composed_either_way(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("caf\u00e9 au lait")
    assert (await hasher.verify(stored, "cafe\u0301 au lait")).is_right


@pytest.mark.parametrize("odd", ["\ud800 lone surrogate", "nul \0 inside", "\U0001f40e horse"])
async def test_any_text_can_be_a_password(hasher: PasswordHasher, odd: str) -> None:
    stored = await hasher.hash(odd)
    assert (await hasher.verify(stored, odd)).is_right
    assert not (await hasher.verify(stored, odd[1:])).is_right


async def test_an_endless_password_is_wrong_without_being_read(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("x" * MAX_PASSWORD_BYTES)
    assert (await hasher.verify(stored, "x" * MAX_PASSWORD_BYTES)).is_right
    assert not (await hasher.verify(stored, "x" * (MAX_PASSWORD_BYTES + 1))).is_right
    assert not (await hasher.verify(stored, "x" * 10_000_000)).is_right


async def test_an_old_hash_is_replaced_when_the_password_is_right(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(RIGHT)
    stronger = PasswordHasher(parameters=dataclasses.replace(WEAK_HASHING, time_cost=2))
    check = await stronger.verify(stored, RIGHT)
    assert check.is_right
    assert check.new_hash is not None
    assert ",t=2," in check.new_hash
    assert (await stronger.verify(check.new_hash, RIGHT)).new_hash is None
    assert (await stronger.verify(stored, "wrong")).new_hash is None


class SlowArgon2:
    """Stands where the algorithm does: computes until it is told to end, and counts."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.running = self.most = 0

    def hash(self, _secret: bytes) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.go_on.wait(30)
        with self.lock:
            self.running -= 1
        return "hash"


async def test_two_at_once_even_when_requests_are_cancelled(hasher: PasswordHasher) -> None:
    slow = SlowArgon2()
    hasher._argon2 = slow  # type: ignore[assignment]
    given_up = [asyncio.ensure_future(hasher.hash(RIGHT)) for _ in range(2)]
    while slow.running < 2:
        await asyncio.sleep(0.001)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    waiting = [asyncio.ensure_future(hasher.hash(RIGHT)) for _ in range(3)]
    await asyncio.sleep(0)
    slow.go_on.set()
    assert await asyncio.gather(*waiting) == ["hash"] * 3
    assert slow.most == 2


async def test_a_crowd_is_turned_away(hasher: PasswordHasher) -> None:
    slow = SlowArgon2()
    hasher._argon2 = slow  # type: ignore[assignment]
    crowd = [asyncio.ensure_future(hasher.hash(RIGHT)) for _ in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await hasher.verify(None, RIGHT)
    assert caught.value.message == ("too many sign-ins at the moment; try again in a few seconds")
    slow.go_on.set()
    assert len(await asyncio.gather(*crowd)) == 64
    assert not (await hasher.verify(None, RIGHT)).is_right


def test_building_a_hasher_starts_nothing() -> None:
    before = threading.active_count()
    PasswordHasher(parameters=argon2.profiles.RFC_9106_HIGH_MEMORY)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("", "a password needs at least 8 characters"),
        ("seven-7", "a password needs at least 8 characters"),
        ("ab" * 513, "a password can have at most 1024 bytes"),
        ("\u20ac" * 342, "a password can have at most 1024 bytes"),
        ("abcabcabcabc", "this password repeats too few characters; choose another one"),
        ("password", "this password is among the first that attackers try; choose another one"),
        (
            "PassWord2024!",
            "this password is among the first that attackers try; choose another one",
        ),
        ("qwertyuiop", "this password is among the first that attackers try; choose another one"),
        ("Ann-Example", "the password is almost the login; choose another one"),
        ("ann-example99", "the password is almost the login; choose another one"),
    ],
)
def test_bad_passwords_are_refused_with_the_reason(password: str, fault: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_password(password, login="ann-example")
    assert caught.value.message == fault
    assert caught.value.fields == ("password",)


@pytest.mark.parametrize("password", ["kea9zt!x", RIGHT, "\u043f\u0430\u0440\u043e\u043b\u044c 7"])
def test_good_passwords_pass(password: str) -> None:
    check_password(password, login="ann-example")
