"""The shape of a flow's graph in numbers.

A node is an operation that the source wrote. Whatever opens frames is unfolded in place, its alternatives beside each
other, each once. An edge is a pair of operations of which the second waits for the first with no operation between: for
its value, for order, or because the first decides that the second's arm runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from apxm.program.frames import HIGH, LOW, FrameGraph, ends, in_order
from apxm.program.nodes import Enter, Exit, Operate
from apxm.program.openers import Opener
from apxm.program.program import Flow, Program
from apxm.program.unfolding import Unfolding, unfold

MOST_UNFOLDED = 50_000
"""Nodes that a flow may unfold into to be counted so. Call trees can be exponential: beyond this, calls are not
unfolded, and each counts as one operation."""


class PlanStatistics(Struct, frozen=True, kw_only=True):
    total_nodes: int
    entry_nodes: int
    """How many operations wait for no other."""
    exit_nodes: int
    """How many operations no other waits for."""
    total_edges: int
    critical_path_length: int
    """Operations on the longest path."""
    max_width: int
    """Most operations at one depth, where depth is the length of the longest path to an operation."""
    operations_in_run: tuple[int, int | None] | UnsetType = UNSET
    """The least and the most operations of one run, where some frames open any number of times: the numbers above count
    each of those once. None where nothing limits the most. Absent where every frame opens once."""


def flow_statistics(program: Program) -> dict[str, PlanStatistics]:
    """The statistics of every flow, by its qualified name. Takes time in proportion to the unfolded graphs, as long as
    few nodes join many others to many more."""
    frames = FrameGraph.of(program.plans)
    sizes = frames.fold([len(plan.nodes) for plan in program.plans], lambda size, _, below: size + sum(below))
    counts = [sum(isinstance(node, Operate) for node in plan.nodes) for plan in program.plans]
    least, most = frames.total(counts, LOW), frames.total(counts, HIGH)
    # Whether some frame below may open any number of times.
    repeats = frames.fold([0.0] * len(counts), lambda any_, opening, below: max(any_, not opening.is_exact, *below))

    def of(flow: Flow) -> PlanStatistics:
        plan = flow.plan
        opens = None if sizes[plan] <= MOST_UNFOLDED else _stays_in_flow
        found = _statistics(_Graph(Unfolding(program, unfold(program, flow, opens=opens))))
        if not repeats[plan]:
            return found
        return replace(found, operations_in_run=(int(least[plan]), None if most[plan] == inf else int(most[plan])))

    return {flow.qualified_name: of(flow) for flow in program.flows}


def _stays_in_flow(_frame: int, _node: int, opener: Opener) -> bool:
    return not opener.leaves_flow


def _statistics(graph: _Graph) -> PlanStatistics:
    order = in_order(graph.predecessors)
    sources = _sources(graph, order)
    depths = ends(graph.predecessors, order, graph.operations)
    operations = [node for node in order if graph.operations[node]]
    widths = Counter(depths[node] for node in operations)
    waited_for = _waited_for(graph, order)
    return PlanStatistics(
        total_nodes=len(operations),
        entry_nodes=sum(sources[node] == 0 for node in operations),
        exit_nodes=sum(not waited_for[node] for node in operations),
        total_edges=sum(sources[node] for node in operations),
        critical_path_length=max(widths, default=0),
        max_width=max(widths.values(), default=0),
    )


class _Graph:
    """The unfolded graph: for each node, whether it counts as an operation, and what it waits for."""

    def __init__(self, unfolded: Unfolding) -> None:
        self.operations: list[bool] = []
        self.predecessors = list(unfolded.before)
        for frame, record in enumerate(unfolded.frames):
            for i, node in enumerate(unfolded.plans[record.plan].nodes):
                closed = isinstance(node, Opener) and (frame, i) not in unfolded.children
                self.operations.append(closed or isinstance(node, Operate))
                match node:
                    case Enter() if (frame, node.opener) not in unfolded.children:
                        opener = unfolded.number(frame, node.opener)
                        self.predecessors[opener] = [*self.predecessors[opener], unfolded.number(frame, i)]
                    case Exit() if (frame, node.opener) in unfolded.children:
                        # What it comes `after` in its own plan only matters where the frame was never opened.
                        self.predecessors[unfolded.number(frame, i)] = unfolded.outputs(frame, node)
                    case _:
                        pass


# --- what waits for what -------------------------------------------------------------------------------------------


def _sources(graph: _Graph, order: Sequence[int]) -> list[int]:
    """How many operations each operation waits for directly.

    A node that is no operation joins those before it to those behind it; what it joins is one set, which the nodes
    behind it share instead of each making its own.
    """
    counts = [0] * len(order)
    joined: dict[int, frozenset[int]] = {}
    unions: dict[tuple[int, ...], frozenset[int]] = {}

    def union(hubs: Iterable[int]) -> frozenset[int]:
        key = tuple(sorted(hubs))
        if len(key) == 1:
            return joined[key[0]]
        if key not in unions:
            unions[key] = frozenset[int]().union(*(joined[hub] for hub in key))
        return unions[key]

    for node in order:
        direct = {p for p in graph.predecessors[node] if graph.operations[p]}
        hubs = [p for p in graph.predecessors[node] if not graph.operations[p] and joined[p]]
        through = union(hubs) if hubs else frozenset[int]()
        if graph.operations[node]:
            counts[node] = len(through) + sum(p not in through for p in direct)
        else:
            joined[node] = through if direct <= through else through | direct
    return counts


def _waited_for(graph: _Graph, order: Sequence[int]) -> list[bool]:
    """Whether some operation waits for each node."""
    found = [False] * len(order)
    for node in reversed(order):
        if found[node] or graph.operations[node]:
            for p in graph.predecessors[node]:
                found[p] = True
    return found
