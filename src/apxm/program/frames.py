"""What opens what: sums over all the frames that a run may have, before it has any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from statistics import fmean
from typing import NamedTuple

from apxm.errors import ArtifactError
from apxm.program.openers import Opening
from apxm.program.program import Plan

MOST_OPEN_TURNS = 4096
"""Most turns of one opener of a frame that are open at once, where a run does not say: a list of a million takes no
million frames."""


class Scenario(NamedTuple):
    """One way to sum up what is not known before the run."""

    name: str
    choose: Callable[[Sequence[float]], float]
    """What counts of several alternatives."""
    times: Callable[[Opening], float]
    """How many frames there are."""

    def together(self, opening: Opening, amounts: Sequence[float]) -> float:
        """What all frames of an opening come to, given what one of each of its plans does."""
        times, amount = self.times(opening), self.choose(amounts)
        return times * amount if times and amount else 0.0  # a frame may come any number of times to nothing


def _least(opening: Opening) -> float:
    return opening.least


def _most(opening: Opening) -> float:
    return inf if opening.most is None else opening.most


def _limited(opening: Opening) -> float:
    return max(1, opening.least) if opening.most is None else opening.most


def _sourced(opening: Opening) -> float:
    return min(max(1, opening.least), MOST_OPEN_TURNS)


def _middle(opening: Opening) -> float:
    return opening.usual if opening.usual is not None else (opening.least + _limited(opening)) / 2


LOW, HIGH = Scenario("low", min, _least), Scenario("high", max, _most)
"""Bounds of any run."""
EXPECTED = Scenario("expected", fmean, _middle)
"""All alternatives equally likely, and as many frames as usual."""
SCENARIOS = (LOW, EXPECTED, HIGH)
SOURCE = Scenario("source", max, _sourced)
"""The most that the source alone leads to at once: of frames of which values say how many there are, one."""

Step = Callable[[float, Opening, list[float]], float]
"""Gives the new number of what opens, from its number, what it opens, and the numbers of that."""


class FrameGraph:
    """Vertices and what each opens: the plans of a program or, unfolded, the frames of a flow. `Opening.plans` are
    vertices of the graph."""

    def __init__(self, openings: Sequence[Sequence[Opening]]) -> None:
        """Raises `ArtifactError` where a vertex opens itself."""
        self.openings = openings
        self.order = in_order([sorted({v for opening in own for v in opening.plans}) for own in openings])
        """All vertices, each behind those that it opens."""

    @classmethod
    def of(cls, plans: Sequence[Plan]) -> FrameGraph:
        """The graph of the plans of a program."""
        return cls([[opening for _, opener in plan.openers() for opening in opener.openings] for plan in plans])

    def fold(self, own: Sequence[float], step: Step) -> list[float]:
        """One number per vertex made into one for all that it may open, from its last opening to its first."""
        found = [float(number) for number in own]
        for vertex in self.order:
            for opening in reversed(self.openings[vertex]):
                found[vertex] = step(found[vertex], opening, [found[opened] for opened in opening.plans])
        return found

    def total(self, own: Sequence[float], scenario: Scenario) -> list[float]:
        """The sum over all frames below each vertex, its own included, given one number for a frame of each.

        `LOW` and `HIGH` are bounds of every run, however often frames open.
        """
        return self.fold(own, lambda sum_, opening, amounts: sum_ + scenario.together(opening, amounts))


def in_order(before: Sequence[Sequence[int]]) -> list[int]:
    """The vertices of a graph, each behind those before it. Raises `ArtifactError` where one is before itself.

    It is iterative: plans nest as deep as there are flows.
    """
    begun, over = bytearray(len(before)), bytearray(len(before))
    order: list[int] = []
    for root in range(len(before)):
        stack = [root]
        while stack:
            vertex = stack[-1]
            missing = () if over[vertex] else [v for v in before[vertex] if not over[v]]
            if missing:
                if begun[vertex]:
                    raise ArtifactError(
                        f"the program is not valid: plan {vertex} opens itself: there is a cycle of plans"
                    )
                begun[vertex] = 1
                stack += missing
                continue
            stack.pop()
            if not over[vertex]:
                over[vertex] = 1
                order.append(vertex)
    return order


def ends(before: Sequence[Sequence[int]], order: Sequence[int], weights: Sequence[int]) -> list[int]:
    """When each node would be over if all waited for nothing but each other, and took their weights."""
    found = [0] * len(before)
    for number in order:
        begin = 0
        for p in before[number]:
            end = found[p]
            if end > begin:
                begin = end
        found[number] = begin + weights[number]
    return found
