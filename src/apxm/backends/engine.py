"""An engine with continuous batching: what a call costs in tokens, and what calls at once do to each other.

It works in iterations, as vLLM, TGI and llama.cpp do. At most `slots` calls are in service, the others wait, first
come, first served. In an iteration each call that has begun its answer gets its next token, and the prompts that are
not read yet are read on, at most `chunk` tokens of them together, in their order. So an iteration takes

    step + the `decode` of each call that gets a token + the `prefill` of each token that is read

and a prompt that is read holds up all answers. The end of its prompt is the first token of an answer. Before it comes
to the engine a call takes `fixed`, which nothing shares. A serial engine has one slot.

The state here is pure: it knows no clock, and its numbers are whole ones of any unit of time. Equal iterations between
two events are one step, so a call costs a few events, however many tokens it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

BLOCK = 16
"""Tokens of a block. What was read before is known by whole blocks."""
_MOST_BLOCKS = 1 << 20
"""The most that are remembered, then all are forgotten: sixteen million tokens."""


@dataclass(frozen=True)
class Costs:
    """What the calls of an engine cost, in one unit of time."""

    fixed: int
    step: int
    prefill: int
    decode: int
    slots: int | None = None
    """None where there is one for every call."""
    chunk: int | None = None
    """None where whole prompts are read at once."""
    cache: bool = False
    """Whether the beginning of a prompt that was read before is not read again."""


class Tokens(NamedTuple):
    """What a call asks of an engine."""

    prompt: int
    answer: int
    blocks: Sequence[object] = ()
    """The prompt, cut into blocks, where it has to be known again."""


class EngineCall:
    """A call at an engine."""

    __slots__ = (
        "answer", "arrives", "blocks", "cached", "cancelled", "decode", "first", "last", "left", "over", "prefill",
        "prompt", "watched",
    )  # fmt: skip

    def __init__(self, tokens: Tokens, arrives: int, costs: Costs, ratio: float, *, watched: bool) -> None:
        self.arrives = arrives
        self.prompt, self.answer, self.blocks = tokens
        self.prefill, self.decode = costs.prefill, costs.decode
        if ratio != 1.0:
            self.prefill, self.decode = round(ratio * costs.prefill), round(ratio * costs.decode)
        self.watched = watched
        """Whether somebody waits for each of its tokens."""
        self.left = -1
        """Tokens of the prompt that are not read; negative before it is in service."""
        self.last = 0
        """The iteration that ends it, once its answer has begun."""
        self.cached = 0
        """Tokens of the prompt that did not have to be read."""
        self.first: int | None = None
        """When its prompt was read."""
        self.over: int | None = None
        """When it was answered, or left."""
        self.cancelled = False


@dataclass
class PrefixCache:
    """Prompts that were read, block by block: each leads to the blocks that came behind it."""

    _known: dict[object, dict[object, object]] = field(default_factory=dict[object, dict[object, object]])
    _size: int = 0

    def tokens(self, blocks: Sequence[object]) -> int:
        """How many tokens of a prompt's beginning were read before."""
        place, found = self._known, 0
        for block in blocks:
            behind = place.get(block)
            if behind is None:
                break
            place, found = behind, found + BLOCK  # pyright: ignore[reportAssignmentType] - a tree has no finite type
        return found

    def add(self, blocks: Sequence[object]) -> None:
        if self._size > _MOST_BLOCKS:
            self.forget()
        place = self._known
        for block in blocks:
            behind = place.get(block)
            if behind is None:
                behind = place[block] = {}
                self._size += 1
            place = behind  # pyright: ignore[reportAssignmentType] - as above

    def forget(self) -> None:
        self._known, self._size = {}, 0


