"""Work and span of a run: T1, T_inf and the critical path, over the graph as it was executed (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from apxm.program.frames import ends, in_order
from apxm.program.nodes import Operate
from apxm.program.unfolding import Unfolding
from apxm.runtime.trace import OperationRecord, Trace

Weight = Callable[[OperationRecord], int]
"""How long an operation counts, in ns."""


class Step(NamedTuple):
    """One operation of a path."""

    frame: int
    node: int
    duration: int
    """The weight of the operation, in ns."""


class Path(NamedTuple):
    length: int
    """The length of the path, in ns."""
    steps: tuple[Step, ...]
    """Operations alone, in the order in which they ran."""


def latency(record: OperationRecord) -> int:
    """The latency of all attempts of an operation together: what T1 and T_inf are made of."""
    return sum(attempt.latency for attempt in record.attempts)


def work(trace: Trace, weight: Weight = latency) -> int:
    """T1: the time of all operations, one after the other."""
    return sum(map(weight, trace.operations))


def longest_path(trace: Trace, weight: Weight = latency) -> Path:
    """The longest path through the executed operations, data and order edges alike; its length is T_inf.

    Linear in the nodes of the opened frames. Operations that did not wait weigh nothing, nor do skipped ones.
    """
    graph = Unfolding(trace.program, trace.frames)
    weights = [0] * graph.size
    for record in trace.operations:
        weights[graph.number(record.frame, record.node)] = weight(record)
    return longest(graph, weights)


def longest(graph: Unfolding, weights: Sequence[int]) -> Path:
    """The longest path of a graph whose nodes take their weights; of equals, the one that ends in the first frame."""
    if not graph.size:
        return Path(0, ())
    found = ends(graph.before, in_order(graph.before), weights)
    length = max(found)
    first = graph.place(found.index(length))[0]
    stop = graph.starts[first + 1] if first + 1 < len(graph.starts) else graph.size
    # Its last node there: a path goes on through operations that take no time.
    number = next(n for n in reversed(range(graph.starts[first], stop)) if found[n] == length)
    steps: list[Step] = []
    while True:
        frame, node = graph.place(number)
        if isinstance(graph.node(frame, node), Operate):
            steps.append(Step(frame, node, weights[number]))
        if not graph.before[number]:
            return Path(length, tuple(reversed(steps)))
        number = max(graph.before[number], key=found.__getitem__)
