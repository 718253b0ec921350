"""Making and reading tokens: pure functions of text and keys, without a database.

Three kinds exist. Access tokens and session cookies are random and stored hashed. Signed tokens
(JWT) are for API clients: each names a row of ``sessions``, so that revoking works at once.
"""

import dataclasses
import datetime as dt
import hashlib
import hmac
import re
import secrets
import zlib

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError

from models.base import utc_now

ACCESS_TOKEN_PREFIX = "och_"  # noqa: S105
_ALGORITHM = "HS256"
_TYPE = "och-session+jwt"
_AUDIENCE = "opencodehub-api"
_MAX_SIGNED_LENGTH = 2048
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARACTERS = 36
_CHECKSUM_CHARACTERS = 6
_ACCESS_TOKEN = re.compile(r"och_[0-9A-Za-z]{42}", re.ASCII)
_SIGNED = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


class InvalidSignedToken(Exception):
    """The token was not signed here, is damaged, or is meant for something else."""


class SignedTokenExpired(InvalidSignedToken):
    """The token is genuine, but its time is over."""


@dataclasses.dataclass(frozen=True, slots=True)
class SignedTokenClaims:
    """What a genuine token says: its session, and the random id whose hash the session holds."""

    session_id: int
    token_id: str


def hash_token(token: str) -> str:
    """SHA-256 in hexadecimal, as stored. Tokens are random and long, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_same_hash(left: str, right: str) -> bool:
    """Compare without telling by time how much agrees."""
    return hmac.compare_digest(left.encode(), right.encode())


def new_access_token() -> str:
    """``och_``, 36 random characters (214 bits) and a checksum of 6.

    The checksum lets scanners of leaked secrets tell a token from a look-alike without asking.
    """
    random = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_CHARACTERS))
    return f"{ACCESS_TOKEN_PREFIX}{random}{_checksum(random)}"


def looks_like_access_token(text: str) -> bool:
    """Whether the form and the checksum are right."""
    if not _ACCESS_TOKEN.fullmatch(text):
        return False
    random = text[len(ACCESS_TOKEN_PREFIX) : -_CHECKSUM_CHARACTERS]
    return hmac.compare_digest(text[-_CHECKSUM_CHARACTERS:], _checksum(random))


def looks_like_signed_token(text: str) -> bool:
    return len(text) <= _MAX_SIGNED_LENGTH and bool(_SIGNED.fullmatch(text))


def new_session_secret() -> str:
    """The value of a session cookie: 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_signed_token_id(token_id: str) -> str:
    """What the session row stores for a signed token.

    The label keeps the id of a signed token from being used as a cookie.
    """
    return hash_token(f"signed:{token_id}")


class TokenSigner:
    """Signs and reads the short-lived tokens of API clients.

    ``secret`` is the server's secret key; ``issuer`` its address, so that a token of one server
    says nothing at another one that shares its key by mistake.
    """

    def __init__(self, secret: str, issuer: str) -> None:
        # A key of its own, so that nothing else signed with the secret can pass for a token.
        self._key = hmac.digest(secret.encode(), b"opencodehub signed session token", "sha256")
        self._issuer = issuer

    def sign(self, session_id: int, token_id: str, expires_at: dt.datetime) -> str:
        """A token for the session; ``token_id`` is random and stored hashed with it."""
        claims = {
            "iss": self._issuer,
            "aud": _AUDIENCE,
            "sub": str(session_id),
            "jti": token_id,
            "iat": int(utc_now().timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        signed = jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"typ": _TYPE})
        assert isinstance(signed, str)
        return signed

    def read(self, token: str) -> SignedTokenClaims:
        """Raises SignedTokenExpired and InvalidSignedToken."""
        if not looks_like_signed_token(token):
            raise InvalidSignedToken("not a signed token")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=self._issuer,
                options={
                    f"require_{name}": True for name in ("iss", "aud", "sub", "jti", "iat", "exp")
                },
            )
            header = jwt.get_unverified_header(token)
        except ExpiredSignatureError as error:
            raise SignedTokenExpired("the signed token has expired") from error
        # The library lets faults of its parsers through for some malformed tokens.
        except (JOSEError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidSignedToken("the signed token is not genuine") from error
        subject, token_id = claims["sub"], claims["jti"]
        # The library also accepts a list of audiences; ours is always one text.
        if header.get("typ") != _TYPE or claims["aud"] != _AUDIENCE:
            raise InvalidSignedToken("the signed token is meant for something else")
        if not (subject.isascii() and subject.isdigit() and len(subject) <= 18):
            raise InvalidSignedToken("the signed token names no session")
        return SignedTokenClaims(int(subject), token_id)


def _checksum(random: str) -> str:
    number = zlib.crc32(random.encode())
    digits = ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
