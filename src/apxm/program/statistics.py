"""The shape of a flow's graph in numbers.

A node is an operation that the source wrote. Constructs and calls are unfolded in place, all arms of a `switch` beside
each other. An edge is a pair of operations of which the second waits for the first with no operation between: for its
value, for order, or because the first decides that the second's arm runs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from apxm.program.model import Call, Enter, Exit, Operate, Plan, Program, Switch

MOST_UNFOLDED = 50_000
"""Nodes that a flow may unfold into to be counted so. Call trees can be exponential: beyond this, calls are not
unfolded, and each counts as one operation."""


class PlanStatistics(Struct, frozen=True, kw_only=True):
    total_nodes: int
    entry_nodes: int
    """Those that wait for no other."""
    exit_nodes: int
    """Those that no other waits for."""
    total_edges: int
    critical_path_length: int
    """Operations on the longest path."""
    max_width: int
    """Most operations at one depth, where depth is the length of the longest path to an operation."""


def flow_statistics(program: Program) -> dict[str, PlanStatistics]:
    """Of every flow, by its qualified name. Takes time in proportion to the unfolded graphs, as long as few nodes join
    many others to many more."""
    sizes = _unfolded_sizes(program)
    return {
        flow.qualified_name: _statistics(_unfold(program, flow.plan, calls=sizes[flow.plan] <= MOST_UNFOLDED))
        for flow in program.flows
    }


def _statistics(graph: _Graph) -> PlanStatistics:
    order = graph.topological_order()
    sources = _sources(graph, order)
    depths = _depths(graph, order)
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


@dataclass
class _Graph:
    """The unfolded graph: for each node, whether it is an operation and what it waits for."""

    operations: list[bool] = field(default_factory=list[bool])
    predecessors: list[list[int]] = field(default_factory=list[list[int]])

    def add(self, plan: Plan) -> int:
        """Appends the nodes of a plan with the edges inside it, and gives the number of the first."""
        base = len(self.operations)
        for node in plan.nodes:
            self.operations.append(isinstance(node, Operate))
            self.predecessors.append([base + p for p in {*node.operands, *node.after, *node.requires}])
        return base

    def topological_order(self) -> list[int]:
        successors: list[list[int]] = [[] for _ in self.operations]
        missing = [len(predecessors) for predecessors in self.predecessors]
        for node, predecessors in enumerate(self.predecessors):
            for p in predecessors:
                successors[p].append(node)
        ready = deque(node for node, count in enumerate(missing) if not count)
        order: list[int] = []
        while ready:
            node = ready.popleft()
            order.append(node)
            for successor in successors[node]:
                missing[successor] -= 1
                if not missing[successor]:
                    ready.append(successor)
        return order


def _opened(node: Switch | Call) -> tuple[int, ...]:
    if isinstance(node, Call):
        return (node.plan,)
    return node.arms if node.default is None else (*node.arms, node.default)


def _unfolded_sizes(program: Program) -> list[int]:
    """Nodes of each plan with all that it opens, by an iterative walk: calls nest as deep as there are flows."""
    sizes: list[int | None] = [None] * len(program.plans)
    for root in range(len(program.plans)):
        stack = [root]
        while stack:
            plan = program.plans[stack[-1]]
            inner = [p for node in plan.nodes if isinstance(node, Switch | Call) for p in _opened(node)]
            unknown = [p for p in inner if sizes[p] is None]
            if unknown:
                stack += unknown
            else:
                sizes[stack.pop()] = len(plan.nodes) + sum(sizes[p] or 0 for p in inner)
    return [size or 0 for size in sizes]


def _unfold(program: Program, root: int, *, calls: bool) -> _Graph:
    graph = _Graph()
    frames = [(program.plans[root], graph.add(program.plans[root]))]
    while frames:
        plan, base = frames.pop()
        openers: dict[int, list[tuple[Plan, int]]] = {}
        for i, node in enumerate(plan.nodes):
            match node:
                case Call() if not calls:
                    graph.operations[base + i] = True
                case Switch() | Call():
                    opened = [program.plans[p] for p in _opened(node)]
                    openers[i] = [(inner, graph.add(inner)) for inner in opened]
                    for inner, inner_base in openers[i]:
                        _start_after(graph, inner, inner_base, base + i)
                case Enter() if node.opener in openers:
                    for _, inner_base in openers[node.opener]:
                        graph.predecessors[inner_base + node.port].append(base + i)
                case Enter():
                    graph.predecessors[base + node.opener].append(base + i)
                case Exit() if node.opener in openers:
                    # What it comes `after` in its own plan only matters where the frame was never opened.
                    outputs = [inner_base + inner.outputs[node.port] for inner, inner_base in openers[node.opener]]
                    graph.predecessors[base + i] = outputs
                case Exit():
                    graph.predecessors[base + i].append(base + node.opener)
                case _:
                    pass
        frames += [frame for inner in openers.values() for frame in inner]
    return graph


def _start_after(graph: _Graph, plan: Plan, base: int, opener: int) -> None:
    """Nothing in a frame runs before what opens it."""
    for i in range(len(plan.nodes)):
        if not graph.predecessors[base + i]:
            graph.predecessors[base + i].append(opener)


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


def _depths(graph: _Graph, order: Sequence[int]) -> list[int]:
    depths = [0] * len(order)
    for node in order:
        before = max((depths[p] for p in graph.predecessors[node]), default=0)
        depths[node] = before + graph.operations[node]
    return depths


def _waited_for(graph: _Graph, order: Sequence[int]) -> list[bool]:
    """Whether some operation waits for each node."""
    found = [False] * len(order)
    for node in reversed(order):
        if found[node] or graph.operations[node]:
            for p in graph.predecessors[node]:
                found[p] = True
    return found
