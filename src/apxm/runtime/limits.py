"""Who may start now: slots of a run, and its backends' leave."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from itertools import count as numbers
from operator import itemgetter
from typing import Generic, Protocol, TypeVar

import msgspec

from apxm.backends.numbers import count, seconds, whole
from apxm.backends.protocol import AnyBackend, BackendInfo, Handle, Limits
from apxm.errors import ConfigurationError, UsageError
from apxm.runtime.gates import NOT_YET, REFUSED, Gate, Ticket
from apxm.runtime.loops import START, RankedClock
from apxm.runtime.open_files import most_connections
from apxm.runtime.retries import RetryBudget
from apxm.source import shortened


class Gates:
    """Gates that several pools share, because they are about the same endpoints."""

    def __init__(self) -> None:
        self._gates: dict[object, Gate] = {}
        self.retries = RetryBudget(self._gates.values())

    def gate(self, backend: AnyBackend) -> Gate:
        info, limits = backend.info, _limits(backend)
        key = info.name, info.endpoint, limits.max_concurrency, limits.requests_per_minute, limits.tokens_per_minute
        return self._gates.setdefault(key, Gate(info.name, limits))


PROCESS = Gates()
"""For pools made from a configuration: two runs of a process with the same one are at the same endpoints."""


class BackendPool:
    """The backends of a process by name, with their gates. Close it when no run uses it any more."""

    def __init__(self, backends: Mapping[str, AnyBackend], default: str, shared: Gates | None = None) -> None:
        """What is simulated shares nothing: each such backend is an endpoint of its own."""
        self.backends = dict(backends)
        self.default = default
        for name, backend in self.backends.items():
            _check(name, backend)
        self.gates = {
            name: shared.gate(backend) if shared and not backend.info.simulated else Gate(name, _limits(backend))
            for name, backend in self.backends.items()
        }
        real = shared and not all(backend.info.simulated for backend in self.backends.values())
        self.retries = shared.retries if shared and real else RetryBudget(self.gates.values())
        if default not in self.backends:
            raise ConfigurationError(f"the default backend {default!r} is not configured", hint=self._known())

    def __repr__(self) -> str:
        names = shortened(", ".join(sorted(self.backends)), 60)
        return f"BackendPool(default={self.default!r}, backends={names!r})"

    def get(self, name: str | None) -> tuple[AnyBackend, Gate]:
        """A backend by its name, the default one for None. Raises `ConfigurationError`."""
        key = name or self.default
        if key not in self.backends:
            raise ConfigurationError(
                f"the program asks for backend {key!r}, which is not configured", hint=self._known()
            )
        return self.backends[key], self.gates[key]

    @property
    def info(self) -> BackendInfo:
        """Of the default backend."""
        return self.backends[self.default].info

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.close()

    def _known(self) -> str:
        return f"configured: {', '.join(sorted(self.backends))}"


def _check(name: str, backend: object) -> None:
    """Of a backend that somebody wrote in Python, what else would be found out by a run that waits for ever. Raises
    `ConfigurationError`."""

    def refuse(what: str) -> ConfigurationError:
        return ConfigurationError(f"backend {name!r} is none: {what}")

    info, limits = getattr(backend, "info", None), getattr(backend, "limits", None)
    if not isinstance(info, BackendInfo):
        raise refuse(f"its info is a {type(info).__name__}, expected a BackendInfo")
    if not isinstance(limits, Limits):
        raise refuse(f"its limits are a {type(limits).__name__}, expected Limits")
    try:
        for field in ("max_concurrency", "requests_per_minute", "tokens_per_minute", "max_tokens"):
            if (number := getattr(limits, field)) is not None:
                count(number, f"limits.{field}")
        if limits.timeout_s is not None:
            seconds(limits.timeout_s, "limits.timeout_s")
        whole(limits.retries, "limits.retries")
    except UsageError as error:
        raise refuse(error.message) from None
    begin, call = getattr(backend, "begin", None), getattr(backend, "call", None)
    if begin is None and call is None:
        raise refuse("it has neither a method begin nor a method call")
    if begin is not None and iscoroutinefunction(begin):
        raise refuse("its begin is an async function, which nobody awaits; such a backend has a method call")


def _limits(backend: AnyBackend) -> Limits:
    """What the backend allows, and never more calls in flight than there are files to open for them."""
    limits = backend.limits
    files = None if backend.info.simulated else most_connections()
    most = min((limit for limit in (limits.max_concurrency, files) if limit is not None), default=None)
    return msgspec.structs.replace(limits, max_concurrency=most)


class Waiter(Protocol):
    """An operation that waits for a slot."""

    ticket: Ticket | None
    """Of the running attempt; None where nothing was limited when it began."""
    used: int | None
    """Tokens that it cost; None where nobody knows."""

    @property
    def gate(self) -> Gate:
        """Of the backend it uses."""
        ...

    @property
    def tokens(self) -> int:
        """Most that an attempt costs; 0 where the gate does not count them."""
        ...

    @property
    def rank(self) -> int:
        """Longest path from it to the end of the run; the highest goes first."""
        ...


W = TypeVar("W", bound=Waiter)


class RunSlots(Generic[W]):
    """The slots of one run, and its operations that wait for one.

    An operation gets a slot of the run and its backend's ticket together or none of them, so that none is held while
    waiting for the other. Of those that could go, the one with the longest path to the end does.
    """

    def __init__(
        self,
        limit: int | None,
        clock: RankedClock,
        start: Callable[[W], object],
        refuse: Callable[[W], object],
        wake: Callable[[], None],
        afford: Callable[[W], bool | None],
    ) -> None:
        """`start` is called with each operation that has its slots, `refuse` with each that will get none; `wake` when
        it is worth asking a backend again: it calls `grant`. `afford` says whether the run can pay for an operation:
        None where it will never be, and it is forgotten."""
        self._free = limit
        self._clock = clock
        self._start = start
        self._refuse = refuse
        self._wake = wake
        self._afford = afford
        self._queues: dict[Gate, list[tuple[int, int, W]]] = {}
        self._returned: list[tuple[Gate, Ticket, int | None]] = []
        """Since the last `grant`."""
        self._sequence = numbers()
        self._timers: dict[Gate, tuple[int, Handle]] = {}

    def request(self, waiter: W) -> None:
        """Queues `waiter`; a later `grant` starts it."""
        queue = self._queues.setdefault(waiter.gate, [])
        heapq.heappush(queue, (-waiter.rank, next(self._sequence), waiter))

    def give_back(self, waiter: W) -> None:
        """Frees a slot of the run and one of the backend, as of the next `grant`: what became ready by what has just
        ended competes for them too."""
        if waiter.ticket is not None:
            self._returned.append((waiter.gate, waiter.ticket, waiter.used))
            waiter.ticket = waiter.used = None

    def grant(self) -> None:
        """Starts all that can, those with the longest path to the end first."""
        if not self._queues and not self._returned:
            return  # nothing was asked for yet
        returned, self._returned = self._returned, []
        if self._free is not None:
            self._free += len(returned)
        now = self._clock.now()
        for gate, ticket, tokens in returned:
            gate.give_back(ticket, tokens, now)
        blocked: set[Gate] = set()
        while self._free != 0:
            able = [queue for gate, queue in self._queues.items() if queue and gate not in blocked]
            if not able:
                return
            queue = min(able, key=itemgetter(0))
            _, _, waiter = queue[0]
            gate = waiter.gate
            affordable = self._afford(waiter)
            if not affordable:
                if affordable is None:
                    heapq.heappop(queue)
                else:
                    blocked.add(gate)
                continue
            found = gate.take(waiter.tokens, now, self._wake)
            if isinstance(found, Ticket):
                heapq.heappop(queue)
                waiter.ticket = found
                if self._free is not None:
                    self._free -= 1
                self._start(waiter)
            elif found == REFUSED:
                heapq.heappop(queue)
                self._refuse(waiter)
            else:
                blocked.add(gate)
                gate.wait(self._wake)
                if found != NOT_YET:
                    self._ask_again(gate, found)

    def _ask_again(self, gate: Gate, when: int) -> None:
        if armed := self._timers.get(gate):
            if armed[0] <= when:
                return
            armed[1].cancel()

        def due() -> None:
            del self._timers[gate]
            gate.offer(self._clock.now())  # to whoever waits longest
            if self._queues.get(gate) and gate not in self._timers:
                self._wake()

        self._timers[gate] = when, self._clock.call_at(when, due, START)

    @property
    def waiting(self) -> list[W]:
        """All that wait, those of one backend in the order in which they would go."""
        return [waiter for queue in self._queues.values() for _, _, waiter in sorted(queue)]

    def clear(self) -> list[W]:
        """Forgets all that wait, and says what did; lets go of what was given back."""
        waiting = self.waiting
        gates = list(self._queues)
        for gate in gates:
            gate.leave(self._wake)
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queues.clear()
        self.grant()
        for gate in gates:
            gate.offer(self._clock.now())  # others may have waited behind this run
        return waiting
