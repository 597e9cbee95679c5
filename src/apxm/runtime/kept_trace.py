"""The trace of one process of a run as its journal keeps it, and a trace again."""

from __future__ import annotations

import zlib
from array import array
from statistics import median

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from apxm.backends.protocol import BackendInfo, Limits
from apxm.errors import ApxmError
from apxm.program.nodes import Operate
from apxm.program.program import Flow, Names, NamesOfFiles, Program
from apxm.program.unfolding import FrameTable
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Failure, Overhead, RawOperation, Status, Trace

_NO_NAMES = Names(file="", plans=())


class KeptTrace(Struct, frozen=True, array_like=True, kw_only=True):
    """A `Trace`, but for what other rows of the journal hold. Fields as there."""

    started: int
    ended: int
    status: Status
    failures: list[Failure]
    caught: list[Failure]
    frames: bytes
    """The numbers of its `FrameTable`."""
    raw: list[RawOperation]
    program: tuple[Program, NamesOfFiles] | None
    """What a run of Python came to, and its names; None where the journal has the program itself."""
    overhead: tuple[float, float, float]
    """Medians in ns."""
    processor_ns: int
    cost: float | None
    stopped: Stopped | None
    max_in_flight: int
    executed: int
    reused: int
    failed: int
    skipped: int
    backends: tuple[BackendInfo, ...]
    """Those that it may have asked, the default one first."""
    limits: tuple[Limits, ...] = ()
    """None of what an earlier version wrote."""
    max_concurrency: int | None = None


_SMALL = 1024
"""Bytes below which it is kept as it is: to make them less would take longer than all else here."""
_ARRAY = b"\xdc"
"""What MessagePack of more than 15 fields begins with, and zlib never does."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptTrace).decode


def packed(trace: Trace) -> bytes:
    """The trace of a run that is over."""
    program, names, frames = trace.program, trace.program.names, trace.frames
    assert isinstance(frames, FrameTable)
    overhead = trace.overhead
    samples = (overhead.input_collection, overhead.dispatch, overhead.token_routing)
    kept = KeptTrace(
        started=trace.started,
        ended=trace.ended,
        status=trace.status,
        failures=trace.failures,
        caught=trace.caught,
        frames=frames.tobytes(),
        raw=trace.raw,
        program=(replace(program, names=_NO_NAMES), names) if isinstance(names, NamesOfFiles) else None,
        overhead=tuple(median(each) if each else 0.0 for each in samples),  # pyright: ignore[reportArgumentType]
        processor_ns=trace.processor_ns,
        cost=trace.cost,
        stopped=trace.stopped,
        max_in_flight=trace.max_in_flight,
        executed=trace.executed,
        reused=trace.reused,
        failed=trace.failed,
        skipped=trace.skipped,
        backends=trace.backends,
        limits=trace.limits,
        max_concurrency=trace.max_concurrency,
    )
    return encoded if len(encoded := _encode(kept)) < _SMALL else zlib.compress(encoded, 1)


def unpacked(content: bytes) -> KeptTrace:
    """Raises `ApxmError` where it is none."""
    try:
        return _decode(content if content.startswith(_ARRAY) else zlib.decompress(content))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApxmError(f"what the journal has of the instants of the run is damaged: {error}") from None


def trace_of(kept: KeptTrace, program: Program, flow: Flow) -> Trace:
    """The trace; of AIS `program` and `flow` are what ran. Raises `ApxmError` where it does not fit these."""
    if kept.program is not None:
        program = replace(kept.program[0], names=kept.program[1])
        flow = program.flows[0]
    frames = FrameTable()
    numbers = array("i")
    numbers.frombytes(kept.frames[: len(kept.frames) // 16 * 16])
    for at in range(0, len(numbers), 4):
        frames.add(*numbers[at : at + 4])
    _verify(kept, program, frames)
    return Trace(
        program=program,
        flow=flow,
        started=kept.started,
        ended=kept.ended,
        status=kept.status,
        failures=kept.failures,
        caught=kept.caught,
        frames=frames,
        raw=kept.raw,
        overhead=Overhead(*([round(each)] for each in kept.overhead)),
        processor_ns=kept.processor_ns,
        cost=kept.cost,
        stopped=kept.stopped,
        max_in_flight=kept.max_in_flight,
        executed=kept.executed,
        reused=kept.reused,
        failed=kept.failed,
        skipped=kept.skipped,
        backends=kept.backends,
        limits=kept.limits,
        max_concurrency=kept.max_concurrency,
    )


def _verify(kept: KeptTrace, program: Program, frames: FrameTable) -> None:
    """A journal may have been written by anybody."""
    plans = program.plans
    fits = len(frames) > 0
    if kept.program is not None:
        names = kept.program[1]
        fits = fits and len(names.files) == len(plans) == len(names.plans) and len(kept.program[0].flows) > 0
        for plan, named in zip(plans, names.plans, strict=False):
            fits = fits and len(plan.nodes) == len(named.nodes)
            for index, node in enumerate(plan.nodes):
                fits = fits and all(0 <= n < index for n in (*node.operands, *node.after, *node.requires))

    def is_node(frame: int, node: int) -> bool:
        return 0 <= node < len(plans[frames[frame].plan].nodes)

    for index, frame in enumerate(frames) if fits else ():
        opened = is_node(frame.parent, frame.opener) if 0 <= frame.parent < index else frame.parent == -1 and not index
        fits = fits and 0 <= frame.plan < len(plans) and opened
    for raw in kept.raw if fits else ():
        is_operation = 0 <= raw[0] < len(frames) and is_node(raw[0], raw[1])
        fits = fits and is_operation and isinstance(plans[frames[raw[0]].plan].nodes[raw[1]], Operate)
    if not fits:
        raise ApxmError("what the journal has of the instants of the run does not fit its program")
