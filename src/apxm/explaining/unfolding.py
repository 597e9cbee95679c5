"""The calls of a flow as a program of which all lengths are known, to be predicted like any other: each behind what
lanes would wait for, as `lane.py` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apxm.explaining.counting import counted
from apxm.explaining.formulas import Amount, Formula
from apxm.explaining.shape import Ask, Branch, Loop, Placed, Rule, Step, Wait, Within
from apxm.explaining.verdicts import ruled
from apxm.lanes.run import Grown
from apxm.operations.catalog import OPERATIONS
from apxm.program.expressions import Literal
from apxm.program.nodes import Compute, Operate

MOST_CALLS = 20_000
_MANY = 8
Lengths = Mapping[str, Amount]


class TooManyCallsError(Exception):
    """A program has more calls than are unfolded."""


class UnknownLengthError(Exception):
    """How often a loop turns depends on a length that nobody said."""

    def __init__(self, lengths: set[str]) -> None:
        super().__init__(", ".join(sorted(lengths)))
        self.lengths = lengths


class _Lane:
    """What comes behind what, in an iteration or the flow itself."""

    def __init__(self, opener: _Lane | None = None, turn: tuple[int, ...] = ()) -> None:
        self.opener = opener
        self.frontier: tuple[int, ...] = () if opener is None else opener.frontier
        self.turn = turn
        """What the iterations before it come to."""


class Unfolding:
    """One way through a flow: the one with the fewest calls, or with the most."""

    def __init__(self, name: str, file: str, known: Lengths, *, most: bool) -> None:
        self.grown = Grown(name, file)
        self._most = most
        self._calls = 0
        self._known = [known]
        self._rules: list[Mapping[str, Rule]] = []
        """Those of the loops over `each` around, the outermost first."""

    def unfold(self, steps: Sequence[Step]) -> Grown:
        """Raises `TooManyCallsError` and `UnknownLengthError`."""
        self._steps(steps, _Lane())
        self.grown.freeze()
        return self.grown

    def _steps(self, steps: Sequence[Step], lane: _Lane) -> None:
        begun: list[int] = []
        for step in steps:
            if isinstance(step, Ask) and step.begun:
                begun.append(self._ask(step, lane.frontier))
                continue
            if begun:
                lane.frontier, begun = tuple(begun), []
            self._step(step, lane)
        if begun:
            lane.frontier = tuple(begun)

    def _step(self, step: Step, lane: _Lane) -> None:
        match step:
            case Ask():
                lane.frontier = (self._ask(step, lane.frontier),)
            case Wait(loops=loops):
                self._wait(lane, loops)
            case Placed() if isinstance(ruled(step, self._rules), Wait):
                self._wait(lane, None)
            case Branch(ways=ways):
                pick = max if self._most else min
                self._steps(pick(ways, key=lambda way: self._number(counted(way))), lane)
            case Loop():
                self._loop(step, lane)
            case Within(recursive=True):
                raise TooManyCallsError
            case Within(body=body, lengths=lengths):
                given = {name: amount.with_lengths(self._known[-1]) for name, amount in lengths.items()}
                self._known.append({**self._known[-1], **given})
                self._steps(body, lane)
                self._known.pop()
            case _:
                pass

    def _ask(self, ask: Ask, behind: tuple[int, ...]) -> int:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise TooManyCallsError
        operation = ask.operation if ask.operation in OPERATIONS else "ask"
        operate = Operate(operation=operation, arguments=(Literal("x" * ask.text),), after=behind, result="str")
        return self.grown.add(operate, f"{ask.place.line}#{self._calls}", ask.place.line)

    def _wait(self, lane: _Lane, loops: int | None) -> None:
        around, depth = lane, 0
        while around.opener is not None and (loops is None or depth < loops):
            lane.frontier = self._joined((*lane.frontier, *around.turn))
            around, depth = around.opener, depth + 1

    def _loop(self, loop: Loop, lane: _Lane) -> None:
        turns = round(self._number(loop.turns))
        if not counted(loop.body).lengths and counted(loop.body) == Amount.of(0):
            return
        if not loop.promised:
            for _ in range(turns):
                self._steps(loop.body, lane)
            return
        self._rules.append(loop.rules)
        ends: list[tuple[int, ...]] = [lane.frontier]
        for k in range(turns):
            before = self._joined(ends[-1])
            inner = _Lane(lane, before)
            if loop.in_sequence and k > loop.lookahead:
                inner.frontier = ends[-1 - loop.lookahead]
            self._steps(loop.body, inner)
            ends.append(self._joined((*before, *inner.frontier)))
        self._rules.pop()
        lane.frontier = ends[-1]

    def _joined(self, operations: tuple[int, ...]) -> tuple[int, ...]:
        """What comes behind several operations may come behind one that comes behind all of them."""
        found = tuple(dict.fromkeys(operations))
        if len(found) <= _MANY:
            return found
        return (self.grown.add(Compute(after=found, value=Literal(None))),)

    def _number(self, amount: Amount) -> float:
        found = amount.with_lengths(self._known[-1])
        bound: Formula | None = found.high if self._most else found.low
        if bound is None:
            raise TooManyCallsError
        if bound.number is None:
            raise UnknownLengthError(bound.lengths)
        return bound.number
