"""A `Try`, while it runs in one frame: its body and all that opens inside, and the handler where something failed.

The body is over when every frame below it is. Only then its failures are known, in whatever order they happened: the
handler hears of the one that a run line by line would have met first. Until then nothing leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from apxm.operations.types import Value
from apxm.program.openers import Opening, Try
from apxm.program.unfolding import path_of
from apxm.runtime.frames import FailureToken, Frame, Frames, LoadedPlan, Scope


class Trial(Scope):
    """One `Try` of one frame. Frames of its body have it as their `scope`."""

    __slots__ = ("_attempt", "_child", "_entered", "_frame", "_handles", "_held", "_node", "_plans", "_state")

    def __init__(self, state: Frames, frame: Frame, node: int, attempt: Try, plans: Sequence[LoadedPlan]) -> None:
        """`plans` are those of the program."""
        super().__init__()
        self._state = state
        self._plans = plans
        self._frame = frame
        self._node = node
        self._attempt = attempt
        self._entered: dict[int, Value] = {}
        """What has arrived, by input port."""
        self._held: dict[int, Value] = {}
        """What the body gave, by output port."""
        self._child: Frame | None = None
        self._handles = False

    def begin(self) -> None:
        """Opens the body, once all has been entered that is there so far."""
        if self._frame.scope is not None:
            self._frame.scope.open += 1  # a body around this one is not over before this is
        self.open += 1  # until it has all that is there: it may be over at once
        self._open(self._attempt.body, self, None)
        self.over()

    def enter(self, port: int, value: Value) -> None:
        """Something for the body and the handler arrived in the frame around them."""
        self._entered[port] = value
        if self._child is not None:
            self._state.pass_on(self._child, port, value)

    def output(self, child: Frame, port: int, value: Value) -> None:
        """Something leaves the body or the handler."""
        del child
        if self._handles:
            self._state.leave(self._frame, self._node, port, value)
        else:
            self._held[port] = value

    def closed(self, child: Frame) -> None:
        """The body's own frame is over, though perhaps not those below it; or the handler is."""

    def live(self) -> Sequence[Frame]:
        return () if self._child is None else (self._child,)

    def openings(self) -> Sequence[Opening]:
        return self._attempt.openings

    def over(self) -> None:
        """A frame of the body is over."""
        self.open -= 1
        if self.open:
            return
        failure = self._first_failure()
        if failure is None:
            for port, value in self._held.items():
                self._state.leave(self._frame, self._node, port, value)
        else:
            self._handle(failure)
        if self._frame.scope is not None:
            self._frame.scope.over()

    def _handle(self, failure: FailureToken) -> None:
        self._handles = True
        path = path_of(self._state.program, self._state.frames, failure.frame.index, failure.node)
        error = {"kind": failure.error.kind, "message": failure.error.message, "operation": path}
        self._state.caught += self.failures
        self._open(self._attempt.handler, self._frame.scope, error)

    def _open(self, plan: int, scope: Scope | None, error: Value) -> None:
        state = self._state
        base = self._frame.base + self._attempt.priority
        child = state.open(self._plans[plan], self._frame, self._node, base, self, 0, scope)
        self._child = child
        if self._attempt.error_input is not None:
            state.pass_on(child, self._attempt.error_input, error)
        for port, value in list(self._entered.items()):
            state.pass_on(child, port, value)

    def _first_failure(self) -> FailureToken | None:
        """What failed first in the order of the program. A value that the body gives and cannot compute counts."""
        body = self._child
        assert body is not None
        for port, value in self._held.items():
            if isinstance(value, FailureToken) and value.is_value:
                self.failures.append(FailureToken(body, body.plan.outputs[port], value.error))
        return min(self.failures, key=lambda failure: failure.frame.place(failure.node), default=None)
