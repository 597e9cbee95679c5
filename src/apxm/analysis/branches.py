"""All runs that a flow can take, in one graph: each alternative of each opener is there once, and a turn stands for all
turns of a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import inf
from typing import NamedTuple

from apxm.analysis.max_plus import Matrix, TurnTimes
from apxm.program.expressions import Literal, Operand
from apxm.program.frames import EXPECTED, HIGH, LOW, FrameGraph, Scenario, in_order
from apxm.program.nodes import Enter, Exit, Input
from apxm.program.openers import If, Opener, Opening, Repeat
from apxm.program.program import Program
from apxm.program.unfolding import FrameRecord, Unfolding

Place = tuple[int, int]
"""A frame, and a node in it."""
Openings = Callable[[int, int, Opener], Sequence[Opening]]
"""What an opener opens, given its frame, its index and itself; the plans in it are those of the program."""


def _as_declared(_frame: int, _node: int, opener: Opener) -> Sequence[Opening]:
    return opener.openings


class Branches(Unfolding):
    """The graph of frames that `unfold` found, with sums and paths in one scenario or another."""

    def __init__(
        self, program: Program, frames: Sequence[FrameRecord], begun: int = 0, openings: Openings = _as_declared
    ) -> None:
        """The first `begun` frames exist already, so each counts once. `openings` may know more than the program."""
        super().__init__(program, frames)
        self.counts: dict[Place, Opening] = {}
        """How many turns each `Repeat` has that are still to come, by frame and node."""
        self._exits: dict[int, Sequence[Sequence[int]]] = {}
        """Behind each exit with alternatives, by its number, what each of them waits for."""
        by_frame: list[list[Opening]] = [[] for _ in frames]
        for (frame, node), children in self.children.items():
            opener = self.node(frame, node)
            assert isinstance(opener, Opener)
            there = sum(child < begun for child in children)
            by_frame[frame] += [Opening((child,)) for child in children[:there]]
            for opening in openings(frame, node, opener):
                opened = tuple([child for child in children[there:] if frames[child].plan in opening.plans])
                if opened:
                    past = sum(frames[child].plan in opening.plans for child in children[:there])
                    most = None if opening.most is None else max(opening.most - past, 0)
                    least, usual = max(opening.least - past, 0), opening.usual
                    found = Opening(opened, least, most, None if usual is None else max(usual - past, least))
                    by_frame[frame].append(found)
                    if opener.repeats:
                        self.counts[frame, node] = found
            if not opener.repeats and len(children) > 1:
                self._add_alternatives(frame, node, opener, children)
        self._opened = FrameGraph(by_frame)
        self.order = in_order(self._all_before())
        self._region: list[int] = []
        """The turn that each frame is part of, by the index of that frame; 0 for those of none."""
        for frame, record in enumerate(frames):
            around = self.node(record.parent, record.opener) if record.parent >= 0 else None
            is_turn = isinstance(around, Repeat)
            self._region.append(frame if is_turn or around is None else self._region[record.parent])
        self._numbers: dict[int, list[int]] = {region: [] for region in self._region}
        """The nodes of each region, in order."""
        for number in self.order:
            self._numbers[self._region[self.place(number)[0]]].append(number)

    def total(self, own: Sequence[float], scenario: Scenario) -> float:
        """The sum over a run, given one number per frame."""
        return self.totals(own, scenario)[0]

    def totals(self, own: Sequence[float], scenario: Scenario) -> list[float]:
        """The same of each frame, with all that it opens."""
        return self._opened.total(own, scenario)

    def span(self, weights: Sequence[float], scenario: Scenario) -> float:
        """T_inf: of several alternatives, each thing that leaves them leaves when the scenario says.

        `LOW` and `HIGH` are bounds of every run with these weights, the first where nothing fails in it.
        """
        return self.spans(weights, scenario).of_flow()

    def spans(self, weights: Sequence[float], scenario: Scenario, freed: Carried | None = None) -> Spans:
        return Spans(self, weights, scenario, freed)

    def _add_alternatives(self, frame: int, opener: int, found: Opener, children: Sequence[int]) -> None:
        for i, node in enumerate(self.plans[self.frames[frame].plan].nodes):
            if isinstance(node, Exit) and node.opener == opener:
                number = self.number(frame, i)
                ways = [[output] for output in self.outputs(frame, node)]
                if found.settles:
                    ways[0] += self._last_of_own(children[0])
                self._exits[number] = ways

    def _last_of_own(self, frame: int) -> list[int]:
        """The nodes of a frame that none of its others waits for."""
        nodes = self.plans[self.frames[frame].plan].nodes
        waited_for = {p for node in nodes for p in (*node.operands, *node.after, *node.requires)}
        return [self.number(frame, i) for i in range(len(nodes)) if i not in waited_for]

    def _all_before(self) -> Sequence[Sequence[int]]:
        """`before`, and in front of the exits of turns all that is delivered into them."""
        before = list(self.before)
        for frame, node in self.counts:
            delivered = self.entering(frame, node)
            for i, exit_ in enumerate(self.plans[self.frames[frame].plan].nodes):
                if isinstance(exit_, Exit) and exit_.opener == node:
                    number = self.number(frame, i)
                    before[number] = [*before[number], *delivered.values()]
        return before

    def entering(self, frame: int, opener: int) -> dict[int, int]:
        """The nodes that deliver into the frames of an opener, by input port."""
        nodes = self.plans[self.frames[frame].plan].nodes
        return {
            node.port: self.number(frame, i)
            for i, node in enumerate(nodes)
            if isinstance(node, Enter) and node.opener == opener
        }

    # --- what `Spans` asks -----------------------------------------------------------------------------------------

    def region(self, turn: int) -> Sequence[int]:
        """The nodes of a turn, in order: without those of turns inside of it."""
        return self._numbers.get(turn, ())

    def region_of(self, frame: int) -> int:
        return self._region[frame]

    def ways(self, number: int) -> Sequence[Sequence[int]]:
        """What each of several alternatives waits for behind an exit; nothing where there are no alternatives."""
        return self._exits.get(number, ())


class Carried(NamedTuple):
    """What each turn of a loop takes from the one before, at one of its inputs."""

    place: Place
    port: int


class Spans:
    """The longest paths in one scenario: of each turn, from the innermost one outwards, and of the flow."""

    def __init__(
        self, graph: Branches, weights: Sequence[float], scenario: Scenario, freed: Carried | None = None
    ) -> None:
        """`freed` is counted as if no turn had to wait for it."""
        self._graph = graph
        self._freed = freed
        self._weights = weights
        self._scenario = scenario
        self._entering = cache(graph.entering)
        self._times: dict[Place, TurnTimes] = {}
        for frame, node in sorted(graph.counts, reverse=True):  # inner frames stand behind those around them
            self._times[frame, node] = self._turn(frame, node)

    def turn_times(self, frame: int, node: int) -> TurnTimes:
        """Those of a `Repeat`."""
        return self._times[frame, node]

    def of_flow(self) -> float:
        return self._walk(0, 0.0, (), {})[1]

    def _turn(self, frame: int, node: int) -> TurnTimes:
        """What one turn makes of the instants at which its inputs are there, each alone."""
        graph = self._graph
        (turn,) = graph.counts[frame, node].plans
        opener = graph.node(frame, node)
        assert isinstance(opener, Repeat)
        last = self._matrix(turn, {})
        ways = self._ways_on(turn, opener)
        going_on = self._matrix(turn, ways) if ways else last
        freed = self._freed.port if self._freed is not None and self._freed.place == (frame, node) else None
        return TurnTimes(opener, going_on, last, graph.plans[opener.plan].inputs, freed)

    def _matrix(self, turn: int, ways: Mapping[Place, int]) -> Matrix:
        graph = self._graph
        plan = graph.plans[graph.frames[turn].plan]
        columns: list[list[float]] = []
        for port in range(plan.inputs + 1):
            begin = 0.0 if port == plan.inputs else -inf
            inputs = [0.0 if port == each else -inf for each in range(plan.inputs)]
            found, end = self._walk(turn, begin, inputs, ways)
            columns.append([*(found[graph.number(turn, output)] for output in plan.outputs), end])
        return list(zip(*columns, strict=True))

    def _ways_on(self, turn: int, opener: Repeat) -> dict[Place, int]:
        """The choices of a turn that are known where another one follows it, each with its alternative: those that
        would end the loop the other way."""
        graph, ways = self._graph, dict[Place, int]()
        frame, port = turn, opener.stop
        while port is not None:
            plan = graph.plans[graph.frames[frame].plan]
            stop = plan.nodes[plan.outputs[port]]
            leaving = plan.nodes[stop.operands[0]] if isinstance(stop.computes, Operand) else None
            branch = plan.nodes[leaving.opener] if isinstance(leaving, Exit) else None
            if not (isinstance(leaving, Exit) and isinstance(branch, If)):
                break
            plans = [graph.plans[opened] for opened in branch.opened]
            says = [arm.nodes[arm.outputs[leaving.port]].computes for arm in plans]
            way = 0 if says[1] == Literal(True) else 1
            ways[frame, leaving.opener] = way
            frame, port = graph.children[frame, leaving.opener][way], leaving.port
        return ways

    def _walk(
        self, turn: int, begin: float, inputs: Sequence[float], ways: Mapping[Place, int]
    ) -> tuple[dict[int, float], float]:
        """When each node of a turn is over, and when all of it is, given when it begins and has its inputs, and `ways`
        that are taken."""
        graph = self._graph
        found: dict[int, float] = {}
        states: dict[Place, list[float]] = {}
        first = graph.starts[turn]

        def time(number: int) -> float:
            """When a node is over; of one in turns inside, when these all are."""
            if number in found:
                return found[number]
            frame = graph.place(number)[0]
            node = -1
            while graph.region_of(frame) != turn:
                record = graph.frames[graph.region_of(frame)]
                frame, node = record.parent, record.opener
            return self._times[frame, node].over(state(frame, node))

        def state(frame: int, node: int) -> list[float]:
            place = frame, node
            if place not in states:
                states[place] = self._state(place, found)
            return states[place]

        for number in graph.region(turn):
            frame, node = graph.place(number)
            own = graph.node(frame, node)
            place = (frame, own.opener) if isinstance(own, Exit) else None
            start = begin if frame == turn else -inf
            if isinstance(own, Input) and frame == turn and inputs:
                start = max(start, inputs[node])
            waits: Sequence[int] = graph.before[number]
            if place in graph.counts:
                assert isinstance(own, Exit)
                waits = [graph.number(frame, p) for p in (*own.after, *own.requires, own.opener)]
                start = max(start, self._times[place].leaving(state(*place), own.port))
            elif alternatives := graph.ways(number):
                assert isinstance(own, Exit)
                inside = {p for way in alternatives for p in way}
                waits = [p for p in waits if p not in inside]
                ends = [max(map(time, way)) for way in alternatives]
                start = max(start, self._of(ends, frame, own.opener, ways))
            for p in waits:
                if p >= first:
                    start = max(start, time(p))
            found[number] = start + self._weights[number]
        return found, self._over(turn, found, state, ways)

    def _state(self, place: Place, found: dict[int, float]) -> list[float]:
        """What turns have come to once they are over, as many as the scenario says."""
        graph, scenario = self._graph, self._scenario
        times, opening = self._times[place], graph.counts[place]
        (turn,) = opening.plans
        begin = found[graph.number(*place)]
        entered = [begin] * graph.plans[graph.frames[turn].plan].inputs
        for port, number in self._entering(*place).items():
            entered[port] = found[number]
        start = times.start(begin, entered)
        if scenario is EXPECTED:
            return times.after(start, scenario.times(opening))
        most = inf if opening.most is None else opening.most
        return (times.at_least if scenario is LOW else times.at_most)(start, opening.least, most)

    def _over(
        self,
        turn: int,
        found: dict[int, float],
        state: Callable[[int, int], list[float]],
        ways: Mapping[Place, int],
    ) -> float:
        """When all frames of a turn are over, of alternatives those that the scenario says."""
        graph = self._graph
        over: dict[int, float] = {}
        for number, end in found.items():
            frame = graph.place(number)[0]
            over[frame] = max(over.get(frame, -inf), end)
        for (frame, node), children in sorted(graph.children.items(), reverse=True):
            if graph.region_of(frame) != turn:
                continue
            if (frame, node) in graph.counts:
                end = self._times[frame, node].over(state(frame, node))
            else:
                end = self._of([over.get(child, -inf) for child in children], frame, node, ways)
            over[frame] = max(over.get(frame, -inf), end)
        return over.get(turn, -inf)

    def _of(self, ends: Sequence[float], frame: int, node: int, ways: Mapping[Place, int]) -> float:
        """When what an opener opens is over, given when each alternative would be."""
        opener = self._graph.node(frame, node)
        assert isinstance(opener, Opener)
        if (frame, node) in ways:
            return ends[ways[frame, node]]
        if len(ends) == 1 or (opener.settles and self._scenario is not HIGH):
            return ends[0]  # nothing fails
        if self._scenario is EXPECTED and -inf in ends and max(ends) > -inf:
            ends = [max(end, 0.0) for end in ends]  # of an input at 0: what does not wait for it is as early
        return self._scenario.choose(ends)
