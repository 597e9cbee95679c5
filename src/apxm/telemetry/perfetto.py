"""A run as a trace for Perfetto (``--trace-file``), in Chrome's JSON format (docs/traces.md).

Three groups of lanes: the run, its attempts in flight, and what waited. An attempt takes the lowest lane that is free,
so there are as many lanes as there were attempts at once, and no slices of a lane overlap: the format has no meaning
for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, nlargest
from itertools import count, pairwise, repeat
from typing import Any, NamedTuple

import msgspec

from apxm.program.frames import in_order
from apxm.program.unfolding import Unfolding
from apxm.runtime.budget import as_amount
from apxm.runtime.trace import Attempt, OperationRecord, Trace
from apxm.runtime.waiting import Provider, WaitingOperation
from apxm.version import VERSION

Who = Callable[[int, int], tuple[WaitingOperation, Provider]]
"""Gives the operation at a node of a frame, and whoever does it: `Run.who`."""
MOST_ARROWS = 16
"""Arrows that lead to an operation: from those of what it waited for that were there last. All of what two wide joins
share would be their product."""
_RUN, _IN_FLIGHT, _WAITING = 1, 2, 3
"""The groups of lanes, as processes."""
_LANES_OF_A_GROUP = 10_000_000
"""Lanes are threads, and Perfetto gives threads of one number one name, whatever their process."""
_encode = msgspec.json.Encoder().encode
Event = dict[str, Any]


class _Slice(NamedTuple):
    begin: int
    end: int
    name: str
    category: str
    args: dict[str, Any]


class _Placed(NamedTuple):
    """Where a slice has got to."""

    lane: int
    begin: int
    end: int


def trace_file(trace: Trace, run_id: str, who: Who | None = None) -> bytes:
    """The whole file. Without `who`, nothing tells the models and the costs."""
    head = {"apxm": VERSION, "run": run_id, "flow": trace.flow.qualified_name, "status": trace.status.value}
    lines = b",\n".join(map(_encode, _events(trace, run_id, who)))
    return b'{"displayTimeUnit":"ms","otherData":%b,"traceEvents":[\n%b\n]}\n' % (_encode(head), lines)


def _events(trace: Trace, run_id: str, who: Who | None) -> Iterator[Event]:
    """An arrow is tied to the slice that is open in its lane when it comes, so slices stand before arrows."""
    attempts = [_attempts(trace, record, who) for record in trace.operations]
    placed = _in_lanes(slice for slices in attempts for slice in slices)
    waits = [slice for record in trace.operations for slice in _waits(trace, record)]
    placed_waits = _in_lanes(waits)
    yield from _named(_RUN, f"run {run_id}", 1)
    yield from _named(_IN_FLIGHT, "calls in flight", _lanes(placed))
    yield from _named(_WAITING, "waiting", _lanes(placed_waits))
    yield _drawn(_RUN, _Placed(1, 0, trace.duration), _run(trace))
    ends: list[tuple[_Placed, _Placed]] = []
    """The first and the last attempt of each operation."""
    retries: list[tuple[_Placed, _Placed]] = []
    index = 0
    for slices in attempts:
        own = placed[index : index + len(slices)]
        index += len(slices)
        yield from map(_drawn, repeat(_IN_FLIGHT), own, slices)
        ends.append((own[0], own[-1]))
        retries += pairwise(own)
    yield from map(_drawn, repeat(_WAITING), placed_waits, waits)
    numbers = count(1)
    for source, target in _dependencies(trace):
        yield from _arrow("dependency", next(numbers), ends[source][1], ends[target][0])
    for before, behind in retries:
        yield from _arrow("retry", next(numbers), before, behind)
    yield from _counter("in flight", placed)
    yield from _counter("waiting", placed_waits)


# --- slices ----------------------------------------------------------------------------------------------------------


def _run(trace: Trace) -> _Slice:
    args = {
        "status": trace.status.value,
        "operations": trace.executed,
        "failed": trace.failed,
        "from the journal": trace.reused,
        "most in flight": trace.max_in_flight,
        **({} if trace.cost is None else {"cost": trace.cost}),
    }
    return _Slice(0, trace.duration, trace.flow.qualified_name.lstrip("."), "run", args)


def _attempts(trace: Trace, record: OperationRecord, who: Who | None) -> list[_Slice]:
    path, operation = trace.path_of(record.frame, record.node), trace.operation_of(record.frame, record.node)
    common = {"operation": operation, "where": trace.place_of(record.frame, record.node), "backend": record.backend}
    if who is not None and (model := _model(*who(record.frame, record.node))) is not None:
        common["model"] = model
    found: list[_Slice] = []
    for number, attempt in enumerate(record.attempts, 1):
        name = path if number == 1 else f"{path} (attempt {number})"
        args = common | {"attempt": number, "outcome": attempt.outcome} | _measured(attempt)
        if who is not None and (cost := _cost(record, attempt, who)) is not None:
            args["cost"] = cost
        sent, received = attempt.sent - trace.started, attempt.received - trace.started
        found.append(_Slice(sent, received, name, operation, args))
    return found


def _measured(attempt: Attempt) -> dict[str, Any]:
    usage = attempt.usage
    found = {
        "input tokens": usage.input_tokens,
        "output tokens": usage.output_tokens,
        "service ms": None if attempt.service_ns is None else attempt.service_ns / 1e6,
        "first token ms": None if attempt.first is None else (attempt.first - attempt.sent) / 1e6,
    }
    return {name: value for name, value in found.items() if value is not None}


def _model(operation: WaitingOperation, provider: Provider) -> str | None:
    """The model that it asks for; None of what is no model."""
    return getattr(operation, "model", None) or (None if provider.info is None else provider.info.model)


def _cost(record: OperationRecord, attempt: Attempt, who: Who) -> float | None:
    operation, provider = who(record.frame, record.node)
    if provider.info is None or not attempt.answered or provider.unpriced(operation) is not None:
        return None
    cost = provider.cost(operation, attempt.usage)
    return None if cost is None else as_amount(cost.money)


def _waits(trace: Trace, record: OperationRecord) -> Iterator[_Slice]:
    """The pauses of an operation between its attempts, and what it waited for its slots."""
    path = trace.path_of(record.frame, record.node)
    args = {"path": path, "where": trace.place_of(record.frame, record.node), "backend": record.backend}
    since = record.ready
    for number, attempt in enumerate(record.attempts, 1):
        if number > 1 and attempt.asked > since:
            begin, end = since - trace.started, attempt.asked - trace.started
            yield _Slice(begin, end, f"{path}: pause before attempt {number}", "pause", args)
        if attempt.granted > attempt.asked:
            begin, end = attempt.asked - trace.started, attempt.granted - trace.started
            yield _Slice(begin, end, f"{path}: waits for a slot", "slot", args)
        since = attempt.received


# --- lanes -----------------------------------------------------------------------------------------------------------


def _in_lanes(slices: Iterable[_Slice]) -> list[_Placed]:
    """A lane for each slice, from 1: the lowest that is free when it begins. In the order of `slices`."""
    times = [(slice.begin, slice.end) for slice in slices]
    placed: dict[int, _Placed] = {}
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    used = 0
    for number in sorted(range(len(times)), key=times.__getitem__):
        begin, end = times[number]
        while busy and busy[0][0] <= begin:
            heappush(free, heappop(busy)[1])
        if not free:
            used += 1
            heappush(free, used)
        lane = heappop(free)
        # One of no duration holds its lane for an instant, so that no other begins at the same one.
        heappush(busy, (max(end, begin + 1), lane))
        placed[number] = _Placed(lane, begin, end)
    return [placed[number] for number in range(len(times))]


def _lanes(placed: Iterable[_Placed]) -> int:
    return max((at.lane for at in placed), default=0)


# --- dependencies ----------------------------------------------------------------------------------------------------


def _dependencies(trace: Trace) -> Iterator[tuple[int, int]]:
    """Which operations waited for which, both by their index in `Trace.operations`: through whatever stands between
    them that does not wait itself, and of many the `MOST_ARROWS` that were there last."""
    records = trace.operations
    graph = Unfolding(trace.program, trace.frames)
    index_of = {graph.number(record.frame, record.node): index for index, record in enumerate(records)}
    behind: list[tuple[tuple[int, int], ...]] = [()] * graph.size
    """For whoever waits for a node: the last ones of the operations that it brings, each behind its end."""
    for number in in_order(graph.before):
        before = graph.before[number]
        if len(before) == 1:
            found = behind[before[0]]
        else:
            found = tuple(nlargest(MOST_ARROWS, {each for one in before for each in behind[one]}))
        index = index_of.get(number)
        if index is None:
            behind[number] = found
            continue
        behind[number] = ((records[index].attempts[-1].received, index),)
        for _, source in sorted(found):
            yield source, index


# --- the format ------------------------------------------------------------------------------------------------------


def _drawn(group: int, at: _Placed, slice: _Slice) -> Event:
    return {
        "ph": "X", "pid": group, "tid": _lane(group, at.lane), "ts": _us(at.begin), "dur": _us(at.end - at.begin),
        "name": slice.name, "cat": slice.category, "args": slice.args,
    }  # fmt: skip


def _arrow(kind: str, number: int, source: _Placed, target: _Placed) -> Iterator[Event]:
    """From one attempt to another. At its very end a slice is not open any more."""
    common = {"name": kind, "cat": kind, "id": number, "pid": _IN_FLIGHT}
    leaves = max(source.begin, source.end - 1)
    yield common | {"ph": "s", "tid": _lane(_IN_FLIGHT, source.lane), "ts": _us(leaves)}
    yield common | {"ph": "f", "tid": _lane(_IN_FLIGHT, target.lane), "ts": _us(target.begin), "bp": "e"}


def _counter(name: str, placed: Iterable[_Placed]) -> Iterator[Event]:
    """How many there were at each moment."""
    changes: dict[int, int] = {}
    for at in placed:
        changes[at.begin] = changes.get(at.begin, 0) + 1
        changes[at.end] = changes.get(at.end, 0) - 1
    level = 0
    for instant in sorted(changes):
        level += changes[instant]
        at = {"pid": _RUN, "tid": _lane(_RUN, 1), "ts": _us(instant)}
        yield at | {"ph": "C", "name": name, "args": {"calls": level}}


def _named(group: int, name: str, lanes: int) -> Iterator[Event]:
    if not lanes:
        return
    yield {"ph": "M", "pid": group, "name": "process_name", "args": {"name": name}}
    yield {"ph": "M", "pid": group, "name": "process_sort_index", "args": {"sort_index": group}}
    for lane in range(1, lanes + 1):
        thread = {"ph": "M", "pid": group, "tid": _lane(group, lane)}
        yield thread | {"name": "thread_name", "args": {"name": f"lane {lane}"}}
        yield thread | {"name": "thread_sort_index", "args": {"sort_index": lane}}


def _lane(group: int, lane: int) -> int:
    """The number of a lane's thread."""
    return group * _LANES_OF_A_GROUP + lane


def _us(ns: int) -> float:
    return ns / 1000
