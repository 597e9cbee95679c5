"""Frames with all their nodes, and what each node waits for: of a run, or of all runs that a flow can take."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, overload

from apxm.errors import UsageError
from apxm.program.nodes import Enter, Exit, Input
from apxm.program.openers import Opener
from apxm.program.program import AnyNode, Flow, Program

MOST_NODES = 10_000_000
"""The most nodes that one run may unfold into."""


class FrameRecord(NamedTuple):
    """One frame: which plan it runs, and who opened it. Frame 0 is the flow itself."""

    plan: int
    parent: int
    """Index of the frame around it, -1 for the first."""
    opener: int
    """The node in the parent's plan that opened it, -1 for the first."""
    turn: int = 0
    """Which of the turns of its opener it is, from 1; 0 where those are none."""


class FrameTable(Sequence[FrameRecord]):
    """Frames as they open. It holds numbers alone, 16 bytes for a frame: a run may have a million of them."""

    def __init__(self) -> None:
        self._numbers = array("i")

    def add(self, plan: int, parent: int, opener: int, turn: int) -> int:
        """Keeps a frame, and gives its index."""
        self._numbers.extend((plan, parent, opener, turn))
        return len(self._numbers) // 4 - 1

    def tobytes(self) -> bytes:
        """The numbers of all frames, one behind the other."""
        return self._numbers.tobytes()

    def __len__(self) -> int:
        return len(self._numbers) // 4

    @overload
    def __getitem__(self, index: int) -> FrameRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[FrameRecord]: ...
    def __getitem__(self, index: int | slice) -> FrameRecord | list[FrameRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        numbers = self._numbers
        start = 4 * index if index >= 0 else 4 * index + len(numbers)
        if not 0 <= start < len(numbers):
            raise IndexError(index)
        return FrameRecord(numbers[start], numbers[start + 1], numbers[start + 2], numbers[start + 3])


def path_of(program: Program, frames: Sequence[FrameRecord], frame: int, node: int) -> str:
    """The stable path of a node: its own within its flow, behind those of the calls around it; behind what opens turns
    stands which one it is in: ``summary/draft[2]/better``."""
    names = program.names.plans
    record = frames[frame]
    path = names[record.plan].nodes[node].path
    parts: list[str] = []
    while record.parent >= 0:
        parent = frames[record.parent]
        around = names[parent.plan].nodes[record.opener].path
        opener = program.plans[parent.plan].nodes[record.opener]
        if isinstance(opener, Opener) and opener.leaves_flow:
            parts.append(path or _RESULT)
            path = around
        elif record.turn:
            path = f"{around}[{record.turn}]{path[len(around) :]}"
        else:
            path = path or around
        record = parent
    return "/".join([path or _RESULT, *reversed(parts)])


_RESULT = "return"
"""What the flow gives has no name of its own."""
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
                frames += [FrameRecord(opened, index, i, int(opener.repeats)) for opened in opener.opened]
    return frames


class Unfolding:
    """A graph of all nodes of all frames, numbered frame by frame, in the order of their plans.

    Frames of one opener stand beside each other: before a run they are its alternatives, one for each plan.
    """

    def __init__(self, program: Program, frames: Sequence[FrameRecord]) -> None:
        self.plans = program.plans
        self.program = program
        self.record_types = program.record_types
        self.frames = frames = list(frames)  # a table makes each of them anew whenever it is looked at
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
        """What comes out at an exit: one node of each alternative that its opener opens; of turns the last one's where
        each passes it on to the next, else all of theirs."""
        children = self.children.get((frame, node.opener), [])
        opener = self.node(frame, node.opener)
        assert isinstance(opener, Opener)
        if any(node.port in sources for sources in opener.carried.values()):
            children = children[-1:]
        return [self._output(child, node.port) for child in children]

    def _output(self, frame: int, port: int) -> int:
        return self.starts[frame] + self.plans[self.frames[frame].plan].outputs[port]

    def _connect(self, index: int, enters: Mapping[tuple[int, int], int]) -> None:
        frame, start = self.frames[index], self.starts[index]
        outer = self.starts[frame.parent] if frame.parent >= 0 else 0
        first = self._what_lets_begin(index) if frame.parent >= 0 else []
        for i, node in enumerate(self.plans[frame.plan].nodes):
            before: Sequence[int]
            if not start and not (node.after or node.requires):
                before = node.operands
            else:
                before = [start + p for p in (*node.operands, *node.after, *node.requires)]
            more: list[int] = []
            if isinstance(node, Exit):
                more.append(start + node.opener)
                more += self._leaving(index, node)
            elif isinstance(node, Input) and frame.parent >= 0:
                more += self._entering(index, i, outer, enters)
                more += first[1:]
            if frame.parent >= 0 and not before:
                more += first if not more else ()  # nothing in a frame runs before what opens it
            self.before.append([*before, *more] if more else before)

    def _entering(self, index: int, port: int, outer: int, enters: Mapping[tuple[int, int], int]) -> list[int]:
        """What delivers into an input of a frame."""
        frame = self.frames[index]
        opener = self.node(frame.parent, frame.opener)
        assert isinstance(opener, Opener)
        if frame.turn > 1 and (sources := opener.carried.get(port)):
            earlier = self._turn_before(index)
            return [*(self._output(earlier, source) for source in sources), outer + frame.opener]
        entered = enters.get((frame.opener, port))
        return [outer + frame.opener] if entered is None else [outer + entered, outer + frame.opener]

    def _what_lets_begin(self, index: int) -> list[int]:
        """What opens a frame: its opener, and what that had to know."""
        frame = self.frames[index]
        opener = self.node(frame.parent, frame.opener)
        assert isinstance(opener, Opener)
        found = [self.starts[frame.parent] + frame.opener]
        if opener.stop is not None and frame.turn > 1:
            found.append(self._output(self._turn_before(index), opener.stop))
        elif opener.settles and (earlier := self.children[frame.parent, frame.opener][0]) != index:
            found += self._last_of(earlier)
        return found

    def _leaving(self, index: int, node: Exit) -> list[int]:
        found = self.outputs(index, node)
        opener = self.node(index, node.opener)
        assert isinstance(opener, Opener)
        children = self.children.get((index, node.opener), [])
        if opener.stop is not None and children:
            found.append(self._output(children[-1], opener.stop))
        elif opener.settles and len(children) == 1:
            found += self._last_of(children[0])
        elif opener.repeats and not children:  # no turn, so what would have started the first one leaves
            carried = opener.carried.items()
            ports = [port for port, sources in carried if node.port in sources]
            if not ports and node.port != opener.collected:
                ports = [port for port, sources in carried if not sources]
            start = self.starts[index]
            found += [
                start + i
                for i, enter in enumerate(self.plans[self.frames[index].plan].nodes)
                if isinstance(enter, Enter) and enter.opener == node.opener and enter.port in ports
            ]
        return found

    def _turn_before(self, index: int) -> int:
        frame = self.frames[index]
        return self.children[frame.parent, frame.opener][frame.turn - 2]

    def _last_of(self, index: int) -> list[int]:
        """The nodes of a frame, and of all below it, that none of those waits for."""
        frames = [index]
        for frame in frames:  # it grows while it is read
            for i, _ in self.plans[self.frames[frame].plan].openers():
                frames += self.children.get((frame, i), ())
        numbers = {n for frame in frames for n in range(self.starts[frame], self._stop(frame))}
        waited_for = {p for n in numbers if n < len(self.before) for p in self.before[n]}
        return sorted(numbers - waited_for)

    def _stop(self, frame: int) -> int:
        return self.starts[frame + 1] if frame + 1 < len(self.starts) else self.size
