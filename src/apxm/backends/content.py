"""The content of an answer: unpacked, and read as JSON, as leniently as can be done without guessing."""

from __future__ import annotations

import json
import zlib
from typing import Any

_GZIP = b"\x1f\x8b"
_AUTO = zlib.MAX_WBITS | 16
_MOST_LAYERS = 4
_MOST_MEMBERS = 10_000
"""The most that one gzip may have: each costs time, and none needs more than 20 bytes."""
_FIRST_STEP = 1024
_LONGEST_STEP = 64 * 1024


class TooLargeError(Exception):
    """More came out than was allowed."""


def unpacked(content: bytes | bytearray, encodings: str, limit: int) -> bytes | bytearray:
    """`content` as it was before it was compressed; `encodings` is the value of its Content-Encoding.

    What is gzip begins like gzip, whatever the header calls it (``x-gzip``, ``GZIP``, nothing, once too often); what is
    deflate does not, and is taken from the header, with or without zlib's frame. Anything else is left as it is.

    Raises `TooLargeError` as soon as more than `limit` bytes come out, and `zlib.error` for what is damaged.
    """
    deflated = encodings.lower().count("deflate")
    for _ in range(_MOST_LAYERS):
        if content.startswith(_GZIP):
            content = _gunzip(content, limit)
        elif deflated:
            deflated -= 1
            content = _inflate_deflate(content, limit)
        else:
            break
    return content


def _gunzip(content: bytes | bytearray, limit: int) -> bytearray:
    """All members, one behind the other; what stands behind them is padding."""
    out, at = bytearray(), 0
    for _ in range(_MOST_MEMBERS):
        at = _inflate(content, at, _AUTO, out, limit)
        if not content.startswith(_GZIP, at):
            return out
    raise zlib.error(f"more than {_MOST_MEMBERS:,} members")


def _inflate_deflate(content: bytes | bytearray, limit: int) -> bytearray:
    """Unpacks ``deflate`` as RFC 9110 has it (8.4.1.2), or without the frame, as some servers do."""
    out = bytearray()
    try:
        _inflate(content, 0, zlib.MAX_WBITS, out, limit)
    except zlib.error:
        out.clear()
        _inflate(content, 0, -zlib.MAX_WBITS, out, limit)
    return out


def _inflate(content: bytes | bytearray, at: int, wbits: int, out: bytearray, limit: int) -> int:
    """Appends to `out` what stands at `at`, and gives the place behind it. Of what is cut off, all there is: JSON
    shows whether something is missing."""
    inflater, step = zlib.decompressobj(wbits), _FIRST_STEP
    view = memoryview(content)
    while at < len(view) and not inflater.eof:
        piece = view[at : at + step]  # small at first, since what is left of the last one is copied
        out += inflater.decompress(piece, limit - len(out) + 1)
        if len(out) > limit:  # asked at each step, so that no bomb fills the memory first
            raise TooLargeError
        at += len(piece) - len(inflater.unused_data)
        step = min(2 * step, _LONGEST_STEP)
    return at


def load_json(content: bytes | bytearray) -> Any:
    """JSON with what Python's own reader takes besides: NaN and infinities, a byte order mark, UTF-16 and UTF-32,
    halves of surrogate pairs, control characters in texts. Whole numbers of many digits become floats.

    Raises `ValueError` (`UnicodeDecodeError` is one) or `RecursionError`.
    """
    # Bytes that are no text become halves of surrogate pairs: most stand where nobody looks, and whoever looks sees.
    text = bytes(content).decode(json.detect_encoding(content), "surrogateescape")
    return json.loads(text.removeprefix("\ufeff"), strict=False, parse_int=_whole)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)
