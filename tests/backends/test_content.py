"""Content that was compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from apxm.backends.content import TooLargeError, unpacked

TEXT = b"What is said, and said again. " * 20_000
LIMIT = len(TEXT)


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def members(content: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(content[at : at + size]) for at in range(0, len(content), size))


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "gzip"),  # a proxy has unpacked it and left the header
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "x-gzip"),
        (gzip.compress(TEXT), "GZip, identity"),
        (gzip.compress(TEXT), ""),
        (gzip.compress(TEXT) + bytes(1000), "gzip"),
        (gzip.compress(TEXT)[:-8], "gzip"),
        (gzip.compress(b"") + members(TEXT, 1000), "gzip"),
        (members(TEXT, 250_000), "gzip"),
        (gzip.compress(gzip.compress(TEXT)), "gzip, gzip"),
        (zlib.compress(TEXT), "deflate"),
        (zlib.compress(TEXT), "x-Deflate"),
        (raw_deflate(TEXT), "deflate"),
        (gzip.compress(raw_deflate(TEXT)), "deflate, gzip"),
        (zlib.compress(gzip.compress(TEXT)), "gzip,deflate"),
    ],
)
def test_an_answer_is_read_however_it_was_packed(content: bytes, encodings: str) -> None:
    assert unpacked(content, encodings, LIMIT) == TEXT


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (gzip.compress(TEXT), "gzip"),
        (members(TEXT, 1000), "gzip"),
        (gzip.compress(gzip.compress(TEXT)), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
    ],
)
def test_nothing_is_unpacked_to_more_than_is_allowed(content: bytes, encodings: str) -> None:
    with pytest.raises(TooLargeError):
        unpacked(content, encodings, LIMIT - 1)


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (gzip.compress(TEXT)[:-8] + bytes(8), "gzip"),
        (gzip.compress(b"") * 10_001, "gzip"),
        (b"plain", "deflate"),
    ],
)
def test_what_is_damaged_is_an_error(content: bytes, encodings: str) -> None:
    with pytest.raises(zlib.error):
        unpacked(content, encodings, LIMIT)
