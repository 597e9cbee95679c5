"""The graph of a run folded: all turns of a loop, lanes of a flow and inputs of a batch are one site each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Family
from apxm.program.nodes import Operate
from apxm.program.unfolding import Unfolding
from apxm.runtime.trace import Trace
from apxm.source import as_utf8

_TURN = re.compile(r"\[[^\]]*\]")
_OCCURRENCE = re.compile(r"#[0-9]+")
MOST_EDGES = 20_000
"""Most edges of a page: beyond it nobody sees anything in a graph."""


class Site(Struct, array_like=True):
    """A place of a program at which an operation is made, once or any number of times."""

    path: str
    """As the operations' own, without the numbers of turns."""
    operation: str
    family: str
    """``model``, ``tool`` or ``other``, most of which never wait."""
    file: str
    line: int
    column: int
    opened: int = 0
    """How often frames with it were opened: how many operations it came to, or would have."""


class Sites:
    """The sites of one run or several, and what each of them waits for."""

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self._edges: dict[tuple[int, int], None] = {}
        self._numbers: dict[tuple[str, str, str, int], int] = {}

    def add(self, trace: Trace) -> Folded:
        """Folds one more run into them."""
        folded = Folded(trace, self)
        self._edges.update(dict.fromkeys(folded.edges()))
        return folded

    def number(self, site: Site) -> int:
        """Its index; a new one where there is none like it."""
        number = self._numbers.setdefault((site.path, site.operation, site.file, site.line), len(self.sites))
        if number == len(self.sites):
            self.sites.append(site)
        return number

    def edges(self) -> list[tuple[int, int]]:
        """From each site to those that need what it gives, or wait for its end; to itself, where a turn does for the
        one before. No more than `MOST_EDGES`."""
        return list(self._edges)[:MOST_EDGES]


class Folded:
    """One run, with the site of each of its operations."""

    def __init__(self, trace: Trace, sites: Sites) -> None:
        self._trace = trace
        self._sites = sites
        origin = trace.program.origin
        self._is_python = origin is not None and origin[1] in ("flow", "script")
        self._shapes: list[int] = []
        """Of each frame which shape it has: frames of one opener and plan have the same, whatever turn they are."""
        known: dict[tuple[int, int, int], int] = {}
        self._site_of: dict[tuple[int, int], int] = {}
        """By shape and node."""
        operations: dict[int, list[tuple[int, Operate]]] = {}
        for index, frame in enumerate(trace.frames):
            key = (self._shapes[frame.parent] if frame.parent >= 0 else -1, frame.opener, frame.plan)
            shape = known.setdefault(key, len(known))
            self._shapes.append(shape)
            if frame.plan not in operations:
                nodes = enumerate(trace.program.plans[frame.plan].nodes)
                operations[frame.plan] = [(i, node) for i, node in nodes if isinstance(node, Operate)]
            for i, node in operations[frame.plan]:
                number = self._site_of.get((shape, i))
                if number is None:
                    number = self._site_of[shape, i] = self._new_site(index, i, node)
                sites.sites[number].opened += 1

    def site(self, frame: int, node: int) -> int:
        return self._site_of[self._shapes[frame], node]

    def _new_site(self, frame: int, node: int, operation: Operate) -> int:
        trace = self._trace
        path = _TURN.sub("", as_utf8(trace.path_of(frame, node)))
        plan = trace.frames[frame].plan
        if self._is_python and plan == 0:
            path = _OCCURRENCE.sub("", path)  # what a loop without a promise makes again and again
        file = as_utf8(trace.program.names.file_of(plan))
        place = trace.position_of(frame, node)
        return self._sites.number(Site(path, operation.operation, _family(operation.operation), file, *place))

    def edges(self) -> Iterator[tuple[int, int]]:
        """Between sites, through whatever stands between them that is no operation."""
        graph = Unfolding(self._trace.program, self._trace.frames)
        folded: list[tuple[int, int]] = []
        for frame, shape in enumerate(self._shapes):
            stop = graph.starts[frame + 1] if frame + 1 < len(graph.starts) else graph.size
            folded += [(shape, node) for node in range(stop - graph.starts[frame])]
        before: defaultdict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
        for number, needed in enumerate(graph.before):
            if needed:
                before[folded[number]].update([folded[n] for n in needed])
        for place, site in self._site_of.items():
            for source in self._operations_before(place, before):
                yield source, site

    def _operations_before(
        self, place: tuple[int, int], before: dict[tuple[int, int], set[tuple[int, int]]]
    ) -> Iterable[int]:
        found: dict[int, None] = {}
        seen = set[tuple[int, int]]()
        left = list(before.get(place, ()))
        while left:
            at = left.pop()
            if at in seen:
                continue
            seen.add(at)
            site = self._site_of.get(at)
            if site is None:
                left += before.get(at, ())
            else:
                found[site] = None
        return found


def _family(operation: str) -> str:
    known = OPERATIONS.get(operation)
    if known is None:  # what an SDK calls it
        return "model"
    return {Family.MODEL: "model", Family.TOOL: "tool"}.get(known.family, "other")


def without_shortcuts(edges: Sequence[tuple[int, int]], most: int = 2000) -> list[tuple[int, int]]:
    """The edges but for those that a longer way tells already; of a graph with more than `most` edges, all of them.
    Edges that close a circle stay."""
    if len(edges) > most:
        return list(edges)
    after: defaultdict[int, set[int]] = defaultdict(set)
    for source, target in edges:
        if source != target:
            after[source].add(target)
    kept: list[tuple[int, int]] = []
    for source, target in edges:
        seen = set[int]()
        left = [other for other in after[source] if other != target]
        while left and target not in seen:
            at = left.pop()
            if at not in seen and at != source:
                seen.add(at)
                left += after[at]
        if source != target and target in seen:
            after[source].discard(target)  # else two could be left out, each because of the other
        else:
            kept.append((source, target))
    return kept
