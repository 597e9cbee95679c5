"""What the process may ask of one backend, whoever runs: calls in flight, requests and tokens a minute, and pauses."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf

from msgspec import Struct

from apxm.backends.protocol import Limits
from apxm.errors import BackendError
from apxm.forks import tell_of_forks
from apxm.runtime.adaptive import AdaptiveLimit
from apxm.runtime.breaker import Breaker
from apxm.runtime.congestion import Congestion
from apxm.runtime.windows import MINUTE_NS, Expense, Window

NOT_YET = -1
"""What `Gate.take` returns for a call that has to wait until something ends."""
REFUSED = -2
"""What `Gate.take` returns for a call that need not wait, as the endpoint is down."""


class Ticket(Struct, eq=False):
    """The right to one attempt, until it is given back."""

    request: Expense | None
    tokens: Expense | None
    probe: bool
    granted: int
    refused: bool = False
    """Whether the endpoint said that the attempt was one too many."""


class Gate:
    """One backend, for all runs of the process, in whichever event loops and threads they are. Those that wait take
    turns."""

    def __init__(self, name: str, limits: Limits, window_ns: int = MINUTE_NS, *, adaptive: bool = False) -> None:
        """`adaptive` is for an endpoint of which nobody has said how many calls in flight it bears."""
        self.limit = limits.max_concurrency
        self.counts_tokens = bool(limits.tokens_per_minute)
        self.by_minute = bool(limits.requests_per_minute) or self.counts_tokens
        """Whether it matters when an attempt arrived, and what it cost."""
        self.limited = adaptive or self.limit is not None or self.by_minute
        self.name = name
        self._is_adaptive = adaptive
        self._limits = limits
        self._window_ns = window_ns
        self.forked()
        tell_of_forks(self)

    def forked(self) -> None:
        """All begins anew: what is in flight is another process's, which has limits of its own."""
        limits, window_ns = self._limits, self._window_ns
        self._requests = Window(limits.requests_per_minute, window_ns) if limits.requests_per_minute else None
        self._tokens = Window(limits.tokens_per_minute, window_ns) if limits.tokens_per_minute else None
        self.troubled = False
        """Whether it is closed for a while, or its endpoint taken to be down: then calls must ask, limited or not."""
        self.answered = 0
        """Attempts that the endpoint answered, also with a refusal."""
        self.failed = 0
        """Attempts that it did not."""
        self._lock = threading.RLock()
        self._in_use = 0
        self._taken = 0
        self._paused_until = 0
        self._breaker = Breaker()
        self._congestion = Congestion()
        self.adaptive = AdaptiveLimit() if self._is_adaptive else None
        self._told: int | None = None
        """The most calls in flight that somebody wants while it goes on, whatever was configured or found."""
        self._waiting: deque[tuple[AbstractEventLoop, Callable[[], None]]] = deque()
        self._held = False
        """Whether all others wait for the first of them, whose call is too large for what is free: else smaller calls
        would always be quicker."""

    def take(self, tokens: int, now: int, wake: Callable[[], None] | None = None, wanted: int = 1) -> Ticket | int:
        """Asks for one attempt that costs up to `tokens`: gives its ticket, or `NOT_YET`, `REFUSED`, or the instant at
        which it is worth asking again. `wake` tells who asks, as in `wait`, and `wanted` how many calls that has."""
        with self._lock:
            if self.adaptive is not None:
                self.adaptive.wanted(wanted)
            if self._held and self._waiting and self._waiting[0][1] != wake:
                return NOT_YET
            free_at = self._free_at(tokens, now)
            if free_at != now:
                return free_at
            probe = self._breaker.probing = self._breaker.down
            self.troubled = probe or self._congestion.limit is not None or self._told is not None
            self._in_use += 1
            self._taken += 1
            self._held = False
            if self.adaptive is not None:
                self.adaptive.began(now)
            request = self._requests.spend(1, now) if self._requests else None
            return Ticket(request, self._tokens.spend(tokens, now) if self._tokens else None, probe, now)

    def take_at_once(self, now: int, others: int) -> Ticket | None:
        """The ticket of an attempt, where nobody waits and there is room for it and so many others; else None, and it
        is to `take` its turn."""
        with self._lock:
            if self.troubled or self.by_minute or self._waiting or self._in_use + others >= self.most:
                return None
            self._in_use += 1
            self._taken += 1
            if self.adaptive is not None:
                self.adaptive.wanted(1 + others)
                self.adaptive.began(now)
            return Ticket(None, None, False, now)

    @property
    def most(self) -> float:
        """The most calls in flight that are allowed at present."""
        if self._told is not None:
            return self._told
        limit = self.limit
        borne = self._congestion.limit if self.adaptive is None else self.adaptive.limit
        if borne is None:
            return inf if limit is None else limit
        return borne if limit is None else min(limit, borne)

    @property
    def is_told(self) -> bool:
        """Whether somebody has said, while it goes on, how many calls may be in flight."""
        return self._told is not None

    @property
    def in_flight(self) -> int:
        """Calls that it has let go, and that are not over."""
        return self._in_use

    def tell(self, most: int | None, now: int) -> None:
        """From now on so many calls are in flight at most; None for what was configured, or is found. In the event loop
        of one that waits."""
        with self._lock:
            self._told = most
            self.troubled |= most is not None
        self.offer(now)

    def _free_at(self, tokens: int, now: int) -> int:
        """`now` where an attempt may go."""
        if now < self._paused_until or now < self._breaker.closed_until:
            return REFUSED if self._breaker.hopeless else max(self._paused_until, self._breaker.closed_until)
        if self._breaker.probing or self._in_use >= self.most:
            return NOT_YET
        free_at = self._requests.free_at(1, now) if self._requests else now
        return max(free_at, self._tokens.free_at(tokens, now)) if self._tokens else free_at

    def refusal(self) -> BackendError:
        """Why calls are refused."""
        why = self._breaker.why
        return BackendError(
            "circuit_open",
            f"{self.name} did not answer {self._breaker.in_a_row} times in a row and is left alone for a while"
            + (f"; the last time: {why.message}" if why else ""),
            retryable=False,
            hint=why.hint if why else None,
        )

    # --- what became of an attempt ---------------------------------------------------------------------------------

    def give_back(self, ticket: Ticket, tokens: int | None, now: int, *, answered: bool = False) -> None:
        """The attempt is over and cost `tokens`; None where nobody knows: then it cost what was asked for."""
        with self._lock:
            self._in_use -= 1
            if self.adaptive is not None:
                if answered:
                    self.adaptive.answered(now - ticket.granted, now, waiting=bool(self._waiting))
                elif ticket.refused:
                    self.adaptive.refused(ticket.granted, now)
                else:
                    self.adaptive.ended(now)
            if ticket.probe:
                self._breaker.probing = False
            if self._tokens and ticket.tokens and tokens is not None:
                self._tokens.settle(ticket.tokens, tokens)
        self.offer(now)

    def arrived(self, ticket: Ticket, instant: int) -> None:
        """The request was there by `instant`, as the endpoint says how long it worked."""
        with self._lock:
            for spent in (ticket.request, ticket.tokens):
                if spent is not None and spent.at < instant:
                    spent.at = instant

    def recovered(self) -> None:
        """An attempt was answered, while the gate was troubled."""
        with self._lock:
            self._breaker.recovered()
            self._congestion.answered(self._in_use, bool(self._waiting))

    def refused(self, granted: int, now: int) -> None:
        """An attempt that was granted at `granted` was one too many."""
        if self.adaptive is not None:
            return  # which hears of it with the ticket
        with self._lock:
            self._congestion.refused(granted, now, self._in_use)
            self.troubled = True

    def broke(self, error: BackendError, granted: int, now: int, *, hurried: bool = False) -> None:
        """An attempt that was granted at `granted` was not answered; `hurried` says that those who call have no more
        patience than the error asks for."""
        with self._lock:
            self.failed += 1
            self._breaker.broke(error, self.answered, granted, now, hurried=hurried)
            self.troubled |= self._breaker.down

    def pause(self, until: int) -> None:
        """The endpoint asks to be left alone. One that takes other calls meanwhile asks that of one call, which waits
        by itself."""
        with self._lock:
            if self.adaptive is not None and not self.adaptive.refuses_all:
                return
            self._paused_until = max(self._paused_until, until)
            self.troubled = True

    # --- turns -----------------------------------------------------------------------------------------------------

    def wait(self, wake: Callable[[], None]) -> None:
        """`wake` is called once, in the event loop that runs now, when it is worth asking again."""
        with self._lock:
            if all(waiting != wake for _, waiting in self._waiting):
                self._waiting.append((get_running_loop(), wake))

    def leave(self, wake: Callable[[], None]) -> None:
        with self._lock:
            self._waiting = deque(entry for entry in self._waiting if entry[1] != wake)
            self._held = False

    def offer(self, now: int) -> None:
        """Wakes those that wait, longest wait first, until there is nothing left to take."""
        if not self._waiting:
            return
        here = get_running_loop()
        for _ in range(len(self._waiting)):
            with self._lock:
                # Where it is a matter of time, whoever waits longest has to know, and wakes the others when it is over.
                if not self._waiting or self._free_at(1, now) == NOT_YET:
                    return
                entry = self._waiting.popleft()
                self._held = False
                taken = self._taken
            loop, wake = entry
            if loop is not here:
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(wake)
                continue
            wake()
            with self._lock:
                if self._taken == taken and self._waiting and self._waiting[-1] == entry:
                    self._waiting.rotate(1)
                    self._held = True
                    return


def found_limits(gates: Iterable[Gate]) -> tuple[int, ...]:
    """The most calls in flight at each of the gates that was asked, where that is found, or was told meanwhile."""
    asked = (gate for gate in gates if gate.in_flight or gate.answered)
    return tuple(int(gate.most) for gate in asked if gate.is_told or gate.adaptive is not None)
