"""Version 2 of git's protocol (gitprotocol-v2): what this server offers, and requests taken apart.

Requests are stateless on every transport: one command, its arguments, a flush packet.
"""

import asyncio
import dataclasses

from gitserve.pktline import PacketReader, ProtocolError, Special, encode

AGENT = "opencodehub"
MAX_REQUEST_BYTES = 8 * 1024 * 1024
REQUEST_SECONDS = 300
COMMANDS = ("ls-refs", "fetch")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """``arguments`` without line ends. ``packets`` is the request as it came, for git to read."""

    command: str
    arguments: tuple[bytes, ...]
    packets: bytes


def advertise(object_format: str) -> bytes:
    """The capability list. What it offers is what ``read_request`` accepts."""
    lines = (
        "version 2",
        f"agent={AGENT}",
        "ls-refs=unborn",
        "fetch=shallow wait-for-done filter",
        "server-option",
        f"object-format={object_format}",
    )
    return b"".join(encode(f"{line}\n".encode()) for line in lines) + Special.FLUSH.value


async def read_request(packets: PacketReader, object_format: str) -> Request | None:
    """One request; None for a lone flush packet or the end of the input.

    Raises ProtocolError, also for a request that is too large or comes too slowly.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            keys, arguments, raw = await _read_packets(packets)
    except TimeoutError as error:
        raise ProtocolError(
            f"the request did not arrive within {REQUEST_SECONDS} seconds"
        ) from error
    if not raw:
        return None
    return Request(_command(keys, object_format), tuple(arguments), raw)


async def _read_packets(packets: PacketReader) -> tuple[list[bytes], list[bytes], bytes]:
    keys: list[bytes] = []
    arguments: list[bytes] = []
    section = keys
    raw = bytearray()
    while (packet := await packets.next()) is not Special.FLUSH:
        if packet is None:
            if not raw:
                break
            raise ProtocolError("the request does not end with a flush packet")
        if packet is Special.RESPONSE_END or (packet is Special.DELIMITER and section is arguments):
            raise ProtocolError("unexpected special packet in a request")
        if packet is Special.DELIMITER:
            section = arguments
            raw += packet.value
            continue
        assert isinstance(packet, bytes)
        section.append(packet.removesuffix(b"\n"))
        raw += encode(packet)
        if len(raw) > MAX_REQUEST_BYTES:
            raise ProtocolError(f"a request may have at most {MAX_REQUEST_BYTES} bytes")
    if raw:
        raw += Special.FLUSH.value
    return keys, arguments, bytes(raw)


def _command(keys: list[bytes], object_format: str) -> str:
    commands = []
    client_format = "sha1"
    for key in keys:
        name, _, value = key.decode("utf-8", "replace").partition("=")
        match name:
            case "command":
                commands.append(value)
            case "object-format":
                client_format = value
            case "agent" | "server-option":
                pass
            case _:
                raise ProtocolError(f"unknown capability {_shown(name)}")
    if len(commands) != 1:
        raise ProtocolError("a request names exactly one command")
    if commands[0] not in COMMANDS:
        raise ProtocolError(f"unknown command {_shown(commands[0])}")
    if client_format != object_format:
        raise ProtocolError(
            f"mismatched object format: server {object_format}; client {_shown(client_format)}"
        )
    return commands[0]


def _shown(text: str) -> str:
    """A client's own text within an error: short, and without control characters."""
    return ascii(text[:64])
