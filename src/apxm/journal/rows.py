"""What a journal holds: a header, rows, which are events and named in the past tense, and what they add up to.

All are MessagePack arrays in the order of their fields, so a later version may add fields with defaults at the end.
None is ever part of a cycle, as values are trees, so that the collector need not look at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import sha256
from itertools import zip_longest
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from apxm.backends.protocol import Usage
from apxm.operations.types import Value
from apxm.program.codec import artifact_of
from apxm.program.program import Kind, Program

_encode = msgspec.msgpack.Encoder().encode

Time = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Unix time; until the year 9999, so that it can be shown."""


class Header(Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What a run is: with it alone the run can be started again."""

    run_id: str
    started: Time
    apxm: str
    """The version that began the run."""
    program: bytes
    """The artifact (`program/codec.py`)."""
    program_digest: str
    """SHA-256 of `program`, in hexadecimal."""
    path: str
    """The file of the program, as the user gave it."""
    kind: Kind
    """What that file was."""
    optimization_level: int
    flow: str
    """Qualified: ``Agent.flow``."""
    inputs: tuple[Value, ...]
    """One per parameter."""
    inputs_digest: str
    """SHA-256 of `inputs` as MessagePack, in hexadecimal."""
    options: dict[str, Value]
    """Whatever else the caller needs to go on: backend, model, …"""


class Answered(Struct, frozen=True, array_like=True, gc=False, tag="result"):
    """An operation has ended well. Its usage lies flat, as journals of earlier versions have it: see `usage`."""

    path: str
    """The operation's stable path, as `Trace.path_of` writes it."""
    digest: bytes
    """The digest of the resolved request that this answers."""
    value: Value
    backend: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    """The model that was asked for; None where the version that wrote the row did not say."""

    @property
    def usage(self) -> Usage:
        """What the operation used."""
        return Usage(self.input_tokens, self.output_tokens)


class Discarded(Struct, frozen=True, array_like=True, gc=False, tag="discarded"):
    """An attempt was answered, and paid for, by what the operation cannot use."""

    path: str
    attempt: int
    message: str
    """What is wrong with the answer."""
    backend: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None

    @property
    def usage(self) -> Usage:
        """What the attempt used."""
        return Usage(self.input_tokens, self.output_tokens)


class Started(Struct, frozen=True, array_like=True, gc=False, tag="started"):
    """An operation with an outside effect is about to begin. Without an `Answered` behind it, its effect is unknown."""

    path: str
    digest: bytes
    idempotency_key: str


class Printed(Struct, frozen=True, array_like=True, gc=False, tag="printed"):
    number: int
    """The number of the line, in program order, from 0."""
    line: str


class Reserved(Struct, frozen=True, array_like=True, gc=False, tag="reserved"):
    """The most that an attempt can use up of the budget. Without a `Settled` behind it, it counts as used up."""

    path: str
    attempt: int
    tokens: int
    cost: float | None
    """The most that it can cost; None where no price is known."""


class Settled(Struct, frozen=True, array_like=True, gc=False, tag="settled"):
    """What an attempt did use up."""

    path: str
    attempt: int
    tokens: int
    cost: float | None


class Resumed(Struct, frozen=True, array_like=True, gc=False, tag="resumed"):
    """A process has taken the run over."""

    apxm: str
    """The version of that process."""


class Edited(Struct, frozen=True, array_like=True, gc=False, tag="edited", kw_only=True):
    """The run goes on with another program, or with Python that may be another. The answers so far count for whatever
    makes the same request in it."""

    program: bytes
    """The new program; like the three below, it stands in place of the header's from here on."""
    program_digest: str
    inputs: tuple[Value, ...]
    inputs_digest: str


class Traced(Struct, frozen=True, array_like=True, gc=False, tag="traced"):
    """What a process knows of the instants of the run, once it is about to let go of it in order."""

    content: bytes
    """As `runtime.kept_trace` packs it."""


class Ended(Struct, frozen=True, array_like=True, gc=False, tag="ended"):
    """A process has let go of the run in order."""

    status: str
    """How the run ended: ``succeeded``, ``failed``, ``interrupted``, ``paused`` or ``stopped``."""
    message: str = ""


Row = Answered | Discarded | Started | Printed | Reserved | Settled | Resumed | Edited | Traced | Ended


class TimedRow(Struct, frozen=True, array_like=True, gc=False):
    time: Time
    """The instant at which the row was appended."""
    row: Row


class Answers:
    """Answers by what they are answers to. Each is given away once: two equal requests are two samples."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, dict[str, Answered]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def __iter__(self) -> Iterator[Answered]:
        return (result for results in self._by_digest.values() for result in results.values())

    def copy(self) -> Answers:
        """Others, so that what is taken from them is still there."""
        copied = Answers()
        for result in self:
            copied.add(result)
        return copied

    def add(self, result: Answered) -> None:
        self._by_digest.setdefault(result.digest, {})[result.path] = result

    def take(self, path: str, digest: bytes) -> Answered | None:
        """An answer to this request: that of the operation at `path` if it made it, else the nearest one; of several
        that are as near, the one that came first."""
        results = self._by_digest.get(digest)
        if results is None:
            return None
        taken = results.pop(path if path in results else min(results, key=partial(_distance, path)))
        if not results:
            del self._by_digest[digest]
        return taken


def _distance(wanted: str, path: str) -> tuple[bool, int, int]:
    """How far a path is from the one that is wanted: whether another operation, how many turns, how many lines."""
    (shape, turns, lines), (other, its_turns, its_lines) = _parts(wanted), _parts(path)
    return shape != other, _apart(turns, its_turns), _apart(lines, its_lines)


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """A path without numbers; those of its turns, and those of its lines."""
    found = _NUMBERS.findall(path)
    turns, lines = (tuple(int(number) for mark, number in found if (mark == ":") is line) for line in (False, True))
    return _NUMBERS.sub(lambda found: found[1].replace("#", ""), path), turns, lines


_NUMBERS = re.compile(r"([:\[#])([0-9]{1,18})(?![0-9])")


def _apart(some: Sequence[int], others: Sequence[int]) -> int:
    from_inside = zip_longest(reversed(some), reversed(others), fillvalue=0)
    return sum(abs(one - other) for one, other in from_inside)


@dataclass
class History:
    """What the rows of a journal add up to."""

    header: Header
    """The header, with the program and the inputs that the run now has."""
    records: list[TimedRow] = field(default_factory=list[TimedRow])
    """All rows. Their numbers are their places here, from 1."""
    results: dict[str, Answered] = field(default_factory=dict[str, Answered])
    """The answers by their operations' paths, since the last edit of the program if there was one."""
    spare: Answers = field(default_factory=Answers)
    """Answers from before the program was edited that no operation of it has yet as it is now."""
    unknown: dict[str, Started] = field(default_factory=dict[str, Started])
    """Operations that began, with an outside effect that nobody knows the end of; by path."""
    discarded: list[Discarded] = field(default_factory=list[Discarded])
    """Answers that were paid for and are of no use."""
    printed: dict[int, str] = field(default_factory=dict[int, str])
    """Lines by number."""
    settled: list[Settled] = field(default_factory=list[Settled])
    lost: list[Reserved] = field(default_factory=list[Reserved])
    """Reservations of earlier processes, for attempts of which nobody knows the end."""
    pending: dict[tuple[str, int], Reserved] = field(default_factory=dict[tuple[str, int], Reserved])
    """Reservations of the last process, by path and attempt."""
    ended: Ended | None = None
    """How the run ended; None where it goes on, or was interrupted."""

    @property
    def unsettled(self) -> list[Reserved]:
        """The attempts that count with all that was reserved for them."""
        return [*self.lost, *self.pending.values()]

    def add(self, record: TimedRow) -> None:
        self.records.append(record)
        match record.row:
            case Answered() as result:
                self.results[result.path] = result
                self.spare.take(result.path, result.digest)  # nobody asks for what is there to take
                self.unknown.pop(result.path, None)
            case Discarded() as discarded:
                self.discarded.append(discarded)
            case Started() as started:
                self.unknown[started.path] = started
            case Printed(number, line):
                self.printed[number] = line
            case Reserved() as reserved:
                self.pending[reserved.path, reserved.attempt] = reserved
            case Settled() as settled:
                self.settled.append(settled)
                self.pending.pop((settled.path, settled.attempt), None)
            case Resumed():
                # The new process counts attempts from 0 again: what it settles is not what the last one reserved.
                self.lost += self.pending.values()
                self.pending.clear()
                self.ended = None
            case Edited(program=program, program_digest=digest, inputs=inputs, inputs_digest=inputs_digest):
                self.header = replace(
                    self.header, program=program, program_digest=digest, inputs=inputs, inputs_digest=inputs_digest
                )
                for result in self.results.values():
                    self.spare.add(result)
                self.results.clear()
                self.printed.clear()
            case Ended() as ended:
                self.ended = ended
            case Traced():
                pass


def edited(program: Program, inputs: Sequence[Value]) -> Edited:
    """What a run goes on with, digests included."""
    artifact, digest = artifact_of(program)
    return Edited(
        program=artifact,
        program_digest=digest,
        inputs=tuple(inputs),
        inputs_digest=digest_of(inputs),
    )


def same_program(header: Header) -> Edited:
    """What a run of Python goes on with, of which the journal has no program, where its code may be another one."""
    return Edited(
        program=header.program,
        program_digest=header.program_digest,
        inputs=header.inputs,
        inputs_digest=header.inputs_digest,
    )


def header_of(
    program: Program,
    *,
    apxm: str,
    run_id: str,
    started: Time,
    path: str,
    kind: Kind,
    flow: str,
    inputs: Sequence[Value],
    options: dict[str, Value],
) -> Header:
    """The header of a new run, digests included."""
    artifact, digest = artifact_of(program)
    return Header(
        run_id=run_id,
        started=started,
        apxm=apxm,
        program=artifact,
        program_digest=digest,
        path=path,
        kind=kind,
        optimization_level=program.optimization_level,
        flow=flow,
        inputs=tuple(inputs),
        inputs_digest=digest_of(inputs),
        options=options,
    )


def digest_of(inputs: Sequence[Value]) -> str:
    """Equal for equal inputs, the order of keys included: a prompt shows it."""
    return sha256(_encode(inputs)).hexdigest()
