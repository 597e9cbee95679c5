"""What a journal holds: a header, rows in the order in which they happened, and what they add up to.

All are MessagePack arrays in the order of their fields, so a later version may add fields with defaults at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from apxm.operations.types import Value
from apxm.program.codec import encode
from apxm.program.model import Program

_canonical = msgspec.msgpack.Encoder(order="deterministic")

Kind = Literal["source", "artifact"]
Time = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Unix time; until the year 9999, so that it can be shown."""


class Header(Struct, frozen=True, array_like=True, kw_only=True):
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
    """SHA-256 of `inputs` as MessagePack, keys sorted, in hexadecimal."""
    options: dict[str, Value]
    """Whatever else the caller needs to go on: backend, model, …"""


class Result(Struct, frozen=True, array_like=True, tag="result"):
    """An operation has ended well."""

    path: str
    """The operation's stable path, as `Trace.path_of` writes it."""
    digest: bytes
    """Of the resolved request that it answers."""
    value: Value
    backend: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    """That was asked for; None where the version that wrote the row did not say."""


class Started(Struct, frozen=True, array_like=True, tag="started"):
    """An operation with an outside effect is about to begin. Without a `Result` behind it, nobody knows what it did."""

    path: str
    digest: bytes
    idempotency_key: str


class Printed(Struct, frozen=True, array_like=True, tag="printed"):
    number: int
    """Of the line, in program order, from 0."""
    line: str


class Reserved(Struct, frozen=True, array_like=True, tag="reserved"):
    """The most that an attempt can use up of the budget. Without a `Settled` behind it, it counts as used up."""

    path: str
    attempt: int
    tokens: int
    cost: float | None
    """None where no price is known."""


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """What an attempt did use up."""

    path: str
    attempt: int
    tokens: int
    cost: float | None


class Resumed(Struct, frozen=True, array_like=True, tag="resumed"):
    """A process has taken the run over."""

    apxm: str
    """The version of that process."""


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """A process has let go of the run in order."""

    status: str
    """As everywhere: ``succeeded``, ``failed``, ``interrupted``, ``paused`` or ``stopped``."""
    message: str = ""


Row = Result | Started | Printed | Reserved | Settled | Resumed | Ended


class Record(Struct, frozen=True, array_like=True):
    time: Time
    """When the row was appended."""
    row: Row


@dataclass
class History:
    """What the rows of a journal add up to."""

    header: Header
    records: list[Record] = field(default_factory=list[Record])
    """All rows. Their numbers are their places here, from 1."""
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    """By path."""
    unknown: dict[str, Started] = field(default_factory=dict[str, Started])
    """Operations that began, with an outside effect that nobody knows the end of; by path."""
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

    def add(self, record: Record) -> None:
        self.records.append(record)
        match record.row:
            case Result() as result:
                self.results[result.path] = result
                self.unknown.pop(result.path, None)
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
            case Ended() as ended:
                self.ended = ended


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
    artifact = encode(program)
    return Header(
        run_id=run_id,
        started=started,
        apxm=apxm,
        program=artifact,
        program_digest=sha256(artifact).hexdigest(),
        path=path,
        kind=kind,
        optimization_level=program.optimization_level,
        flow=flow,
        inputs=tuple(inputs),
        inputs_digest=digest_of(inputs),
        options=options,
    )


def digest_of(inputs: Sequence[Value]) -> str:
    """Equal for equal inputs, whatever the order of keys."""
    return sha256(_canonical.encode(inputs)).hexdigest()
