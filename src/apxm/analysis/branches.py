"""All runs that a flow can take, in one graph: each alternative of each opener is there once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from apxm.program.frames import LOW, FrameGraph, Scenario, in_order
from apxm.program.program import Enter, Exit, Opener, Opening, Program
from apxm.program.unfolding import FrameRecord, Unfolding

Openings = Callable[[int, int, Opener], Sequence[Opening]]
"""What an opener opens, given its frame, its index and itself; the plans in it are those of the program."""


def _as_declared(_frame: int, _node: int, opener: Opener) -> Sequence[Opening]:
    return opener.openings


class Branches(Unfolding):
    """The graph of frames that `unfold` found, with sums and paths in one scenario or another."""

    def __init__(
        self, program: Program, frames: Sequence[FrameRecord], begun: int = 0, known: Openings = _as_declared
    ) -> None:
        """The first `begun` frames exist already, so each counts once. `known` may know more than the program."""
        super().__init__(program, frames)
        self.repeated: dict[int, list[int]] = {}
        """The opener of each frame of which there may be any number, and all that is delivered into it."""
        self._exits: dict[int, tuple[Opening, list[int]]] = {}
        """The frames behind each exit with alternatives, by its number, and what each gives there."""
        openings: list[list[Opening]] = [[] for _ in frames]
        for (frame, node), children in self.children.items():
            opener = self.node(frame, node)
            assert isinstance(opener, Opener)
            there = sum(child < begun for child in children)
            openings[frame] += [Opening((child,)) for child in children[:there]]
            for opening in known(frame, node, opener):
                inside = [child for child in children if frames[child].plan in opening.plans]
                past = sum(child < begun for child in inside)
                if len(inside) > past:
                    most = None if opening.most is None else max(opening.most - past, 0)
                    usual = None if opening.usual is None else max(opening.usual - past, 0)
                    least = max(opening.least - past, 0)
                    openings[frame].append(Opening(tuple(inside[past:]), least, most, usual))
            if opener.settles:
                self._add_alternatives(frame, node, Opening(tuple(children)))
            elif len(children) > 1 or not opener.openings[0].is_exact:
                self._add_alternatives(frame, node, opener.openings[0]._replace(plans=tuple(children)))
        self._opened = FrameGraph(openings)
        self.order = in_order(self._all_before() if self.repeated else self.before)

    def total(self, own: Sequence[float], scenario: Scenario) -> float:
        """The sum over a run, given one number per frame."""
        return self._opened.total(own, scenario)[0]

    def span(self, weights: Sequence[float], scenario: Scenario) -> float:
        """T_inf: of several alternatives, each thing that leaves them leaves when the scenario says.

        Frames of which there may be any number begin one after the other, the first when all is there that is delivered
        into them, the others when all has left the one before: no run takes longer. In `LOW` they run at once, and only
        those that there must be.
        """
        found = [0.0] * self.size
        for number in self.order:
            opening, outputs = self._exits.get(number, _NOTHING)
            begin = max((found[p] for p in self.before[number] if p not in outputs), default=0.0)
            if outputs:
                if scenario is not LOW and not opening.is_exact:
                    ends = [max(found[output] for output in self._outputs_of(child)) for child in opening.plans]
                else:
                    ends = [found[output] for output in outputs]
                begin = max(begin, self._behind(opening, ends, found, scenario))
            elif self.repeated and scenario is not LOW:
                begin = max([begin, *(found[p] for p in self._delivered(number))])
            found[number] = begin + weights[number]
        stops = [*self.starts[1:], self.size]
        own = [max(found[start:stop], default=0.0) for start, stop in zip(self.starts, stops, strict=True)]
        return self._opened.fold(
            own, lambda end, opening, ends: max(end, self._behind(opening, ends, found, scenario))
        )[0]

    def _behind(self, opening: Opening, ends: Sequence[float], found: Sequence[float], scenario: Scenario) -> float:
        """When the frames of an opening are over, given when one of each alternative would be."""
        if opening.is_exact or opening.plans[0] not in self.repeated:
            return scenario.choose(ends)
        if scenario is LOW:
            return scenario.choose(ends) if opening.least else 0.0
        begin = max(found[p] for p in self.repeated[opening.plans[0]])
        return begin if begin == inf else begin + scenario.together(opening, [end - begin for end in ends])

    def _add_alternatives(self, frame: int, opener: int, opening: Opening) -> None:
        delivered = [self.number(frame, opener)]
        for i, node in enumerate(self.plans[self.frames[frame].plan].nodes):
            if isinstance(node, Exit) and node.opener == opener:
                self._exits[self.number(frame, i)] = opening, self.outputs(frame, node)
            elif isinstance(node, Enter) and node.opener == opener:
                delivered.append(self.number(frame, i))
        if not opening.is_exact:
            self.repeated.update(dict.fromkeys(opening.plans, delivered))

    def _delivered(self, number: int) -> Sequence[int]:
        """What the first nodes of a repeated frame wait for in the frame around it; nothing for others."""
        delivered = self.repeated.get(self.place(number)[0], ())
        return delivered if delivered and delivered[0] in self.before[number] else ()

    def _all_before(self) -> Sequence[Sequence[int]]:
        """`before`, and in front of the exits of repeated frames all that leaves them."""
        before = [[*waits, *self._delivered(number)] for number, waits in enumerate(self.before)]
        for number, (opening, _) in self._exits.items():
            if not opening.is_exact:
                for child in opening.plans:
                    before[number] += [*self.repeated[child], *self._outputs_of(child)]
        return before

    def _outputs_of(self, frame: int) -> list[int]:
        return [self.number(frame, output) for output in self.plans[self.frames[frame].plan].outputs]


_NOTHING: tuple[Opening, list[int]] = Opening(()), []