class Engine:
    """The calls at one engine. Whoever drives it calls `advance` before anything else at a new instant."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.load = 0
        """Calls that are not over."""
        self.cache = PrefixCache()
        self.changed: deque[EngineCall] = deque()
        """The calls that got a token that somebody waits for, or were answered, in this order; for whoever drives it to
        take."""
        self._sequence = count()
        self._instant = 0
        """When the iteration under way began."""
        self._iterations = 0
        self._waiting: list[tuple[int, int, EngineCall]] = []
        """Calls that wait for a slot or are on their way, in the order of arrival."""
        self._reading: deque[EngineCall] = deque()
        self._answering: list[tuple[int, int, EngineCall]] = []
        """By the iteration that ends each. One that was cancelled has no part in it, and stays until it surfaces."""
        self._running = 0
        self._decode = 0
        """What one token for each of those that are answered takes."""
        self._watched: list[EngineCall] = []
        self._leaving: list[EngineCall] = []
        """Calls that were cancelled in the iteration under way, which goes on with them."""

    def add(self, tokens: Tokens, now: int, ratio: float = 1.0, *, watched: bool = False) -> EngineCall:
        """A call that is sent at `now`; its tokens cost `ratio` times what they do by `costs`."""
        if not self.load:
            self._instant = now  # it may be that of another clock
        arrives = now + self.costs.fixed
        call = EngineCall(tokens, arrives, self.costs, ratio, watched=watched)
        heappush(self._waiting, (arrives, next(self._sequence), call))
        self.load += 1
        return call

    def cancel(self, call: EngineCall, now: int) -> None:
        """Takes a call away: with the iteration under way, or at once where nobody waits for that any more."""
        if call.cancelled or call.over is not None:
            return
        call.cancelled = True
        self.load -= 1
        if not self.load:
            self._running = self._decode = 0
            for calls in (self._waiting, self._reading, self._answering, self._watched, self._leaving):
                calls.clear()
        elif call.left >= 0:
            self._leaving.append(call)
            if self._instant >= now:
                self._let_go()

    def advance(self, now: int | None) -> None:
        """Goes on to `now`; with None until nothing is left."""
        while True:
            if not self._running:
                arrival = self._next_arrival()
                if arrival is None or (now is not None and arrival > now):
                    return
                self._instant = max(self._instant, arrival)
            self._admit()
            each, most = self._stretch()
            if now is not None and self._instant + each * most > now:
                done = (now - self._instant) // each
                if done:
                    self._work(each, done)
                return
            self._work(each, most)

    def next_change(self) -> int | None:
        """The next instant at which anything changes, if nothing else arrives."""
        if not self._running:
            arrival = self._next_arrival()
            if arrival is None or arrival > self._instant:
                return arrival
        self._admit()
        each, most = self._stretch()
        return self._instant + each * most

    def _next_arrival(self) -> int | None:
        while self._waiting and self._waiting[0][2].cancelled:
            heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def _admit(self) -> None:
        slots = self.costs.slots
        while (slots is None or self._running < slots) and (arrival := self._next_arrival()) is not None:
            if arrival > self._instant:
                return
            call = heappop(self._waiting)[2]
            if self.costs.cache:
                # The last token is always read: from it follows the first one of the answer.
                call.cached = max(0, min(self.cache.tokens(call.blocks), call.prompt - 1))
            call.left = call.prompt - call.cached
            self._running += 1
            self._reading.append(call)
            if call.watched:
                self._watched.append(call)

    def _stretch(self) -> tuple[int, int]:
        """How long an iteration takes as things are, and how many such iterations there are at most."""
        each = self.costs.step + self._decode
        chunk, most = self.costs.chunk, None
        if self._reading:
            first = self._reading[0]
            if chunk is not None and first.left > chunk:
                each += chunk * first.prefill
                most = (first.left - 1) // chunk
            else:
                room = chunk
                for call in self._reading:
                    read = call.left if room is None else min(call.left, room)
                    each += read * call.prefill
                    if room is not None:
                        room -= read
                        if not room:
                            break
                most = 1
        while self._answering and self._answering[0][2].over is not None:
            heappop(self._answering)
        if self._answering:
            ends = self._answering[0][0] - self._iterations
            most = ends if most is None else min(most, ends)
        assert most is not None, "a call in service is read or answered"
        if self._leaving or self._watched:
            return each, 1
        slots = self.costs.slots
        if each and (slots is None or self._running < slots) and (arrival := self._next_arrival()) is not None:
            most = min(most, -((self._instant - arrival) // each))  # rounded up: it waits for the iteration's end
        return each, most

    def _work(self, each: int, iterations: int) -> None:
        """Makes so many iterations, of which only the last one may change anything."""
        self._instant += each * iterations
        self._iterations += iterations
        told = [call for call in self._watched if call.first is not None] if self._watched else []
        self._read(iterations)
        while self._answering and self._answering[0][0] <= self._iterations:
            call = heappop(self._answering)[2]
            if call.over is None:
                self._decode -= call.decode
                self._end(call)
        if self._leaving:
            self._let_go()
        self.changed.extend(call for call in told if call.over is None and not call.cancelled)

    def _read(self, iterations: int) -> None:
        room = None if self.costs.chunk is None else self.costs.chunk * iterations
        while self._reading:
            call = self._reading[0]
            read = call.left if room is None else min(call.left, room)
            call.left -= read
            if room is not None:
                room -= read
            if call.left:
                return
            self._reading.popleft()
            call.first = self._instant
            if self.costs.cache:
                self.cache.add(call.blocks)
            if call.answer <= 1:
                self._end(call)
                continue
            call.last = self._iterations + call.answer - 1
            heappush(self._answering, (call.last, next(self._sequence), call))
            self._decode += call.decode
            if call.watched and not call.cancelled:
                self.changed.append(call)

    def _end(self, call: EngineCall) -> None:
        call.over = self._instant
        self._running -= 1
        if call.watched:
            self._watched.remove(call)
        if not call.cancelled:
            self.load -= 1
            self.changed.append(call)

    def _let_go(self) -> None:
        """The iteration is over in which calls were cancelled."""
        for call in self._leaving:
            if call.over is not None:
                continue
            if call.first is None:
                self._reading.remove(call)
            else:
                self._decode -= call.decode
            self._end(call)
        self._leaving.clear()
