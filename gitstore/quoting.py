"""Paths as git writes them in text: in quotes, C-like, where they hold unusual bytes (quote.c).

With ``core.quotePath=false`` (``QUOTE_PATH``), so that bytes beyond ASCII stand for themselves.
"""

import re

QUOTE_PATH = ("-c", "core.quotePath=false")
_LETTERS = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}
_ESCAPES = {bytes([code]): b"\\" + letter for letter, code in _LETTERS.items()}
_UNUSUAL = re.compile(rb'[\x00-\x1f\x7f"\\]')
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')


def quote(path: bytes) -> bytes:
    """The path, in quotes if need be."""
    if not _UNUSUAL.search(path):
        return path
    return b'"%b"' % _UNUSUAL.sub(
        lambda found: _ESCAPES.get(found[0], b"\\%03o" % found[0][0]), path
    )


def unquote(text: bytes) -> bytes:
    """The path behind what ``quote`` gave."""
    if not (text.startswith(b'"') and text.endswith(b'"') and len(text) > 1):
        return text
    return _ESCAPE.sub(lambda found: bytes([_code(found[1])]), text[1:-1])


def _code(escaped: bytes) -> int:
    return _LETTERS[escaped] if escaped in _LETTERS else int(escaped, 8) & 0xFF
