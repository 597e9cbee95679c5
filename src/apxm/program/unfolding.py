"""Frames with all their nodes, and what each node waits for: of a run, or of all runs that a flow can take."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from apxm.errors import UsageError
from apxm.program.program import AnyNode, Enter, Exit, Flow, Input, Opener, Program

MOST_NODES = 10_000_000
"""The most nodes that one run may unfold into."""


class FrameRecord(NamedTuple):
    """One frame: which plan it runs, and who opened it. Frame 0 is the flow itself."""

    plan: int
    parent: int
    """Index of the frame around it, -1 for the first."""
    opener: int
    """The node in the parent's plan that opened it, -1 for the first."""


Opens = Callable[[int, int, Opener], bool]
"""Whether a node opens what it can open, given its frame, its index in the plan, and itself."""


def unfold(
    program: Program, flow: Flow, begun: Sequence[FrameRecord] = (), opens: Opens | None = None
) -> list[FrameRecord]:
    """The frames of a run that opens every alternative once, each behind the one around it. Of a run that has `begun`
    it is those it has, and then all that may follow where `opens` says so; without it, everything opens. Raises
    `UsageError` for too many."""
    frames = list(begun) or [FrameRecord(flow.plan, -1, -1)]
    size = 0
    openers: dict[int, list[tuple[int, Opener]]] = {}
    for index, frame in enumerate(frames):  # it grows while it is read
        plan = program.plans[frame.plan]
        size += len(plan.nodes)
        if size > MOST_NODES:
            raise UsageError(f"{flow.qualified_name} unfolds into more than {MOST_NODES:,} nodes")
        if frame.plan not in openers:
            openers[frame.plan] = plan.openers()
        for i, opener in openers[frame.plan]:
            if opens is None or opens(index, i, opener):
                frames += [FrameRecord(opened, index, i) for opened in opener.opening.plans]
    return frames


class Unfolding:
    """A graph of all nodes of all frames, numbered frame by frame, in the order of their plans.

    Frames of one opener stand beside each other: before a run they are its alternatives, one for each plan.
    """

    def __init__(self, program: Program, frames: Sequence[FrameRecord]) -> None:
        self.plans = program.plans
        self.record_types = program.record_types
        self.frames = frames
        self.starts: list[int] = []
        """The number of each frame's first node."""
        self.size = 0
        for frame in frames:
            self.starts.append(self.size)
            self.size += len(program.plans[frame.plan].nodes)
        self.children: dict[tuple[int, int], list[int]] = {}
        """The frames that an opener opens, by the frame around them and the opener's node."""
        for index, frame in enumerate(frames):
            if frame.parent >= 0:
                self.children.setdefault((frame.parent, frame.opener), []).append(index)
        self.before: list[Sequence[int]] = []
        """The nodes that each node waits for, in whatever frame, by its number."""

        @cache
        def enters(plan: int) -> dict[tuple[int, int], int]:
            """The `Enter` that delivers at each opener and input port."""
            nodes = program.plans[plan].nodes
            return {(node.opener, node.port): i for i, node in enumerate(nodes) if isinstance(node, Enter)}

        for index, frame in enumerate(frames):
            self._connect(index, enters(frames[frame.parent].plan) if frame.parent >= 0 else {})

    def number(self, frame: int, node: int) -> int:
        return self.starts[frame] + node

    def place(self, number: int) -> tuple[int, int]:
        """Frame and node."""
        frame = bisect_right(self.starts, number) - 1
        # Frames of empty plans share their start with the next one.
        return frame, number - self.starts[frame]

    def node(self, frame: int, node: int) -> AnyNode:
        return self.plans[self.frames[frame].plan].nodes[node]

    def outputs(self, frame: int, node: Exit) -> list[int]:
        """What comes out at an exit: one node of each frame that its opener opens."""
        return [
            self.starts[child] + self.plans[self.frames[child].plan].outputs[node.port]
            for child in self.children.get((frame, node.opener), ())
        ]

    def _connect(self, index: int, enters: Mapping[tuple[int, int], int]) -> None:
        frame, start = self.frames[index], self.starts[index]
        outer = self.starts[frame.parent] if frame.parent >= 0 else 0
        for i, node in enumerate(self.plans[frame.plan].nodes):
            before: Sequence[int]
            if not start and not (node.after or node.requires):
                before = node.operands
            else:
                before = [start + p for p in (*node.operands, *node.after, *node.requires)]
            more: list[int] = []
            if isinstance(node, Exit):
                more.append(start + node.opener)
                more += self.outputs(index, node)
            elif isinstance(node, Input) and frame.parent >= 0:
                more.append(outer + enters[frame.opener, i])
            if frame.parent >= 0 and not before:
                more.append(outer + frame.opener)  # nothing in a frame runs before what opens it
            self.before.append([*before, *more] if more else before)
