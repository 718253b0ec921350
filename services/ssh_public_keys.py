"""Reading OpenSSH public keys strictly: one line of type, base64 and an optional comment."""

import base64
import binascii
import dataclasses
import hashlib
import re
import struct
import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from cryptography.utils import CryptographyDeprecationWarning

from services.errors import Invalid

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384
MAX_KEY_LENGTH = 16 * 1024
PLAIN_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
SECURITY_KEY_TYPES = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
_CURE = "make one with: ssh-keygen -t ed25519"
_FORM = re.compile(r"(\S+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class PublicKey:
    """``text`` is ``<type> <base64>`` as stored; ``fingerprint`` OpenSSH's ``SHA256:<base64>``."""

    type: str
    text: str
    fingerprint: str
    comment: str


def fingerprint_of(blob: bytes) -> str:
    """OpenSSH's name of a key, from the bytes that stand in base64 in its line."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def parse_public_key(text: str) -> PublicKey:
    """Raises Invalid that says what is wrong with the key and what to do."""
    line = text.strip()
    if fault := _refusal(line):
        raise Invalid(fault, fields=("key",))
    match = _FORM.fullmatch(line)
    assert match is not None  # _refusal looked.
    kind, encoded, comment = match[1], match[2], match[3] or ""
    try:
        blob = base64.b64decode(encoded, validate=True)
        # Two texts of one key would have two stored forms.
        if base64.b64encode(blob).decode() != encoded:
            raise ValueError("not the usual base64 form")
        if kind in SECURITY_KEY_TYPES:
            _check_security_key(kind, blob)
        else:
            _check_plain_key(kind, encoded, blob)
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise Invalid(
            "the key is damaged; copy the whole line of the .pub file", fields=("key",)
        ) from error
    return PublicKey(kind, f"{kind} {encoded}", fingerprint_of(blob), comment.strip())


def _refusal(line: str) -> str | None:
    """What is wrong with the form, before anything is decoded."""
    kind = line.split(maxsplit=1)[0] if line else ""
    if not line:
        return f"the key is empty; paste the line of the .pub file, or {_CURE}"
    if len(line) > MAX_KEY_LENGTH:
        return f"the key is longer than {MAX_KEY_LENGTH} characters; paste one key only"
    if "PRIVATE KEY" in line:
        return (
            "this is a private key, which must never leave your machine; paste the .pub file. "
            "Treat the private key as exposed and make a new one"
        )
    if "\n" in line or "\r" in line:
        return "the key has several lines; paste the one line of the .pub file"
    if "-cert-v0" in kind:
        return "this is a certificate; paste the key it was made for, the .pub file without -cert"
    if kind in ("ssh-dss", "ssh-dsa"):
        return f"DSA keys are not secure any more; {_CURE}"
    if kind not in PLAIN_TYPES + SECURITY_KEY_TYPES:
        if any(known in line for known in PLAIN_TYPES + SECURITY_KEY_TYPES):
            return "options before the key are not accepted; begin with the type of the key"
        return f"keys of this type are not accepted; {_CURE}"
    if not _FORM.fullmatch(line):
        return "the key is not of the form 'ssh-ed25519 AAAA... comment'; copy the whole line"
    return None


def _check_plain_key(kind: str, encoded: str, blob: bytes) -> None:
    """Raises ValueError for a damaged key and Invalid for a weak one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        key = load_ssh_public_key(f"{kind} {encoded}".encode())
    match key:
        case rsa.RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise Invalid(
                    f"the RSA key has {key.key_size} bits; at least {MIN_RSA_BITS} are needed. "
                    f"Better, {_CURE}",
                    fields=("key",),
                )
            if key.key_size > MAX_RSA_BITS:
                raise Invalid(
                    f"the RSA key has {key.key_size} bits; at most {MAX_RSA_BITS} are accepted",
                    fields=("key",),
                )
        case ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey():
            pass
        case _:
            raise ValueError("not of the type it claims")
    # Numbers can be written in several ways, but a client only ever sends one of them, and the
    # fingerprint is of the bytes.
    if not _is_canonical(kind, blob):
        raise ValueError("not in the form that clients send")


def _is_canonical(kind: str, blob: bytes) -> bool:
    """Whether no number has needless leading zeros and nothing follows the last field."""
    fields = _fields(blob)
    if fields[0] != kind.encode():
        return False
    if kind != "ssh-rsa":
        return True
    numbers = fields[1:]
    return len(numbers) == 2 and all(
        number and not number[0] & 0x80 and (number[0] != 0 or number[1:2] >= b"\x80")
        for number in numbers
    )


def _check_security_key(kind: str, blob: bytes) -> None:
    """Keys that live in a hardware token: type, (curve,) point, application."""
    fields = _fields(blob)
    if fields[0] != kind.encode():
        raise ValueError("not of the type it claims")
    if kind == "sk-ssh-ed25519@openssh.com":
        if len(fields) != 3 or len(fields[1]) != 32:
            raise ValueError("not an Ed25519 security key")
        ed25519.Ed25519PublicKey.from_public_bytes(fields[1])
    else:
        # 65 bytes: no client sends the compressed form of a point.
        if len(fields) != 4 or fields[1] != b"nistp256" or len(fields[2]) != 65:
            raise ValueError("not an ECDSA security key")
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), fields[2])
    if not fields[-1].startswith(b"ssh:") or not fields[-1].isascii():
        raise ValueError("the application of a security key begins with 'ssh:'")


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings a key is made of. Raises ValueError unless they fill it."""
    fields = []
    position = 0
    while position < len(blob):
        if position + 4 > len(blob):
            raise ValueError("cut in a length")
        (length,) = struct.unpack_from(">I", blob, position)
        position += 4
        if position + length > len(blob):
            raise ValueError("cut in a field")
        fields.append(blob[position : position + length])
        position += length
    if not fields:
        raise ValueError("empty")
    return fields
