"""Scalars with GitHub's names, and how Python values become them."""

import base64
import binascii
import datetime as dt
import re
from typing import Any, NewType
from urllib.parse import urlsplit

import strawberry
from strawberry.types.scalar import ScalarDefinition

URI = NewType("URI", str)
GitObjectID = NewType("GitObjectID", str)
GitTimestamp = NewType("GitTimestamp", dt.datetime)
Base64String = NewType("Base64String", str)
GitRefname = NewType("GitRefname", str)
GitSSHRemote = NewType("GitSSHRemote", str)
BigInt = NewType("BigInt", int)
HTML = NewType("HTML", str)

_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _serialize_time(value: dt.datetime) -> str:
    # Whole seconds and "Z" as GitHub writes them; Go clients refuse a time without zone.
    return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_time(value: Any) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("a DateTime is an ISO-8601 text with a zone, like 2026-01-31T12:00:00Z")


def _serialize_git_time(value: dt.datetime) -> str:
    # The zone tells where the author was, so it stays.
    return value.isoformat(timespec="seconds").replace("+00:00", "Z")


def _parse_base64(value: Any) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("a Base64String is base64 as in RFC 4648, with its padding") from None
    return str(value)


def _parse_big_integer(value: Any) -> int:
    digits = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _INTEGER.fullmatch(digits) or abs(int(digits)) >= 2**63:
        raise ValueError('a BigInt is a whole number of 64 bits, as a text like "123"')
    return int(digits)


def _parse_uri(value: Any) -> str:
    if not isinstance(value, str) or not urlsplit(value).scheme:
        raise ValueError("a URI is an absolute address, like https://example.org/page")
    return value


def _parse_object_id(value: Any) -> str:
    if not isinstance(value, str) or not _OBJECT_ID.fullmatch(value):
        raise ValueError("a GitObjectID is 40 or 64 hexadecimal digits in lower case")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="Represents non-fractional signed whole numeric values. Since the value may "
        "exceed the size of a 32-bit integer, it's encoded as a string.",
        serialize=str,
        parse_value=_parse_big_integer,
    ),
    dt.datetime: strawberry.scalar(
        name="DateTime",
        description="An ISO-8601 encoded UTC date and time, such as 2026-01-31T12:00:00Z.",
        specified_by_url="https://tools.ietf.org/html/rfc3339",
        serialize=_serialize_time,
        parse_value=_parse_time,
    ),
    URI: strawberry.scalar(
        name="URI",
        description="An RFC 3986 address; in `resourcePath` fields the path alone.",
        serialize=str,
        parse_value=_parse_uri,
    ),
    GitObjectID: strawberry.scalar(
        name="GitObjectID",
        description="A git object id: 40 hexadecimal digits (SHA-1) or 64 (SHA-256).",
        serialize=str,
        parse_value=_parse_object_id,
    ),
    GitTimestamp: strawberry.scalar(
        name="GitTimestamp",
        description="An ISO-8601 encoded date and time with its time zone. Unlike DateTime it is "
        "not converted to UTC.",
        specified_by_url="https://tools.ietf.org/html/rfc3339",
        serialize=_serialize_git_time,
        parse_value=_parse_time,
    ),
    Base64String: strawberry.scalar(
        name="Base64String",
        description="A (potentially binary) string encoded using base64.",
        serialize=str,
        parse_value=_parse_base64,
    ),
    GitRefname: strawberry.scalar(
        name="GitRefname",
        description="A fully qualified reference name (e.g. `refs/heads/master`).",
        serialize=str,
        parse_value=str,
    ),
    HTML: strawberry.scalar(
        name="HTML",
        description="A string containing HTML code. It is safe to show: it runs nothing.",
        serialize=str,
        parse_value=str,
    ),
    GitSSHRemote: strawberry.scalar(
        name="GitSSHRemote",
        description="An address to clone from over SSH.",
        serialize=str,
        parse_value=str,
    ),
}
