"""All runs that a flow can take, in one graph: every arm of every `switch` is opened, and one of them counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple

from apxm.analysis.graph import FrameGraph, in_order
from apxm.errors import UsageError
from apxm.program.model import Call, Exit, Flow, Program, Switch
from apxm.runtime.trace import FrameRecord

MOST_NODES = 10_000_000
"""As many as one run may unfold into."""

Choose = Callable[[Sequence[float]], float]
"""What counts of several arms."""


class Scenario(NamedTuple):
    """One way to sum up what is not known before the run."""

    name: str
    choose: Choose


LOW, EXPECTED, HIGH = Scenario("low", min), Scenario("expected", fmean), Scenario("high", max)
SCENARIOS = (LOW, EXPECTED, HIGH)


Opens = Callable[[int, int], bool]
"""Whether it is open what an opener will open, by its frame and node."""


def unfold(
    program: Program, flow: Flow, begun: Sequence[FrameRecord] = (), is_open: Opens | None = None
) -> list[FrameRecord]:
    """The frames of a run that takes every arm, each behind the one around it. Of a run that has `begun` it is those
    it has, and then all that may follow where `is_open` says so. Raises `UsageError` for too many."""
    frames = list(begun) or [FrameRecord(flow.plan, -1, -1)]
    size = 0
    for index, frame in enumerate(frames):  # it grows while it is read
        nodes = program.plans[frame.plan].nodes
        size += len(nodes)
        if size > MOST_NODES:
            raise UsageError(f"{flow.qualified_name} unfolds into more than {MOST_NODES:,} nodes")
        for opener, node in enumerate(nodes):
            if index < len(begun) and not (is_open and is_open(index, opener)):
                continue
            if isinstance(node, Switch):
                arms = node.arms if node.default is None else (*node.arms, node.default)
                frames += [FrameRecord(arm, index, opener) for arm in arms]
            elif isinstance(node, Call):
                frames.append(FrameRecord(node.plan, index, opener))
    return frames


class Branches(FrameGraph):
    """The graph of frames that `unfold` found."""

    def __init__(self, program: Program, frames: Sequence[FrameRecord]) -> None:
        super().__init__(program, frames)
        self.order = in_order(self.before)
        self.alternatives: dict[int, list[int]] = {}
        """By the number of an exit: the outputs of the arms of which it gives one."""
        for (frame, opener), arms in self.children.items():
            if len(arms) > 1:
                for i, node in enumerate(self.plans[self.frames[frame].plan].nodes):
                    if isinstance(node, Exit) and node.opener == opener:
                        self.alternatives[self.number(frame, i)] = self.outputs(frame, node)

    def total(self, own: Sequence[float], choose: Choose) -> float:
        """The sum over a run, given one number per frame."""
        return self._fold(own, lambda a, b: a + b, choose)

    def span(self, weights: Sequence[float], choose: Choose) -> float:
        """T_inf: of several arms, each thing that leaves them leaves when `choose` of them says."""
        found = [0.0] * self.size
        for number in self.order:
            arms = self.alternatives.get(number, ())
            begin = max((found[p] for p in self.before[number] if p not in arms), default=0.0)
            if arms:
                begin = max(begin, choose([found[arm] for arm in arms]))
            found[number] = begin + weights[number]
        stops = [*self.starts[1:], self.size]
        own = [max(found[start:stop], default=0.0) for start, stop in zip(self.starts, stops, strict=True)]
        return self._fold(own, max, choose)

    def _fold(self, own: Sequence[float], join: Callable[[float, float], float], choose: Choose) -> float:
        """One number per frame made into one for the flow, innermost frames first."""
        found = list(own)
        for index in reversed(range(1, len(self.frames))):
            frame = self.frames[index]
            arms = self.children[frame.parent, frame.opener]
            if arms[0] == index:
                found[frame.parent] = join(found[frame.parent], choose([found[arm] for arm in arms]))
        return found[0]
