"""Artifacts: a `Program` as bytes, and back. docs/artifact.md describes the format.

An artifact is a header of 52 bytes, the program and its names, the last two as MessagePack. Decoding builds plain data
and executes nothing; what it builds is verified before anyone sees it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TypeVar

import msgspec

from apxm.errors import ArtifactError, UsageError
from apxm.program.magic import MAGIC
from apxm.program.program import Names, Program
from apxm.program.verify import verify

FORMAT_VERSION = 2
LARGEST_ARTIFACT = 256 * 1024 * 1024

_HEADER = struct.Struct("<4sHHIQ32s")
"""Magic, format version, flags (none defined: 0), length of the names, length of the payload (both sections), SHA-256
of the payload; little-endian."""
_NO_NAMES = Names(file="", plans=())
_encoder = msgspec.msgpack.Encoder()
"""Objects keep the order of their keys: it is part of what a model is asked."""

T = TypeVar("T")


def encode(program: Program) -> bytes:
    """The bytes of an artifact; equal programs, the order of keys included, have equal bytes."""
    body = _encoder.encode(msgspec.structs.replace(program, names=_NO_NAMES))
    names = _encoder.encode(program.names)
    payload = body + names
    digest = hashlib.sha256(payload).digest()
    return _HEADER.pack(MAGIC, FORMAT_VERSION, 0, len(names), len(payload), digest) + payload


def artifact_of(program: Program) -> tuple[bytes, str]:
    """Its artifact, and the SHA-256 of that in hexadecimal: made once, however many runs it has."""
    kept = vars(program)
    if "_artifact" not in kept:
        artifact = encode(program)
        kept["_artifact"] = artifact, hashlib.sha256(artifact).hexdigest()
    return kept["_artifact"]


def read(path: str | os.PathLike[str]) -> Program:
    """The program in the artifact at `path`. Executes nothing. Raises `ArtifactError`, and `UsageError` where the file
    cannot be read."""
    shown = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_ARTIFACT + 1)
    except OSError as error:
        raise UsageError(f"the artifact cannot be read: {error.strerror}", where=shown) from None
    try:
        return decode(data)
    except ArtifactError as error:
        error.where = shown
        raise


def decode(data: bytes) -> Program:
    """The program in an artifact. Raises `ArtifactError`, one message per thing that can be wrong with it."""
    if data[:4] != MAGIC:
        found = "it is empty" if not data else f"it starts with {data[:4]!r} instead of {MAGIC!r}"
        raise ArtifactError(
            f"this is not an A-PXM artifact: {found}", hint="make one with: apxm compile FILE.ais -o OUT"
        )
    if len(data) < _HEADER.size:
        raise ArtifactError(f"the artifact is truncated: its header has {_HEADER.size} bytes, found {len(data)}")
    _, version, flags, names_length, length, digest = _HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"the artifact has format version {version}; this apxm reads version {FORMAT_VERSION}",
            hint="compile it again with this version" if version < FORMAT_VERSION else "update apxm",
        )
    if flags:
        raise ArtifactError(f"the artifact uses features that this apxm does not know (flags {flags:#06x})")
    payload = memoryview(data)[_HEADER.size :]
    if len(payload) < length:
        raise ArtifactError(
            f"the artifact is truncated: it should have {length} bytes of payload, found {len(payload)}"
        )
    if len(payload) > length:
        raise ArtifactError(f"the artifact is over-long: {len(payload) - length} bytes follow its {length} of payload")
    if hashlib.sha256(payload).digest() != digest:
        raise ArtifactError("the artifact is damaged: its content does not match its digest")
    if names_length > length:
        raise ArtifactError(f"the artifact's names should have {names_length} bytes, more than its whole payload")
    body = _decode(payload[: length - names_length], Program, "program")
    names = _decode(payload[length - names_length :], Names, "names")
    program = msgspec.structs.replace(body, names=names)
    verify(program)
    return program


def _decode(section: memoryview, type_: type[T], what: str) -> T:
    try:
        return msgspec.msgpack.decode(section, type=type_)
    except RecursionError:
        raise ArtifactError(f"the artifact's {what} section nests too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(f"the artifact's {what} section is not a valid one: {error}") from None
