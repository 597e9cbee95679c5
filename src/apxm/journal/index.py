"""What each run has in a log, so that nobody need read the log to list the runs or to find one.

Beside a log lies its index: chunks, each about the part of the log behind the one before. A chunk is written for each
256 KiB of the log, and when its writer lets go of it. Nothing depends on an index: where it ends, or is damaged, the
log itself is scanned. It holds the programs a second time, since of what many runs share, damage to one place must not
cost them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec
from msgspec import Struct as Message

from apxm.errors import JournalError
from apxm.journal.format import decode_header, decode_record
from apxm.journal.log import CLAIM, PROGRAM, RELEASE, ROW, SESSION, Batch, Gap, scan, taken_up
from apxm.journal.rows import Answered, Edited, Ended, Header, Resumed, TimedRow

MAGIC = b"\xffAPXMIDX"
SUFFIX = ".index"
HEAD = Struct("<8sII")
"""Magic, format version, salt of the log."""
VERSION = 1
_CHUNK = Struct("<4sIIIQQQ")
"""Mark, checksum of all that follows, length of what follows these fields, how many programs there are, the part of the
log that it is about, and where the session that wrote that begins."""
_MARK = b"\xffAPI"
_SUMMED = 8


class Heading(Message, frozen=True, array_like=True, gc=False):
    """What a list shows of a header."""

    path: str
    flow: str
    started: float


class Piece(Message, array_like=True, gc=False):
    """What one run has in a part of a log."""

    run_id: str
    begin: int
    end: int
    """All of it lies between these two places."""
    first: int
    """The number of its first row here."""
    last: int
    """That of its last one, as far as anything here says; one less than `first` where there is none."""
    checksum: int
    """Of its last row, here or before."""
    size: int = 0
    operations: int = 0
    """How many have a result here, or since the program was edited here."""
    edited: bool = False
    open: bool = True
    """Whether who wrote this has the run, if it is there still."""
    written: float = 0.0
    """When its last row was appended, in unix time."""
    status: str | None = None
    """How the run ended; None where nothing behind it says so."""
    released: bool = False
    """Whether who wrote this let go of the run behind it."""
    rows: bool = False
    """Whether there is any row, and not only a claim."""
    heading: Heading | None = None
    """Where its header is here."""


class Part(NamedTuple):
    """What a part of a log holds."""

    start: int
    end: int
    session: int
    """Where the last session in or before it begins; 0 where there is none."""
    pieces: dict[str, Piece]
    programs: dict[str, bytes]
    """Artifacts by digest."""
    gaps: tuple[Gap, ...] = ()
    """Damaged places."""
    torn: bool = False
    """Whether something behind `end` was not, or is being, written."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[Piece], list[bytes]]).decode


def note(
    pieces: dict[str, Piece], run_id: str, kind: int, number: int, checksum: int, size: int, begin: int, end: int
) -> Piece:
    """The piece that an entry belongs to, which then has it."""
    piece = pieces.get(run_id)
    last = number - 1 if kind == CLAIM else number
    if piece is None:
        first = last if kind == ROW else last + 1
        piece = pieces[run_id] = Piece(run_id, begin, end, first, last, checksum)
    piece.end, piece.checksum = end, checksum
    piece.released = released = kind == RELEASE
    piece.open = not released
    if last > piece.last:
        piece.last = last
    if kind == ROW:
        piece.rows = True
        piece.size += size
    return piece


def note_row(piece: Piece, row: Header | TimedRow) -> None:
    """What the row says besides."""
    if isinstance(row, Header):
        piece.heading = Heading(row.path, row.flow, row.started)
        piece.written = row.started
        return
    if row.time > piece.written:
        piece.written = row.time
    match row.row:
        case Answered():
            piece.operations += 1
        case Edited():
            piece.operations, piece.edited = 0, True
        case Ended(status):
            piece.status = status
        case Resumed():
            piece.status = None
        case _:
            pass


def scanned(data: bytes, origin: int, salt: int, session: int) -> Part:
    """What is in the part of a log from `origin` to its end, where `session` was going on."""
    pieces: dict[str, Piece] = {}
    programs: dict[str, bytes] = {}
    gaps: list[Gap] = []
    size = end = origin + len(data)
    for found in scan(data, origin, salt):
        if isinstance(found, Gap):
            if found.end == size:
                end = found.start
            else:
                gaps.append(found)
            continue
        session = _read_batch(data, origin, found, session, pieces, programs)
    return Part(origin, end, session, pieces, programs, tuple(gaps), end < size)


def _read_batch(
    data: bytes, origin: int, batch: Batch, session: int, pieces: dict[str, Piece], programs: dict[str, bytes]
) -> int:
    for placed in batch.entries():
        if placed.kind == SESSION:
            session = batch.start
            for piece in pieces.values():
                piece.open = False  # whoever had them is gone
            continue
        content = data[placed.at - origin : placed.at - origin + placed.length]
        if placed.kind == PROGRAM:
            if crc32(content) == placed.checksum:
                programs[sha256(content).hexdigest()] = content
            continue
        size = taken_up(placed.length)
        piece = note(pieces, placed.run_id, placed.kind, placed.number, placed.checksum, size, batch.start, batch.end)
        if placed.kind == ROW:
            with suppress(JournalError):  # whoever reads the run is told
                note_row(piece, decode_record(content) if placed.number else decode_header(content))
    return session


def head(salt: int) -> bytes:
    return HEAD.pack(MAGIC, VERSION, salt)


def chunk(part: Part) -> bytes:
    body = _encode((list(part.pieces.values()), list(part.programs.values())))
    made = _CHUNK.pack(_MARK, 0, len(body), len(part.programs), part.start, part.end, part.session) + body
    return made[:4] + crc32(made[_SUMMED:]).to_bytes(4, "little") + made[_SUMMED:]


class Chunk(NamedTuple):
    """A part of a log, as an index has it."""

    start: int
    end: int
    session: int
    has_programs: bool
    body: memoryview
    at_end: int
    """Where it ends in the index."""

    def pieces(self) -> list[Piece]:
        return _decode(self.body)[0]

    def programs(self) -> dict[str, bytes]:
        """Artifacts by digest."""
        return {sha256(artifact).hexdigest(): artifact for artifact in _decode(self.body)[1]}


def chunks(data: bytes, begin: int) -> Iterator[Chunk]:
    """Those of an index, from the `begin` of the first batch of its log on, for as long as one follows another."""
    at, view = HEAD.size, memoryview(data)
    while at + _CHUNK.size <= len(data):
        mark, checksum, length, programs, start, end, session = _CHUNK.unpack_from(data, at)
        body = at + _CHUNK.size
        if mark != _MARK or start != begin or checksum != crc32(view[at + _SUMMED : body + length]):
            return
        at, begin = body + length, end
        yield Chunk(start, end, session, bool(programs), view[body:at], at)


def salt_of(data: bytes) -> int | None:
    """That of the log that an index is about; None where it is none of this version."""
    if len(data) < HEAD.size:
        return None
    magic, version, salt = HEAD.unpack_from(data)
    return salt if magic == MAGIC and version == VERSION else None


def index_of(log: Path) -> Path:
    return log.with_suffix(SUFFIX)
