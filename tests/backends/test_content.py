"""Content that was compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from apxm.backends.content import TooLargeError, unpacked

TEXT = b"What is said, and said again. " * 20_000
LIMIT = len(TEXT)


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # the same in each process, for the names of the tests


def name_of(value: str | bytes) -> str:
    return value if isinstance(value, str) else f"{len(value)} bytes"


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def members(content: bytes, size: int) -> bytes:
    return b"".join(zipped(content[at : at + size]) for at in range(0, len(content), size))


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "gzip"),  # a proxy has unpacked it and left the header
        (zipped(TEXT), "gzip"),
        (zipped(TEXT), "x-gzip"),
        (zipped(TEXT), "GZip, identity"),
        (zipped(TEXT), ""),
        (zipped(TEXT) + bytes(1000), "gzip"),
        (zipped(TEXT)[:-8], "gzip"),
        (zipped(b"") + members(TEXT, 1000), "gzip"),
        (members(TEXT, 250_000), "gzip"),
        (zipped(zipped(TEXT)), "gzip, gzip"),
        (zlib.compress(TEXT), "deflate"),
        (zlib.compress(TEXT), "x-Deflate"),
        (raw_deflate(TEXT), "deflate"),
        (zipped(raw_deflate(TEXT)), "deflate, gzip"),
        (zlib.compress(zipped(TEXT)), "gzip,deflate"),
    ],
    ids=name_of,
)
def test_an_answer_is_read_however_it_was_packed(content: bytes, encodings: str) -> None:
    assert unpacked(content, encodings, LIMIT) == TEXT


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (zipped(TEXT), "gzip"),
        (members(TEXT, 1000), "gzip"),
        (zipped(zipped(TEXT)), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
    ],
    ids=name_of,
)
def test_nothing_is_unpacked_to_more_than_is_allowed(content: bytes, encodings: str) -> None:
    with pytest.raises(TooLargeError):
        unpacked(content, encodings, LIMIT - 1)


@pytest.mark.parametrize(
    ("content", "encodings"),
    [
        (zipped(TEXT)[:-8] + bytes(8), "gzip"),
        (zipped(b"") * 10_001, "gzip"),
        (b"plain", "deflate"),
    ],
    ids=name_of,
)
def test_what_is_damaged_is_an_error(content: bytes, encodings: str) -> None:
    with pytest.raises(zlib.error):
        unpacked(content, encodings, LIMIT)
