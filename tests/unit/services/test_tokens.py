"""Access tokens as text, and signed tokens against forgery and the known faults of libraries."""

import base64
import datetime as dt
import hmac
import json
import re
import zlib
from typing import Any

import pytest
from jose import jwe, jwt

from models.base import utc_now
from services.tokens import (
    InvalidSignedToken,
    SignedTokenClaims,
    SignedTokenExpired,
    TokenSigner,
    hash_signed_token_id,
    hash_token,
    looks_like_access_token,
    new_access_token,
    new_session_secret,
)

SECRET = "0123456789abcdef0123456789abcdef"
ISSUER = "https://hub.example"
HOUR = dt.timedelta(hours=1)
KEY = hmac.digest(SECRET.encode(), b"opencodehub signed session token", "sha256")


@pytest.fixture
def signer() -> TokenSigner:
    return TokenSigner(SECRET, ISSUER)


def forged(
    key: bytes = KEY, *, header: dict[str, Any] | None = None, without: str = "", **claims: Any
) -> str:
    """A token made by hand, right but for what is given."""
    now = int(utc_now().timestamp())
    body = {
        "iss": ISSUER,
        "aud": "opencodehub-api",
        "sub": "7",
        "jti": "random",
        "iat": now,
        "exp": now + 60,
    } | claims
    body.pop(without, None)
    head = {"alg": "HS256", "typ": "och-session+jwt"} | (header or {})
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in (head, body))
    return b".".join((signed, _encoded(hmac.digest(key, signed, "sha256")))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_access_tokens_have_githubs_form_and_a_checksum() -> None:
    token = new_access_token()
    assert re.fullmatch(r"och_[0-9A-Za-z]{42}", token)
    assert looks_like_access_token(token)
    assert token != new_access_token()
    flipped = ("a" if token[10] != "a" else "b").join((token[:10], token[11:]))
    for bad in (flipped, token[:-1], token + "0", token.upper(), f" {token}", f"{token}\n", ""):
        assert not looks_like_access_token(bad)


def test_the_checksum_is_crc32_in_base_62() -> None:
    """As GitHub's, so that its published scanners' method works on ours."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number, text = zlib.crc32(b"A" * 36), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        text = digits[digit] + text
    assert looks_like_access_token("och_" + "A" * 36 + text)


def test_stored_hashes_say_what_they_are_of() -> None:
    assert hash_token("x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    # The id of a signed token must not open a session as a cookie.
    assert hash_signed_token_id("x") != hash_token("x")
    assert len(new_session_secret()) == 43


def test_a_signed_token_comes_back(signer: TokenSigner) -> None:
    token = signer.sign(7, "random", utc_now() + HOUR)
    assert signer.read(token) == SignedTokenClaims(7, "random")
    assert signer.read(forged()) == SignedTokenClaims(7, "random")
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "HS256", "typ": "och-session+jwt"}


def test_an_expired_token_is_told_apart(signer: TokenSigner) -> None:
    with pytest.raises(SignedTokenExpired):
        signer.read(signer.sign(7, "random", utc_now() - HOUR))


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "jti", "iat", "exp"])
def test_every_claim_is_required(signer: TokenSigner, missing: str) -> None:
    with pytest.raises(InvalidSignedToken):
        signer.read(forged(without=missing))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": ["https://hub.example"]},
        {"aud": "other"},
        {"aud": ["opencodehub-api", "other"]},
        {"aud": None},
        {"sub": 7},
        {"sub": "-7"},
        {"sub": "7 "},
        {"sub": "\u0667"},
        {"sub": "9" * 19},
        {"jti": 7},
        {"exp": "never"},
        {"exp": None},
        {"iat": "now"},
        {"nbf": 99999999999},
    ],
)
def test_every_claim_is_checked(signer: TokenSigner, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignedToken):
        signer.read(forged(**claims))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": None},
        {"typ": "JWT"},
        {"typ": None},
    ],
)
def test_algorithm_and_type_are_ours_to_choose(signer: TokenSigner, header: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignedToken):
        signer.read(forged(header=header))


def test_another_key_signs_nothing(signer: TokenSigner) -> None:
    for key in (SECRET.encode(), b"", KEY[:-1]):
        with pytest.raises(InvalidSignedToken):
            signer.read(forged(key))
    other_server = TokenSigner(SECRET, "https://other.example").sign(7, "r", utc_now() + HOUR)
    with pytest.raises(InvalidSignedToken):
        signer.read(other_server)


def test_encrypted_tokens_are_never_opened(signer: TokenSigner) -> None:
    """A small one could unpack to gigabytes (CVE-2024-33664)."""
    bomb = jwe.encrypt(
        b"0" * 1_000_000, KEY, algorithm="dir", encryption="A128CBC-HS256", zip="DEF"
    )
    with pytest.raises(InvalidSignedToken):
        signer.read(bomb.decode())


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "a.b.c.d", "x" * 5000, "\0.a.b", "e30.e30.e30", "W10.W10.W10"]
)
def test_noise_is_no_token(signer: TokenSigner, text: str) -> None:
    with pytest.raises(InvalidSignedToken):
        signer.read(text)


def test_a_cut_or_changed_token_is_not_genuine(signer: TokenSigner) -> None:
    token = signer.sign(7, "random", utc_now() + HOUR)
    head, body, signature = token.split(".")
    for bad in (
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body[:-1]}.{signature}",
        f"{head}.{forged(sub='8').split('.')[1]}.{signature}",
    ):
        with pytest.raises(InvalidSignedToken):
            signer.read(bad)
