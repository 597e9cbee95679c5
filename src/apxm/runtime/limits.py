"""Who may start now: slots of a run and of the backends it uses."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from operator import itemgetter
from typing import Generic, Protocol, TypeVar

from apxm.backends.protocol import AnyBackend, BackendInfo
from apxm.errors import ConfigurationError
from apxm.runtime.open_files import most_connections


class BackendSlots:
    """The slots of one backend, shared by all runs of the process. Runs that wait take turns."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._in_use = 0
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def free(self) -> bool:
        return self.limit is None or self._in_use < self.limit

    def take(self) -> None:
        self._in_use += 1

    def give_back(self) -> None:
        """Frees a slot and offers it to the waiting runs, longest wait first, until one takes it."""
        self._in_use -= 1
        for _ in range(len(self._waiting)):
            if not self.free:
                break
            self._waiting.popleft()()

    def wait(self, wake: Callable[[], None]) -> None:
        """`wake` is called once, when a slot becomes free."""
        if wake not in self._waiting:
            self._waiting.append(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        if wake in self._waiting:
            self._waiting.remove(wake)


class BackendPool:
    """The backends of a process by name, with their slots. Close it when no run uses it any more."""

    def __init__(self, backends: Mapping[str, AnyBackend], default: str) -> None:
        self.backends = dict(backends)
        self.default = default
        self.slots = {name: BackendSlots(_limit(backend)) for name, backend in self.backends.items()}
        if default not in self.backends:
            raise ConfigurationError(f"the default backend {default!r} is not configured", hint=self._known())

    def get(self, name: str | None) -> tuple[AnyBackend, BackendSlots]:
        """A backend by its name, the default one for None. Raises `ConfigurationError`."""
        key = name or self.default
        if key not in self.backends:
            raise ConfigurationError(
                f"the program asks for backend {key!r}, which is not configured", hint=self._known()
            )
        return self.backends[key], self.slots[key]

    @property
    def info(self) -> BackendInfo:
        """Of the default backend."""
        return self.backends[self.default].info

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.close()

    def _known(self) -> str:
        return f"configured: {', '.join(sorted(self.backends))}"


def _limit(backend: AnyBackend) -> int | None:
    """Calls in flight at once: what the backend allows, and never more than there are files to open for them."""
    limits = (backend.max_concurrency, None if backend.info.simulated else most_connections())
    return min((limit for limit in limits if limit is not None), default=None)


class Waiter(Protocol):
    """An operation that waits for a slot."""

    @property
    def slots(self) -> BackendSlots:
        """Of the backend it uses."""
        ...

    @property
    def rank(self) -> int:
        """Longest path from it to the end of the run; the highest goes first."""
        ...


W = TypeVar("W", bound=Waiter)


class RunSlots(Generic[W]):
    """The slots of one run, and its operations that wait for one.

    An operation gets a slot of the run and one of its backend together or none, so that none is held while waiting for
    the other. Of those that could go, the one with the longest path to the end does.
    """

    def __init__(self, limit: int | None, start: Callable[[W], object], wake: Callable[[], None]) -> None:
        """`start` is called with each operation that has its slots; `wake` when a backend that some wait for has one
        again: it calls `grant`."""
        self._free = limit
        self._start = start
        self._wake = wake
        self._queues: dict[BackendSlots, list[tuple[int, int, W]]] = {}
        self._returned: list[BackendSlots] = []
        """Of slots given back since the last `grant`."""
        self._sequence = count()

    def request(self, waiter: W) -> None:
        """Queues `waiter`; a later `grant` starts it."""
        queue = self._queues.setdefault(waiter.slots, [])
        heapq.heappush(queue, (-waiter.rank, next(self._sequence), waiter))

    def give_back(self, slots: BackendSlots) -> None:
        """Frees a slot of the run and one of the backend, as of the next `grant`: what became ready by what has just
        ended competes for them too."""
        self._returned.append(slots)

    def grant(self) -> None:
        """Starts all that can, those with the longest path to the end first."""
        if not self._queues and not self._returned:
            return  # nothing was asked for yet
        returned, self._returned = self._returned, []
        if self._free is not None:
            self._free += len(returned)
        for slots in returned:
            slots.give_back()
        while self._free != 0:
            able = [queue for slots, queue in self._queues.items() if queue and slots.free]
            if not able:
                for slots, queue in self._queues.items():
                    if queue:
                        slots.wait(self._wake)
                return
            _, _, waiter = heapq.heappop(min(able, key=itemgetter(0)))
            if self._free is not None:
                self._free -= 1
            waiter.slots.take()
            self._start(waiter)

    def clear(self) -> list[W]:
        """Forgets all that wait, and says what did; lets go of what was given back."""
        waiting = [waiter for queue in self._queues.values() for _, _, waiter in sorted(queue)]
        for slots in self._queues:
            slots.leave(self._wake)
        self._queues.clear()
        self.grant()
        return waiting
