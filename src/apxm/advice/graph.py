"""From traces to a `MeasuredRun`: the graph as it was executed, contracted to the operations that waited."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from apxm.advice.measured import JOIN, NOBODY, Attempt, Endpoint, MeasuredRun, Node, Place
from apxm.analysis.usage import calls_tool
from apxm.backends.protocol import BackendInfo, Limits
from apxm.errors import ApxmError
from apxm.program.expressions import Literal
from apxm.program.frames import in_order
from apxm.program.nodes import Operate
from apxm.program.openers import Opener
from apxm.program.program import NamesOfFiles
from apxm.program.unfolding import Unfolding
from apxm.runtime.limits import is_adaptive
from apxm.runtime.trace import ANOTHER_RUN, OperationRecord, Trace
from apxm.source import as_utf8

_TURN = re.compile(r"\[[^\]]*\]")
_OCCURRENCE = re.compile(r"#[0-9]+")
_MANY = 8
"""So many nodes that others are behind become a join, else a fan-in before a fan-out had an edge for each pair."""
_NONE: frozenset[int] = frozenset()


def measured(trace: Trace, breaks: Sequence[int] = ()) -> MeasuredRun:
    """A run that is over; `breaks` are the instants at which another process went on with it. Raises `ApxmError` where
    it makes no sense."""
    measuring = Measuring()
    measuring.add(trace, breaks=breaks)
    return measuring.made(trace.duration, trace.status.value, trace.max_concurrency, trace.cost)


class Measuring:
    """Takes one trace, or those of a batch as its runs end, and needs none of them any more then."""

    def __init__(self) -> None:
        self._places: dict[Place, int] = {}
        self._endpoints: dict[str, int] = {}
        self._known: list[Endpoint] = []
        self._nodes: list[Node] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, trace: Trace, origin: int | None = None, breaks: Sequence[int] = ()) -> list[int]:
        """Adds a run that is over, and gives its nodes; `origin` is the instant from which all is counted. Raises
        `ApxmError` where it makes no sense, as of an edited run it may."""
        first = len(self._nodes)
        for info, limits in zip(trace.backends, trace.limits or (Limits(),) * len(trace.backends), strict=True):
            self._endpoint(info, limits)
        contracted = _Contracted(trace, self, trace.started if origin is None else origin)
        stages = [sum(node.ready >= each - trace.started for each in breaks) for node in contracted.nodes]
        nodes = _in_stages(contracted.nodes, stages) if breaks else contracted.nodes
        nodes = _as_they_began(nodes, contracted.ends)
        self._nodes += [_moved(node, first) for node in nodes]
        return list(range(first, len(self._nodes)))

    def made(
        self, duration: int, status: str, max_concurrency: int | None = None, cost: float | None = None
    ) -> MeasuredRun:
        return MeasuredRun(
            duration=duration,
            status=status,
            places=tuple(self._places),
            endpoints=tuple(self._known),
            nodes=tuple(self._nodes),
            max_concurrency=max_concurrency,
            cost=cost,
        )

    def _endpoint(self, info: BackendInfo, limits: Limits) -> None:
        if info.name not in self._endpoints:
            self._endpoints[info.name] = len(self._known)
            self._known.append(Endpoint(info.name, info.model, limits, is_adaptive(info, limits)))

    def place(self, place: Place) -> int:
        return self._places.setdefault(place, len(self._places))

    def endpoint(self, name: str) -> int:
        return self._endpoints.get(name, NOBODY)


class _Contracted:
    """The nodes of one trace, each behind those that it waits for."""

    def __init__(self, trace: Trace, measuring: Measuring, origin: int) -> None:
        self._trace = trace
        self._measuring = measuring
        self._origin = origin
        self._is_python = isinstance(trace.program.names, NamesOfFiles)
        self.nodes: list[Node] = []
        self.ends: dict[int, int] = {}
        """The how manieth of those that are over each operation was."""
        self._bases = _bases(trace)
        self._released: dict[tuple[int, int, int], int] = {}
        """When each attempt gave its slot back."""
        self._placed: dict[tuple[str, int, int], int] = {}
        graph = Unfolding(trace.program, trace.frames)
        records: dict[int, list[tuple[int, OperationRecord]]] = {}
        for number, record in enumerate(trace.operations):
            if record.attempts:
                records.setdefault(graph.number(record.frame, record.node), []).append((number, record))
                for index, each in enumerate(record.attempts):
                    self._released[record.frame, record.node, index] = each.received
                self._released[record.frame, record.node, len(record.attempts) - 1] = record.routed
        self._is_repeated = len(records) < len(trace.raw)
        reached: list[tuple[frozenset[int], frozenset[int]]] = [(_NONE, _NONE)] * graph.size
        """Of each node of the graph the operations that lead to it: as what it takes part in is passed on, and as what
        decided that it is there."""
        for number in in_order(graph.before):
            frame, index = graph.place(number)
            node = graph.node(frame, index)
            before = graph.before[number]
            if number in records:
                ordered = self._ordered_before(graph, frame, node)
                needed = frozenset[int]().union(
                    *(reached[p][0] for p in before if p not in ordered), *(reached[p][1] for p in before)
                )
                follows = frozenset[int]().union(*(reached[p][0] for p in before if p in ordered))
                # One that an earlier process began is there again.
                made = {self._operation(record, node, needed, follows - needed): end for end, record in records[number]}
                self.ends.update(made)
                reached[number] = frozenset(made), _NONE
            elif len(before) == 1 and not isinstance(node, Opener):
                reached[number] = reached[before[0]]
            else:
                passed = frozenset[int]().union(*(reached[p][0] for p in before))
                decided = frozenset[int]().union(*(reached[p][1] for p in before))
                if isinstance(node, Opener):
                    passed, decided = _NONE, passed | decided
                reached[number] = self._joined(passed), self._joined(decided)

    def _ordered_before(self, graph: Unfolding, frame: int, node: object) -> frozenset[int]:
        """Those of the nodes before one that only keep it in order. Those of Python name what a lane had done itself in
        `after`, and what it waited for at its turn in `requires`."""
        assert isinstance(node, Operate)
        own = self._is_python and graph.frames[frame].plan == 0
        order = node.requires if own else (*node.after, *node.requires)
        return frozenset(graph.number(frame, p) for p in order if p not in node.operands)

    def _joined(self, nodes: frozenset[int]) -> frozenset[int]:
        if len(nodes) <= _MANY:
            return nodes
        self.nodes.append(Node(JOIN, NOBODY, tuple(sorted(nodes))))
        return frozenset([len(self.nodes) - 1])

    def _operation(self, record: OperationRecord, node: object, needed: frozenset[int], ordered: frozenset[int]) -> int:
        assert isinstance(node, Operate)
        origin = self._origin
        attempts: list[Attempt] = []
        for each in record.attempts:
            asked = each.asked - origin
            granted = max(asked, each.granted - origin)
            sent = max(granted, each.sent - origin)
            received = max(sent, each.received - origin)
            used = each.usage
            released = self._released.get(each.slot_from or ANOTHER_RUN, each.granted)
            attempts.append(
                Attempt(
                    asked=asked,
                    granted=granted,
                    sent=sent,
                    received=received,
                    outcome=each.outcome,
                    service=each.service_ns,
                    input=used.input_tokens,
                    output=used.output_tokens,
                    handed=max(0, each.granted - released),
                )
            )
        if self._is_repeated:  # what was made again later is no reason
            needed = frozenset(p for p in needed if self.nodes[p].routed <= record.ready - origin)
            ordered = frozenset(p for p in ordered if self.nodes[p].routed <= record.ready - origin)
        made = Node(
            place=self._place(record, node),
            endpoint=NOBODY if calls_tool(node) else self._measuring.endpoint(record.backend),
            behind=tuple(sorted(needed)),
            ordered=tuple(sorted(ordered)),
            rank=self._bases[record.frame] + node.priority,
            ready=min(record.ready - origin, attempts[0].asked),
            routed=max(record.routed - origin, attempts[-1].received),
            attempts=tuple(attempts),
        )
        self.nodes.append(made)
        return len(self.nodes) - 1

    def _place(self, record: OperationRecord, node: Operate) -> int:
        trace = self._trace
        plan = trace.frames[record.frame].plan
        path = _TURN.sub("", as_utf8(trace.path_of(record.frame, record.node)))
        is_python = self._is_python and plan == 0
        if is_python:
            path = _OCCURRENCE.sub("", path)  # what a loop without a promise makes again and again
        key = path, plan, -1 if is_python else record.node
        found = self._placed.get(key)
        if found is None:
            options = node.options
            line, column = trace.position_of(record.frame, record.node)
            place = Place(
                path,
                node.operation,
                as_utf8(trace.program.names.file_of(plan)),
                line,
                column,
                _text(options.get("model")),
                _text(options.get("tool")) if calls_tool(node) else None,
                _is_true(options.get("readonly")),
                is_python,
            )
            found = self._placed[key] = self._measuring.place(place)
        return found


def _text(option: object) -> str | None:
    return option.value if isinstance(option, Literal) and isinstance(option.value, str) else None


def _is_true(option: object) -> bool:
    return isinstance(option, Literal) and option.value is True


def _bases(trace: Trace) -> list[int]:
    """The longest path from the end of each frame to that of the run, as the scheduler has it."""
    found: list[int] = []
    plans = trace.program.plans
    for frame in trace.frames:
        if frame.parent < 0:
            found.append(0)
            continue
        opener = plans[trace.frames[frame.parent].plan].nodes[frame.opener]
        found.append(found[frame.parent] + getattr(opener, "priority", 0))
    return found


def _in_stages(nodes: Sequence[Node], stages: Sequence[int]) -> list[Node]:
    """Nodes of a later process come behind all of an earlier one; a join belongs to the last process that it needs."""
    stages = list(stages)
    for index, node in enumerate(nodes):
        if node.place == JOIN:
            stages[index] = max((stages[other] for other in node.behind), default=0)
    made = list(nodes)
    for earlier, later in pairwise(sorted(set(stages))):
        made.append(Node(JOIN, NOBODY, tuple(index for index, stage in enumerate(stages) if stage == earlier)))
        for index, stage in enumerate(stages):
            if stage == later:
                made[index] = _with(made[index], (*made[index].behind, len(made) - 1), made[index].ordered)
    return made


def _as_they_began(nodes: Sequence[Node], ends: Mapping[int, int]) -> list[Node]:
    """Each behind those that it waits for, and else in the order in which they began, as who is first gets slots first.

    Of those that began together it is the order in which their attempts were over.
    """
    left = [len({*node.behind, *node.ordered}) for node in nodes]
    behind: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for other in {*node.behind, *node.ordered}:
            behind[other].append(index)

    def key(index: int) -> tuple[int, int, int, int, int]:
        node = nodes[index]
        first = node.attempts[0] if node.attempts else None
        granted, received = (first.granted, first.received) if first else (0, 0)
        return node.ready, granted, received, ends.get(index, 0), index

    able = [key(index) for index, count in enumerate(left) if not count]
    heapify(able)
    place: dict[int, int] = {}
    while able:
        index = heappop(able)[-1]
        place[index] = len(place)
        for other in behind[index]:
            left[other] -= 1
            if not left[other]:
                heappush(able, key(other))
    if len(place) < len(nodes):
        raise ApxmError("what waited for what in the run goes in a circle")
    return [
        _with(
            nodes[index], sorted(place[p] for p in nodes[index].behind), sorted(place[p] for p in nodes[index].ordered)
        )
        for index in place
    ]


def _moved(node: Node, by: int) -> Node:
    if not by:
        return node
    return _with(node, [each + by for each in node.behind], [each + by for each in node.ordered])


def _with(node: Node, behind: Iterable[int], ordered: Iterable[int]) -> Node:
    return Node(
        node.place, node.endpoint, tuple(behind), tuple(ordered), node.rank, node.ready, node.routed, node.attempts
    )
