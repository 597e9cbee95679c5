"""The graph of a run, or of all runs that a flow can take: every node of every frame, and what each waits for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from apxm.program.model import AnyNode, Enter, Exit, Input, Plan, Program
from apxm.runtime.trace import FrameRecord, Trace


class FrameGraph:
    """Nodes are numbered frame by frame, in the order of their plans.

    A frame that was opened by a `Switch` may stand beside others of the same opener: then they are its arms, one of
    which will run.
    """

    def __init__(self, program: Program, frames: Sequence[FrameRecord]) -> None:
        self.plans = program.plans
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
        """By number: the nodes that this one waits for, in whatever frame."""
        doors: dict[int, dict[tuple[int, int], int]] = {}
        for index, frame in enumerate(frames):
            if frame.parent >= 0:
                outer = frames[frame.parent].plan
                if outer not in doors:
                    doors[outer] = _enters(program.plans[outer])
                self._connect(index, doors[outer])
            else:
                self._connect(index, {})

    @classmethod
    def of(cls, trace: Trace) -> FrameGraph:
        """The graph as it was executed."""
        return cls(trace.program, trace.frames)

    def number(self, frame: int, node: int) -> int:
        return self.starts[frame] + node

    def place(self, number: int) -> tuple[int, int]:
        """Frame and node."""
        frame = bisect_right(self.starts, number) - 1
        # Frames of empty plans share their start with the next one.
        return frame, number - self.starts[frame]

    def node(self, frame: int, node: int) -> AnyNode:
        return self.plans[self.frames[frame].plan].nodes[node]

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
            if frame.parent >= 0 and not node.operands:
                more.append(outer + frame.opener)
            self.before.append([*before, *more] if more else before)

    def outputs(self, frame: int, node: Exit) -> list[int]:
        """What comes out at an exit: one node of each frame that its opener opens."""
        return [
            self.starts[child] + self.plans[self.frames[child].plan].outputs[node.port]
            for child in self.children.get((frame, node.opener), ())
        ]


def _enters(plan: Plan) -> dict[tuple[int, int], int]:
    """From an opener and an input port to the `Enter` that delivers there."""
    return {(node.opener, node.port): i for i, node in enumerate(plan.nodes) if isinstance(node, Enter)}


def in_order(before: Sequence[Sequence[int]]) -> list[int]:
    """All numbers of an acyclic graph, each behind those it waits for."""
    done = bytearray(len(before))
    order: list[int] = []
    for root in range(len(before)):
        stack = [root]
        while stack:
            number = stack[-1]
            missing = () if done[number] else [p for p in before[number] if not done[p]]
            if missing:
                stack += missing
                continue
            stack.pop()
            if not done[number]:
                done[number] = 1
                order.append(number)
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
