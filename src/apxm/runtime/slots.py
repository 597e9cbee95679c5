"""Which calls may start now: slots of a run, its budget, and the leave of their gates."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import count as numbers
from operator import itemgetter

from apxm.backends.protocol import Handle
from apxm.runtime.budget import NOTHING, Budget, Verdict
from apxm.runtime.gates import NOT_YET, REFUSED, Gate, Ticket
from apxm.runtime.loops import START, RankedClock
from apxm.runtime.phases import OVER, STARTING, UNAFFORDABLE, Phase
from apxm.runtime.waiting import Call

_FOREMOST = itemgetter(1)


class Slots:
    """The slots of one run, and its calls that wait for one.

    A call gets a slot of the run, its gate's ticket and its part of the budget together or none of them, so that none
    is held while waiting for another. Of those that could go, the one with the longest path to the end does.
    """

    def __init__(
        self, limit: int | None, clock: RankedClock, wake: Callable[[], None], budget: Budget | None = None
    ) -> None:
        """`wake` is called when it is worth asking a gate again: it takes a `turn`."""
        self._free = limit
        self._clock = clock
        self._wake = wake
        self._budget = budget
        self._queues: dict[Gate, list[tuple[int, int, Call]]] = {}
        self._sequence = numbers()
        self._timers: dict[Gate, tuple[int, Handle]] = {}

    def take_at_once(self, call: Call, gate: Gate, others: int) -> bool:
        """Whether a call has its slot without a `turn`: nobody waits, and there is room for it and so many others.
        Where all can go, it does not matter who goes first, and to find that out costs 3 µs of each call."""
        if self._free is not None or self._budget is not None or any(self._queues.values()):
            return False
        call.ticket = gate.take_at_once(self._clock.now(), others)
        return call.ticket is not None

    def request(self, call: Call, gate: Gate) -> None:
        """Queues a call; a later `turn` starts it."""
        provider = call.provider
        if gate.counts_tokens and not call.tokens:
            call.tokens = provider.most_tokens(call.request)
        if self._budget is not None and call.worst is NOTHING:
            asked = call.request
            call.request, call.worst = provider.bounded(asked)
            if call.request is not asked and call.made is None:
                call.made = asked
        queue = self._queues.setdefault(gate, [])
        heapq.heappush(queue, (-call.rank, next(self._sequence), call))

    def turn(self, left: Sequence[Call]) -> Iterator[tuple[Phase, Call]]:
        """Takes back what the calls that `left` held, and gives each call whose turn has come, with its next phase:
        `STARTING`, `OVER` where its gate refuses it, or `UNAFFORDABLE`. What became ready by what has just ended
        competes, so it is to be requested before."""
        if not self._queues and not left:
            return  # nothing was asked for yet
        now = self._clock.now()
        self._take_back(left, now)
        able = dict(self._queues)  # gates that may have something to give
        while able and self._free != 0:
            gate, queue = next(iter(able.items())) if len(able) == 1 else min(able.items(), key=_FOREMOST)
            if not queue:  # an empty list sorts before all others; whoever got its call may have had others go
                del able[gate]
                continue
            call = queue[0][2]
            verdict = Verdict.FITS if self._budget is None else self._budget.judge(call.worst, self._wake)
            if verdict is Verdict.NEVER:
                heapq.heappop(queue)
                yield UNAFFORDABLE, call
                continue
            if verdict is Verdict.LATER:
                del able[gate]
                continue
            found = gate.take(call.tokens, now, self._wake, len(queue))
            if isinstance(found, Ticket):
                if self._budget is not None and not self._budget.reserve(call.worst):
                    gate.give_back(found, 0, now)
                    continue
                heapq.heappop(queue)
                call.ticket = found
                if self._free is not None:
                    self._free -= 1
                yield STARTING, call
            elif found == REFUSED:
                heapq.heappop(queue)
                yield OVER, call
            else:
                del able[gate]
                gate.wait(self._wake)
                if found != NOT_YET:
                    self._ask_again(gate, found)

    def _take_back(self, left: Sequence[Call], now: int) -> None:
        if self._free is not None:
            self._free += sum(call.ticket is not None for call in left)
        for call in left:
            ticket, call.ticket = call.ticket, None
            if ticket is None:
                continue
            gate, answer, tokens = call.provider.gate, call.answer, None
            assert gate is not None
            if answer is not None and gate.by_minute:
                tokens = answer.usage.total
                if answer.service_ns is not None:
                    gate.arrived(ticket, call.received - answer.service_ns)
            gate.give_back(ticket, tokens, now, answered=answer is not None)

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

    def forget(self, call: Call) -> None:
        """A call does not wait any more."""
        for queue in self._queues.values():
            kept = [entry for entry in queue if entry[2] is not call]
            if len(kept) < len(queue):
                queue[:] = kept
                heapq.heapify(queue)

    @property
    def waiting(self) -> list[Call]:
        """All that wait, those of one gate in the order in which they would go."""
        return [call for queue in self._queues.values() for _, _, call in sorted(queue)]

    def clear(self, left: Sequence[Call]) -> None:
        """Forgets all that wait, and takes back what the calls that `left` held."""
        gates = list(self._queues)
        for gate in gates:
            gate.leave(self._wake)
        if self._budget is not None:
            self._budget.leave(self._wake)
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queues.clear()
        now = self._clock.now()
        self._take_back(left, now)
        for gate in gates:
            gate.offer(now)  # others may have waited behind this run
