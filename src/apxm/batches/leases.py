"""Limits of backends that hold for many processes at once: one of them has the gates, and the others ask it for leave.

A `LeasedGate` stands for a gate in a worker, and a `Lessor` has the gates themselves. What they say to each other are
plain values, in order: who carries them is no matter of theirs. So all that a gate knows (its limit or what it finds,
the last minute, refusals, pauses, an endpoint that is down) is known once, and is about all workers.

Each attempt has its lease, which its worker gives back. That of a worker that is lost is given back for it; nobody
knows what it cost, so it counts with all that it could.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count

from msgspec import Struct

from apxm.backends.protocol import Handle, Limits
from apxm.errors import BackendError
from apxm.runtime.gates import NOT_YET, REFUSED, Gate, Ticket
from apxm.runtime.loops import START, clock_of

Wake = Callable[[], None]


# --- what is said ----------------------------------------------------------------------------------------------------


class Ask(Struct, frozen=True):
    """A worker wants leave for one attempt."""

    gate: str
    number: int
    tokens: int


class Withdraw(Struct, frozen=True):
    """It does not any more."""

    gate: str
    number: int


class Granted(Struct, frozen=True):
    gate: str
    number: int
    now: int
    """By the clock of the lessor."""


class Refused(Struct, frozen=True):
    gate: str
    number: int
    why: BackendError


class GivenBack(Struct, frozen=True):
    """An attempt is over. Instants are by the clock of the lessor."""

    gate: str
    number: int
    tokens: int | None
    answered: bool
    refused: bool
    arrived: int | None
    answers: int
    """Attempts that the endpoint answered, since that was last said."""


class Told(Struct, frozen=True):
    """What a failed attempt says of the endpoint: a method of `Gate`, with its arguments."""

    gate: str
    answers: int
    until: int | None = None
    """It asks to be left alone."""
    granted: int | None = None
    """When the attempt was granted that was one too many, or was not answered."""
    error: BackendError | None = None
    """Why it was not answered."""
    hurried: bool = False


ToLessor = Ask | Withdraw | GivenBack | Told
FromLessor = Granted | Refused


# --- a worker --------------------------------------------------------------------------------------------------------


class _Lease(Ticket):
    number: int = 0
    tokens_asked: int = 0
    arrived: int | None = None


class _Wanted(Struct, eq=False):
    """What one run wants of a gate, in the order in which it asked."""

    asked: dict[int, int] = {}
    """Tokens of the attempts that it has asked for, by number."""
    leases: list[_Lease] = []
    refusals: list[BackendError] = []


class LeasedGate(Gate):
    """Stands for a gate that another process has. It belongs to one event loop."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        tell: Callable[[ToLessor], object],
        *,
        adaptive: bool,
        numbers: count[int],
        loop: AbstractEventLoop,
    ) -> None:
        """`numbers` are those of attempts, and given once by this worker."""
        super().__init__(name, limits, adaptive=adaptive)
        self.limited = self.by_minute = True  # for all that anybody here knows
        self._now = clock_of(loop).now
        self._tell = tell
        self._numbers = numbers
        self._wanted: dict[Wake, _Wanted] = {}
        self._who: dict[int, Wake] = {}
        """Who asked for each attempt."""
        self._ahead = 0
        """By how much the clock here is ahead of the lessor's, by the last that came."""
        self._said_answers = 0
        self._why: BackendError | None = None

    # --- leave -------------------------------------------------------------------------------------------------------

    def take(self, tokens: int, now: int, wake: Wake | None = None, wanted: int = 1) -> Ticket | int:
        assert wake is not None, "who waits here has to be told"
        found = self._wanted.setdefault(wake, _Wanted())
        while found.leases:
            lease = found.leases.pop(0)
            if lease.tokens_asked >= tokens:
                lease.granted = now
                return lease
            self._unused(lease)
        if found.refusals:
            self._why = found.refusals.pop()
            return REFUSED
        # Where tokens are counted each call is another amount, and which one is next is known when it is.
        most = 1 if self.counts_tokens else wanted
        enough = [number for number, asked in found.asked.items() if asked >= tokens]
        for number in found.asked.keys() - {*enough[:most]}:
            self._withdraw(found, number)
        while len(found.asked) < most:
            number = next(self._numbers)
            found.asked[number], self._who[number] = tokens, wake
            self._tell(Ask(self.name, number, tokens))
        return NOT_YET

    def take_at_once(self, now: int, others: int) -> Ticket | None:
        del now, others  # only the lessor knows whether there is room

    def heard(self, said: FromLessor) -> None:
        """What the lessor says. Whoever it is said to asks, and what they do not take is others'."""
        now, wake = self._now(), self._who.pop(said.number, None)
        if isinstance(said, Granted):
            self._ahead = now - said.now
        if wake is None or (found := self._wanted.get(wake)) is None:  # it was withdrawn when it was granted
            if isinstance(said, Granted):
                self._unused(_Lease(None, None, False, now, number=said.number))
            return
        tokens = found.asked.pop(said.number)
        if isinstance(said, Granted):
            found.leases.append(_Lease(None, None, False, now, number=said.number, tokens_asked=tokens))
        else:
            found.refusals.append(said.why)
        wake()
        if self._wanted.get(wake) is not found:
            return  # it has left
        for lease in found.leases:
            self._unused(lease)
        found.leases.clear()
        found.refusals.clear()
        if not found.asked:
            del self._wanted[wake]

    def refusal(self) -> BackendError:
        assert self._why is not None
        return self._why

    def wait(self, wake: Wake) -> None:
        del wake  # who has asked is told

    def offer(self, now: int) -> None:
        del now  # that is the lessor's to do

    def leave(self, wake: Wake) -> None:
        if (found := self._wanted.pop(wake, None)) is not None:
            for number in [*found.asked]:
                self._withdraw(found, number)
            for lease in found.leases:
                self._unused(lease)

    def _withdraw(self, found: _Wanted, number: int) -> None:
        del found.asked[number], self._who[number]
        self._tell(Withdraw(self.name, number))

    def _unused(self, lease: _Lease) -> None:
        self._tell(GivenBack(self.name, lease.number, 0, False, False, None, 0))

    # --- what became of an attempt -----------------------------------------------------------------------------------

    def give_back(self, ticket: Ticket, tokens: int | None, now: int, *, answered: bool = False) -> None:
        del now
        assert isinstance(ticket, _Lease)
        number, refused, arrived = ticket.number, ticket.refused, ticket.arrived
        self._tell(GivenBack(self.name, number, tokens, answered, refused, arrived, self._answers()))

    def arrived(self, ticket: Ticket, instant: int) -> None:
        assert isinstance(ticket, _Lease)
        ticket.arrived = instant - self._ahead

    def recovered(self) -> None:
        """The lessor sees that by what is given back."""

    def pause(self, until: int) -> None:
        self._tell(Told(self.name, self._answers(), until=until - self._ahead))

    def refused(self, granted: int, now: int) -> None:
        del now
        self._tell(Told(self.name, self._answers(), granted=granted - self._ahead))

    def broke(self, error: BackendError, granted: int, now: int, *, hurried: bool = False) -> None:
        del now
        self.failed += 1
        self._tell(Told(self.name, self._answers(), granted=granted - self._ahead, error=error, hurried=hurried))

    def _answers(self) -> int:
        new, self._said_answers = self.answered - self._said_answers, self.answered
        return new


