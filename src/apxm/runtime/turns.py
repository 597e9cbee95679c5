"""The turns of a `Repeat`, while it runs in one frame: what each turn gets, and where what it gives goes.

A turn opens as soon as it is known to happen, and there is room in the window of open turns. It is given what all turns
share and its item at once; what the turn before carries into it comes when that has it, port by port. So turns that use
nothing of each other run side by side, and nobody has to say so.
"""

from __future__ import annotations

from collections.abc import Sequence

from apxm.operations.types import Value
from apxm.program.openers import Opening
from apxm.runtime.frames import Children, FailureToken, Frame, Frames, LoadedPlan
from apxm.runtime.ports import TurnPorts

MOST_TURNS_AT_ONCE = 65_536
"""Most turns of all loops of a run that are open at once, but for one of each: loops in loops multiply."""


class Turns(Children):
    """One `Repeat` of one frame."""

    __slots__ = (
        "_advancing",
        "_allowed",
        "_base",
        "_count",
        "_entered",
        "_frame",
        "_held",
        "_items",
        "_joining",
        "_last",
        "_loose",
        "_missing",
        "_node",
        "_plan",
        "_ports",
        "_results",
        "_shared",
        "_state",
        "frames",
        "opened",
    )

    def __init__(
        self,
        state: Frames,
        frame: Frame,
        node: int,
        ports: TurnPorts,
        plan: LoadedPlan,
        count: int,
        items: Sequence[Value],
    ) -> None:
        """There are at most `count` turns; of `items`, where each takes one, exactly so many."""
        self._state = state
        self._frame = frame
        self._node = node
        self._ports = ports
        self._plan = plan
        self._count = count
        self._items = items
        self._base = frame.base + ports.opener.priority
        self._allowed = min(count, 1) if ports.stop is not None else count
        """How many turns are known to happen."""
        self._last: int | None = count - 1 if ports.stop is None else None
        """The index of the last turn, as soon as that is known."""
        self.opened = 0
        """How many turns there have been."""
        self.frames: dict[int, Frame] = {}
        """The turns that are not over, by their index from 0."""
        self._shared: dict[int, Value] = {}
        """What is there of what all turns get, by input port."""
        self._entered: dict[int, Value] = {}
        """What is there of what the first turn starts with."""
        self._held: dict[int, Value] = {}
        """What the newest turn gave, by output port, as long as nobody knows whether there is a next one."""
        self._loose: dict[int, list[Value]] = {}
        """What turns have given at the order outputs that none passes on."""
        self._joining: dict[tuple[int, int], list[Value]] = {}
        """What has come of that which an input of a turn waits for, where it waits for several."""
        self._results: list[Value] = [None] * count if ports.collected is not None else []
        self._missing = count
        """How many turns have yet to give what is collected."""
        self._advancing = False

    def begin(self) -> None:
        """Opens what may be open, once all has been entered that is there so far."""
        if self._count:
            self._advance()
            return
        if self._ports.collected is not None:
            self._leave(self._ports.collected, [])
        if not self._ports.unfed:
            self._leave_loose()

    def enter(self, port: int, value: Value) -> None:
        """Something for the turns arrived in the frame around them."""
        ports = self._ports
        if port < ports.shared or port in ports.unfed:
            self._shared[port] = value
            for child in self.frames.values():
                self._state.pass_on(child, port, value)
            if not self._count and port in ports.unfed and self._shared.keys() >= set(ports.unfed):
                self._leave_loose()
        elif self.opened:
            self._state.pass_on(self.frames[0], port, value)
        elif self._count:
            self._entered[port] = value
        else:
            for output in ports.sources[port]:
                self._leave(output, value)

    def output(self, child: Frame, port: int, value: Value) -> None:
        """Something leaves a turn."""
        turn = child.turn - 1
        ports = self._ports
        if port == ports.stop:
            self._decide(turn, value)
        elif port == ports.collected:
            self._results[turn] = value
            self._missing -= 1
            if not self._missing:
                failed = [result for result in self._results if isinstance(result, FailureToken)]
                told = (token for token in failed if not token.is_value)
                self._leave(port, next(told, failed[0] if failed else self._results))
        elif port in ports.loose:
            self._loose.setdefault(port, []).append(value)
            self._leave_behind_all(port)
        elif turn == self._last:
            self._leave(port, value)
        elif turn + 1 < self.opened:
            self._carry(turn + 1, port, value)
        else:
            self._held[port] = value

    def closed(self, child: Frame) -> None:
        """A turn is over."""
        if self.frames.pop(child.turn - 1, None) is not None:
            self._state.open_turns -= 1
            self._advance()

    def live(self) -> Sequence[Frame]:
        return list(self.frames.values())

    def openings(self) -> Sequence[Opening]:
        known = self._last is not None
        last = self._count if self._last is None else self._last + 1
        return (Opening((self._plan.index,), last if known else self.opened, last),)

    # --- one turn after another ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._advancing:
            return  # it is called from within `_open`, by a turn that is over as soon as it begins
        self._advancing = True
        while self.opened < self._allowed and (not self.frames or self._has_room()):
            self._open()
        self._advancing = False

    def _has_room(self) -> bool:
        state = self._state
        return len(self.frames) < state.max_open_turns and state.open_turns < MOST_TURNS_AT_ONCE

    def _open(self) -> None:
        state, ports = self._state, self._ports
        turn, self.opened = self.opened, self.opened + 1
        given = self._shared.copy()
        if ports.own is not None:
            given[ports.own] = self._items[turn]
        held, self._held = self._held, {}
        if turn:
            for output, value in held.items():
                for port in ports.feeds[output]:
                    if port not in ports.joins:
                        given[port] = value
        else:
            given |= self._entered
        frame = self._frame
        child = state.open(self._plan, frame, self._node, self._base, self, turn + 1, frame.scope, given)
        if child.remaining:
            state.open_turns += 1
            self.frames[turn] = child
        if ports.joins:
            for output, value in held.items():
                self._join(turn, output, value)

    def _carry(self, turn: int, output: int, value: Value) -> None:
        """Takes what one turn gave to the next one, which is open."""
        ports = self._ports
        for port in ports.feeds[output]:
            if port not in ports.joins:
                self._state.pass_on(self.frames[turn], port, value)
        if ports.joins:
            self._join(turn, output, value)

    def _join(self, turn: int, output: int, value: Value) -> None:
        """Keeps what several outputs of one turn give to one input of the next, until all of it is there."""
        ports = self._ports
        for port in ports.feeds[output]:
            if port not in ports.joins:
                continue
            come = self._joining.setdefault((turn, port), [])
            come.append(value)
            if len(come) == ports.joins[port]:
                del self._joining[turn, port]
                failed = (token for token in come if isinstance(token, FailureToken))
                self._state.pass_on(self.frames[turn], port, next(failed, None))

    def _decide(self, turn: int, is_last: Value) -> None:
        """Whether the newest turn is the last; also where that cannot be known, as something failed."""
        if is_last is False and turn + 1 < self._count:
            self._allowed = turn + 2
            self._advance()
            return
        self._last = turn
        held, self._held = self._held, {}
        for port, value in held.items():
            self._leave(port, value)
        for port in self._ports.loose:
            self._leave_behind_all(port)

    def _leave_behind_all(self, port: int) -> None:
        """Lets an order out that no turn passes on, once all turns have given it."""
        said = self._loose.get(port, ())
        if self._last is not None and len(said) == self._last + 1:
            self._leave(port, next((token for token in said if isinstance(token, FailureToken)), None))

    def _leave_loose(self) -> None:
        """Without a turn, what comes behind something inside comes behind what that would have come behind."""
        entered = [self._shared[port] for port in self._ports.unfed]
        failed = next((token for token in entered if isinstance(token, FailureToken)), None)
        for port in self._ports.loose:
            self._leave(port, failed)

    def _leave(self, port: int, value: Value) -> None:
        self._state.leave(self._frame, self._node, port, value)