# --- who has the gates -----------------------------------------------------------------------------------------------


class Lessor:
    """Gives leave to workers, which are numbered, in the order in which they ask. It belongs to one event loop."""

    def __init__(
        self, gates: Mapping[str, Gate], tell: Callable[[int, FromLessor], object], loop: AbstractEventLoop
    ) -> None:
        self._desks = {name: _Desk(gate, tell, loop) for name, gate in gates.items()}

    def heard(self, worker: int, said: ToLessor) -> None:
        self._desks[said.gate].heard(worker, said)

    def lost(self, worker: int) -> None:
        """The worker is gone, and with it all that it had in flight."""
        for desk in self._desks.values():
            desk.lost(worker)


class _Desk:
    """Those that want leave of one gate, and those that have it."""

    def __init__(self, gate: Gate, tell: Callable[[int, FromLessor], object], loop: AbstractEventLoop) -> None:
        self._gate = gate
        self._tell = tell
        self._clock = clock_of(loop)
        self._waiting: deque[tuple[int, Ask]] = deque()
        self._out: dict[tuple[int, int], Ticket] = {}
        """Leases, by worker and number."""
        self._timer: tuple[int, Handle] | None = None

    def heard(self, worker: int, said: ToLessor) -> None:
        gate, now = self._gate, self._clock.now()
        match said:
            case Ask():
                self._waiting.append((worker, said))
                self.serve()
            case Withdraw(number=number):
                # One that has its lease meanwhile gives that back.
                self._waiting = deque(each for each in self._waiting if (each[0], each[1].number) != (worker, number))
            case GivenBack(number=number):
                ticket = self._out.pop((worker, number))
                gate.answered += said.answers
                if said.answered and gate.troubled:
                    gate.recovered()
                ticket.refused = said.refused
                if said.arrived is not None:
                    gate.arrived(ticket, said.arrived)
                gate.give_back(ticket, said.tokens, now, answered=said.answered)
            case Told(until=until, granted=granted, error=error):
                gate.answered += said.answers
                if until is not None:
                    gate.pause(until)
                elif granted is not None and error is not None:
                    gate.broke(error, granted, now, hurried=said.hurried)
                elif granted is not None:
                    gate.refused(granted, now)

    def lost(self, worker: int) -> None:
        self._waiting = deque(each for each in self._waiting if each[0] != worker)
        for place in [place for place in self._out if place[0] == worker]:
            self._gate.give_back(self._out.pop(place), None, self._clock.now())
        self.serve()

    def serve(self) -> None:
        """Gives leave as far as there is any: in the order in which it was asked for."""
        gate = self._gate
        while self._waiting:
            now = self._clock.now()
            worker, ask = self._waiting[0]
            found = gate.take(ask.tokens, now, self.serve, len(self._waiting))
            if isinstance(found, Ticket):
                self._waiting.popleft()
                self._out[worker, ask.number] = found
                self._tell(worker, Granted(ask.gate, ask.number, now))
            elif found == REFUSED:
                self._waiting.popleft()
                self._tell(worker, Refused(ask.gate, ask.number, gate.refusal()))
            else:
                gate.wait(self.serve)
                if found != NOT_YET:
                    self._ask_again(found)
                return
        gate.leave(self.serve)

    def _ask_again(self, when: int) -> None:
        if self._timer is not None:
            if self._timer[0] <= when:
                return
            self._timer[1].cancel()

        def due() -> None:
            self._timer = None
            self.serve()

        self._timer = when, self._clock.call_at(when, due, START)
