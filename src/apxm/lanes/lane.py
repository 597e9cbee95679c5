"""Lanes: threads of control of one run, each a greenlet, of which one at a time runs Python.

A lane that waits is *parked*: its greenlet has switched to the *hub*'s, the one of the event loop, which resumes
whoever is ready. So nothing of a lane runs beside another one, and between two waits nothing changes behind its back.

The lanes of an `each` open one after the other, each when the one before it has parked: so what iterations do before
their first call happens in the order of the program. What they do to anything that outlives them waits for their turn,
which comes when all earlier ones are over.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from traceback import print_exception
from types import CodeType
from typing import Any, NamedTuple, NoReturn

from greenlet import GreenletExit, getcurrent
from msgspec import Struct

from apxm.effects.libraries import MADE_NEW
from apxm.errors import UsageError
from apxm.forks import tell_of_forks
from apxm.lanes.drawn import Before, changes_nothing, is_drawn_from, read
from apxm.lanes.items import NO_PARTS, Parts, Undo, keeping, parts_of
from apxm.lanes.streams import OwnStreams
from apxm.lanes.workers import worker
from apxm.runtime.inner_loops import lift, put_back
from apxm.runtime.watch import WATCH

LANE: ContextVar[Lane | None] = ContextVar("apxm lane", default=None)
"""The lane that this code runs in. A thread has a context of its own, and so none."""


class Effect(Struct, frozen=True):
    """Something that a lane does to what outlives it, kept until its turn."""

    owner: Lane | None
    """The lane in which what it touches was made; None where nobody knows."""
    function: Callable[..., object]
    arguments: tuple[Any, ...]


class Lane:
    """The flow itself, or one iteration of an `each`."""

    __slots__ = (
        "before",
        "cancelled",
        "counts",
        "effects",
        "ended",
        "greenlet",
        "hub",
        "in_head",
        "in_line",
        "index",
        "loop",
        "main",
        "over",
        "owned",
        "parts",
        "pending",
        "step",
        "streams",
        "turns",
        "undo",
    )

    def __init__(
        self,
        hub: Hub,
        main: Callable[[Lane], object],
        loop: EachRun | None = None,
        index: int = 0,
        parts: Parts = NO_PARTS,
    ) -> None:
        """Calls `main` with itself, once it is resumed. `loop` is the `each` of which it is an iteration, from 0, and
        `parts` is what belongs to it from there on."""
        self.hub = hub
        self.loop = loop
        self.index = index
        self.parts = parts
        """What can be changed of its item, by `id`."""
        self.in_line = False
        """Whether it has begun a line on standard error, and not ended it."""
        self.undo: dict[int, Undo] = {}
        """What makes what it changed of its item what it was, by `id`."""
        self.in_head = True
        """Whether it has not called a model yet: so far, the lanes of a loop run one after the other, in order."""
        self.cancelled = False
        self.over = False
        self.owned: dict[int, object] = {}
        """The objects that were made in it, by `id`; it holds them, so that no other object gets the same."""
        self.effects: list[Effect] = []
        """What waits for its turn, in order; what it wrote to standard output is among that."""
        self.before: tuple[int, ...] = () if loop is None else loop.opener.frontier
        """The operations of the run that its next one comes behind."""
        self.turns: tuple[int, ...] = ()
        """Those of earlier iterations that it comes behind as well, as it has waited for its turn."""
        self.ended: tuple[int, ...] = ()
        """Those of its own that have come to an end since its last one began."""
        self.step: str | None = None
        """The path of the step that it is in, which may be left out when the run goes on."""
        self.counts: dict[str, int] = {}
        """How often each call site asked, by its path, and each loop began."""
        self.pending: dict[int, object] = {}
        """What it asked and has not got yet, by the operation's number."""

        self.streams = OwnStreams(None if loop is None else loop.opener.streams, LANE.get)
        self.main = main
        self.greenlet = worker(hub.greenlet, self.run)
        context = copy_context()
        context.run(LANE.set, self)
        self.greenlet.gr_context = context

    def run(self) -> bool:
        """All that its greenlet does for it. Gives whether that may run another lane."""
        self.streams.put()
        self.main(self)
        opener = self.opener
        if opener is not None and not self.cancelled:
            self.streams.leave(opener.streams)
        elif opener is not None:
            self.streams.set_aside()
        self.over = True  # however it ended: from here on the greenlet is another lane's
        return not self.cancelled

    @property
    def opener(self) -> Lane | None:
        """The lane around it."""
        return None if self.loop is None else self.loop.opener

    # --- paths -----------------------------------------------------------------------------------------------------

    def path(self, place: str, code: CodeType) -> str:
        """The path of a place such as ``label:9`` in `code`, as it runs in this lane: ``label:9[17]`` in the iteration
        17 of the loop around it, ``label:7[17]/helper:30`` in a function that this iteration calls."""
        loop = self.loop
        if loop is None or loop.code is not code:
            return self.path_prefix + place
        return f"{loop.prefix}{place}{loop.indices}[{self.index}]"

    @property
    def name(self) -> str:
        """The path of its iteration, such as ``label:7[17]``; empty for the flow."""
        return self.path_prefix.removesuffix("/")

    @property
    def path_prefix(self) -> str:
        """What the paths of functions that it calls begin with."""
        if self.step is not None:
            return f"{self.step}/"
        loop = self.loop
        return "" if loop is None else f"{loop.prefix}{loop.place}{loop.indices}[{self.index}]/"

    def counted(self, path: str) -> int:
        """The how manieth time this is that it comes to a path."""
        count = self.counts[path] = self.counts.get(path, 0) + 1
        return count

    # --- waiting ---------------------------------------------------------------------------------------------------

    def park(self, to: Callable[[], Any] | None = None) -> Any:
        """Lets others go on until this lane is resumed, and gives what it is resumed with, or raises it. `to` switches
        to whoever goes on; without it that is the hub."""
        if self.cancelled:
            raise GreenletExit
        if getcurrent() is not self.greenlet:
            raise UsageError(
                "a lane was asked to wait by a greenlet that is not its own",
                hint="call models from the flow itself, not from a greenlet that a library made",
            )
        switch = to or self.hub.switch
        self.streams.set_aside()
        marks = lift(self.hub.hooks)  # of an event loop of its own
        try:
            return switch()
        finally:
            put_back(marks)
            self.streams.put()

    def cancel(self, how: type[BaseException] = GreenletExit) -> None:
        """Ends it where it stands, by raising `how` there: its `finally` blocks run, and none of what it kept for its
        turn is done."""
        self.cancelled = not self.over
        self.effects.clear()
        self.hub.give_up(self)
        if not self.over and not self.greenlet.dead:
            self.greenlet.parent = getcurrent()  # whoever ends it goes on then
            ending = LANE.get()
            if ending is not None:
                ending.streams.set_aside()
            marks = lift(self.hub.hooks)
            try:
                self.greenlet.throw(how)
            finally:
                put_back(marks)
                if ending is not None:
                    ending.streams.put()
        self.over = True
        for undo in reversed(self.undo.values()):
            undo()

    def left(self, outcome: object) -> None:
        """The code that it runs has come to an end, and gave or raised `outcome`."""
        if self.hub.forked_in is self:
            _end_copy(outcome)

    # --- operations ------------------------------------------------------------------------------------------------

    @property
    def frontier(self) -> tuple[int, ...]:
        """The operations that whatever it does next comes behind."""
        return self.ended or (*self.before, *self.turns)

    def come_behind(self, operations: tuple[int, ...]) -> None:
        """Its turn has come: what it does next comes behind these, too."""
        if self.turns == operations and not self.ended:
            return
        self.before, self.ended = self.ended or self.before, ()
        self.turns = tuple(each for each in dict.fromkeys((*self.turns, *operations)) if each not in self.before)

    def come_next(self) -> None:
        """It begins an operation: that comes behind those of its own that are over, which came behind all others."""
        if self.ended:
            self.before, self.ended, self.turns = self.ended, (), ()

    # --- turns -----------------------------------------------------------------------------------------------------

    def leave_head(self) -> None:
        """It calls a model, or ends: others may begin."""
        if not self.in_head:
            return
        self.in_head = False
        for lane in reversed(self._within(None)):
            assert lane.loop is not None
            lane.loop.let_open(lane)

    def hold(self) -> None:
        """Lets no other iteration begin until it has left its head, for which it is about to wait though its text does
        not show that: what stands in front of the first calls happens in order."""
        for lane in reversed(self._within(None)):
            if not lane.in_head or lane.loop is None:
                return
            lane.loop.held = lane

    def take_turn(self, owner: Lane | None = None) -> None:
        """Waits until all that comes before it in the program has been done to what belongs to `owner`, a lane around
        it; without one, to anything."""
        if self.cancelled:
            return  # nothing that it does counts any more, but what it opened has to be closed
        for lane in self._within(owner):
            assert lane.loop is not None
            lane.loop.take_turn(lane, self)

    def _within(self, owner: Lane | None) -> list[Lane]:
        """The lanes around it and itself, from the outermost inside `owner` on; never the flow."""
        found: list[Lane] = []
        lane = self
        while lane.loop is not None and lane is not owner:
            found.append(lane)
            lane = lane.loop.opener
        return found[::-1]

    @property
    def runs_here(self) -> bool:
        """Whether this code is its own: a thread may have been given its context."""
        return getcurrent() is self.greenlet

    @property
    def may_draw(self) -> bool:
        """Whether it may take from a sequence that all share, such as random numbers, without waiting for its turn: all
        around it are in front of their first calls, behind which nobody takes from it."""
        return all(lane.in_head and lane.loop and not lane.loop.draws_late for lane in self._within(None))

    @property
    def all_in_head(self) -> bool:
        """Whether all around it are in front of their first calls: what they do happens in the order of the program."""
        return all(lane.in_head for lane in self._within(None))

    @property
    def has_turn(self) -> bool:
        """Whether it may do anything at once."""
        return all(lane.loop and lane.loop.first is lane for lane in self._within(None))

    def later(self, owner: Lane | None, function: Callable[..., object], *arguments: Any) -> None:
        """Calls the function at its turn: now, where that has come."""
        if self.has_turn:
            self._catch_up()
            function(*arguments)
        else:
            self.effects.append(Effect(owner, function, arguments))

    def write(self, text: str) -> None:
        """Writes to standard output, at its turn."""
        self.later(None, self.hub.write, text)

    def settle(self) -> None:
        """Its turn among the lanes of its loop has come: does what was kept for that, and leaves to the lane around it
        what belongs further outside."""
        opener = self.opener
        assert opener is not None
        self.leave()
        if opener.has_turn:
            self._catch_up()
            return
        effects, self.effects = self.effects, []
        for effect in effects:
            if effect.owner is opener:
                effect.function(*effect.arguments)
            else:
                opener.effects.append(effect)
            if self.effects:  # what that itself has put off
                opener.effects += self.effects
                self.effects = []

    def leave(self) -> None:
        """All earlier lanes of its loop are over: what it has changed of its item stays as it is, unless a lane around
        it turns out not to begin."""
        opener = self.opener
        if self.undo and opener is not None and not opener.has_turn:
            opener.undo = {**self.undo, **opener.undo}
        self.undo = {}

    def _catch_up(self) -> None:
        """Does what it and the lanes around it have kept: it is the turn of all of them."""
        kept: list[Effect] = []
        for lane in self._within(None):
            kept += lane.effects
            lane.effects = []
        for effect in kept:  # what one of them does in turn comes before the next one
            effect.function(*effect.arguments)

    # --- what belongs to it ----------------------------------------------------------------------------------------

    def own(self, thing: object) -> None:
        """Somebody has just made `thing` here: nobody else can see it."""
        self.owned[id(thing)] = thing

    def own_container(self, thing: object) -> None:
        """As `own`, for what may be a container, which others could change, or anything else."""
        if isinstance(thing, MADE_NEW):
            self.owned[id(thing)] = thing  # pyright: ignore[reportUnknownArgumentType] - of whatever it holds

    def owner_of(self, thing: object) -> Lane | None:
        """The lane in which an object was made, this one or one around it; None where nobody knows."""
        lane: Lane | None = self
        while lane is not None:
            if id(thing) in lane.owned or id(thing) in lane.parts:
                return lane
            lane = lane.opener
        return None

    def owns(self, thing: object) -> bool:
        """Whether it may change `thing` at once: it was made here, or is its item, or a part of that."""
        if self.owner_of(thing) is not self:
            return False
        if id(thing) not in self.owned and id(thing) not in self.undo and not self.has_turn:
            self.undo[id(thing)] = keeping(thing)
        return True

    # --- rules -----------------------------------------------------------------------------------------------------

    def rule(self, place: str, owner: Lane | None = None) -> str | None:
        """What holds here for a place, such as ``.stats``, by the loops inside `owner`, a lane around this one:
        ``turn``, ``later`` or ``free``; None where nobody knows."""
        found, lane = "free", self
        while lane.loop is not None and lane is not owner:
            rule = lane.loop.rules.get(place)
            if rule is None or rule == "turn":
                return rule
            if rule == "later":
                found = rule
            lane = lane.loop.opener
        return found

    def waits_to_read(self, place: str, owner: Lane | None = None) -> bool:
        """Whether an iteration before it may still change a place that it is to read."""
        lane: Lane = self
        while lane.loop is not None and lane is not owner:
            rules = lane.loop.rules
            # A function that another one made names what that one has by its number, and a loop that knows it by its
            # text alone does not.
            if rules.get(place, rules.get(place.partition("@")[0])) == "turn":
                return True
            lane = lane.loop.opener
        return False

    def has_rule(self, place: str) -> bool:
        """Whether a loop around it uses a place, or changes it."""
        return any(lane.loop is not None and place in lane.loop.rules for lane in self._within(None))


MOST_OPEN = 4096
"""The most lanes of one loop that are open at once."""
_MANY = 8
"""With more operations than this in front of it, an operation names one join instead."""


Rules = tuple[tuple[str, str], ...]
"""What holds for places in a loop, as `Lane.rule` says it."""


class Broke(NamedTuple):
    """An iteration left its loop by `break`."""


class Returned(NamedTuple):
    """An iteration returned from the function around its loop."""

    value: Any


class EachRun:
    """One `each` while it runs."""

    __slots__ = (
        "_before",
        "_body",
        "_closing",
        "_items",
        "_lanes",
        "_last",
        "_most",
        "_opening",
        "_outcome",
        "_raised",
        "_waiting",
        "code",
        "depth",
        "draws_late",
        "first",
        "held",
        "indices",
        "opened",
        "opener",
        "place",
        "prefix",
        "rules",
    )

    def __init__(
        self,
        opener: Lane,
        around: CodeType,
        place: str,
        body: Callable[[Any], object],
        code: CodeType,
        most_open: int,
        draws_late: bool = False,
        rules: Rules = (),
    ) -> None:
        """The loop at `place`, such as ``label:7``, in the code `around`. `body`, which runs `code`, is called with
        each item, and gives None, `Broke` or `Returned`; at most `most_open` lanes are open at once."""
        self.opener = opener
        self.code = code
        self.draws_late = draws_late
        self.rules = dict(rules)
        """Those of attributes, and of names of modules."""
        self.place = place
        loop = opener.loop
        self.depth = 1 if loop is None else loop.depth + 1
        """How many loops it is in, itself counted. A lane has a stack of its own, which Python counts alone."""
        if self.depth > sys.getrecursionlimit():
            raise RecursionError(f"maximum recursion depth exceeded: {self.depth} loops over `each` in each other")
        inside = loop is not None and loop.code is around
        self.prefix = loop.prefix if loop is not None and inside else opener.path_prefix
        """What the paths of its lanes begin with: the lanes around it, where it stands in another function."""
        self.indices = f"{loop.indices}[{opener.index}]" if loop is not None and inside else ""
        """Those of the lanes around it in the same function, and how often it has run there."""
        path = f"{self.prefix}{place}{self.indices}"
        opener.counts[path] = count = opener.counts.get(path, 0) + 1
        self.indices += f"#{count}" if count > 1 else ""
        self._body = body
        self._most = most_open
        self._items: set[int] = set()
        """The objects that belong to the items of open lanes, by `id`."""
        self._lanes: dict[int, Lane] = {}
        """Those that are open or have yet to end, by index."""
        self._waiting: dict[Lane, list[Lane]] = {}
        """The lanes that wait for the turn of each: itself, or lanes inside it."""
        self._before: tuple[int, ...] = opener.frontier
        """The operations that the turn of the first lane comes behind."""
        self.first: Lane | None = None
        """The lane whose turn it is."""
        self.held: Lane | None = None
        """The lane that the next one waits for, to begin."""
        self.opened = 0
        self._closing = False
        """Whether no further lane opens, as one of them has left the loop."""
        self._opening = True
        """Whether there may be items that no lane has yet."""
        self._outcome: object = None
        self._raised: Exception | None = None
        """What the items themselves raised, behind the last one."""
        self._last = deque[tuple[Lane, object]](maxlen=2)
        """The lanes that were opened last, with their items: some iterators have a second buffer."""

    def run(self, items: Iterator[Any]) -> object:
        """Runs all iterations, from the opener's own greenlet. Gives how they left the loop, as `body` does, or raises
        what one of them raised."""
        opener = self.opener
        try:
            self.open_all(items)
            self._opening = False
            while self._lanes and self._outcome is None:
                opener.hub.wait_for(self)
            self._drop()
        except BaseException:  # the run is over
            self._drop()
            raise
        opener.before, opener.ended, opener.turns = self._before, (), ()
        raised = self._raised if self._outcome is None else self._outcome
        if isinstance(raised, BaseException):
            raise raised
        return raised

    def open_all(self, items: Iterator[Any]) -> None:
        """Opens a lane for each item."""
        hub = self.opener.hub
        while not self._closing:
            if len(self._lanes) >= self._most:
                self._wait_to_open()
                continue
            try:
                item, groups = self._draw(items)
            except StopIteration:
                return
            except Exception as error:  # line by line, what stands before has been done by now
                self._raised = error
                return
            parts = parts_of(item)
            while not self._closing and not self._items.isdisjoint(parts):
                self._wait_to_open()  # an open lane has the same object
            if self._closing:
                return
            self._items.update(parts)
            lane = Lane(hub, self._main(item), self, self.opened, parts)
            for group in groups:
                lane.own(group)
            self._last.append((lane, item))
            self.opened += 1
            self._lanes[lane.index] = lane
            if self.first is None:
                self.first = lane
            hub.open(lane)
            while self.held is lane and not lane.over and not self._closing:
                hub.wait_for(self)

    def _draw(self, items: Iterator[Any]) -> tuple[Any, list[object]]:
        """The next item, and the iterators in it that nobody else has. What drawing it does to those before waits until
        their iterations are over."""
        if changes_nothing(items):
            return next(items), []
        before = Before([item for lane, item in self._last if not lane.over])
        item, groups, raised = None, list[object](), None
        try:
            item, groups = read(next(items))
        except Exception as error:  # that there is no next one, too
            raised = error
        if (again := before.undone()) is not None:
            if raised is None:
                self._go_in_sequence("changes an item once the next one is drawn; with new objects, they overlap")
            while self._lanes and not self._closing:
                self._wait_to_open()
            if not self._closing:  # else nothing would have been drawn
                again()
        if raised is not None:
            raise raised
        if is_drawn_from(item, groups):
            self._go_in_sequence("gives iterators, which may share what they are drawn from; with lists, they overlap")
        return item, groups

    def _go_in_sequence(self, why: str) -> None:
        if self._most > 1:
            self._most = 1
            self.opener.hub.warn(f"{self.place} runs one iteration after the other, as what it goes through {why}")

    def let_open(self, lane: Lane) -> None:
        """A lane has left its head, or one inside it has."""
        if self.held is lane:
            self.held = None
            self.opener.hub.tell(self)

    def _wait_to_open(self) -> None:
        if self.opener.loop is not None:
            self.opener.in_head = False  # lanes that open later are not in front of those of other loops
        self.opener.hub.wait_for(self)

    def _main(self, item: Any) -> Callable[[Lane], None]:
        def main(lane: Lane) -> None:
            outcome: object = None
            try:
                outcome = self._body(item)
            except BaseException as error:
                outcome = error
            lane.left(outcome)
            if lane.cancelled or isinstance(outcome, GreenletExit):
                lane.over = True
            elif isinstance(outcome, KeyboardInterrupt):
                lane.hub.abort(outcome)
            else:
                self._end(lane, outcome)

        return main

    def _end(self, lane: Lane, outcome: object) -> None:
        """An iteration is over, in its own greenlet. What it leaves behind, and how it ended, waits for its turn."""
        if outcome is not None:
            self._closing = True
        lane.leave_head()
        if outcome is not None or lane.effects:
            try:
                self.take_turn(lane, lane)
            except GreenletExit:
                lane.over = True
                return
            except BaseException as error:  # of what was kept for its turn
                outcome = error
        lane.over = True
        lane.owned.clear()
        if outcome is not None:
            self._closing, self._outcome = True, outcome
            lane.hub.tell(self)
        elif self.first is lane:
            self._advance()

    # --- turns -----------------------------------------------------------------------------------------------------

    def take_turn(self, lane: Lane, waiting: Lane) -> None:
        """Waits until `lane`, which is `waiting` itself or a lane around that, is the first one; then does what was
        kept for that."""
        if self.first is not lane:
            self._waiting.setdefault(lane, []).append(waiting)
            waiting.park()
        waiting.come_behind(self._before)  # whether it had to wait or not
        lane.settle()

    def _advance(self) -> None:
        """The first lane is over: the turn goes on to the first that is not."""
        index = -1 if self.first is None else self.first.index
        while (lane := self._lanes.get(index)) is not None and lane.over:
            del self._lanes[index]
            self._items.difference_update(lane.parts)
            lane.leave()
            self._come_behind(lane)
            index += 1
        self.first = self._lanes.get(index)
        hub = self.opener.hub
        if self.first is not None:
            for waiting in self._waiting.pop(self.first, ()):
                hub.ready.append((waiting, None))
        if self._opening or not self._lanes:
            hub.tell(self)

    def _come_behind(self, lane: Lane) -> None:
        """What follows comes behind the operations of a lane that is over."""
        found = tuple(dict.fromkeys((*self._before, *lane.frontier)))
        self._before = found if len(found) <= _MANY else (lane.hub.join(found),)

    def _drop(self) -> None:
        """Ends the lanes that are still open, the last one first."""
        lanes, self._lanes = self._lanes, {}
        for lane in reversed(lanes.values()):
            lane.cancel()


class Hub:
    """The lanes of one run. It is made in the greenlet of the event loop, where `go` is called."""

    def __init__(
        self,
        write: Callable[[str], None],
        join: Callable[[tuple[int, ...]], int],
        give_up: Callable[[Lane], None],
        abort: Callable[[BaseException], None],
        stopped: Callable[[], bool],
        held_up: Callable[[str, int, str], None],
        in_flight: Callable[[], bool],
        warn: Callable[[str], None],
    ) -> None:
        """`write` writes to the run's standard output; `join` makes one operation of several that come before it;
        `give_up` cancels what a lane has asked; `abort` ends the run, and `stopped` says whether it is to end;
        `held_up` is told of a place, such as ``label:9[17]``, that let nobody else go on for so many ns, at a line;
        `in_flight` says whether there are calls, so that somebody might; `warn` tells the user something, once."""
        self.greenlet = getcurrent()
        self.switch: Callable[[], Any] = self.greenlet.switch
        self.hooks = sys.get_asyncgen_hooks()
        self.write = write
        self.join = join
        self.give_up = give_up
        self.abort = abort
        self.ready: deque[tuple[Lane, object]] = deque()
        """The lanes that can go on, with what they are resumed with."""
        self._stopped = stopped
        self.held_up = held_up
        self.in_flight = in_flight
        self.warn = warn
        self.resumed = 0
        """How often lanes were resumed."""
        self.outside = 0
        """How many lanes wait for something that is no call: a time, a thread."""
        self._waiting: dict[EachRun, Lane] = {}
        self.forked_in: Lane | None = None
        """The lane in which this process was forked from the one that runs the lanes."""
        tell_of_forks(self)

    def forked(self) -> None:
        """The event loop, the connections and the journal are the parent's: nothing here is in a lane any more."""
        self.switch = _refuse_in_copy
        self.forked_in = LANE.get()
        LANE.set(None)

    def go(self) -> None:
        """Resumes lanes until none is ready."""
        if WATCH.asleep:
            WATCH.wake()
        ready, marks = self.ready, lift()
        try:
            while ready and not self._stopped():
                lane, outcome = ready.popleft()
                if lane.over:
                    continue
                self.resumed += 1
                if isinstance(outcome, BaseException):
                    lane.greenlet.throw(outcome)
                else:
                    lane.greenlet.switch(outcome)
        finally:
            put_back(marks)

    def open(self, lane: Lane) -> None:
        """Begins a lane, from its opener's greenlet, which goes on as soon as that has parked."""
        opener = lane.opener
        assert opener is not None
        self.ready.appendleft((opener, None))
        if self._stopped() or self.forked_in is not None or opener.loop is not None:
            # Of a lane in a lane, too: one that this greenlet begins is as deep as it, so that a flow which calls
            # itself in its iterations would soon be too deep for Python.
            self.ready.appendleft((lane, None))
            opener.park()
        else:
            self.resumed += 1
            opener.park(lane.greenlet.switch)  # as the hub would, which saves going there

    def wait_for(self, loop: EachRun) -> None:
        """Parks the opener of a loop until that has something to tell."""
        self._waiting[loop] = loop.opener
        try:
            loop.opener.park()
        finally:
            self._waiting.pop(loop, None)

    def tell(self, loop: EachRun) -> None:
        opener = self._waiting.pop(loop, None)
        if opener is not None:
            self.ready.append((opener, None))


def _refuse_in_copy() -> NoReturn:
    raise UsageError(
        "a process that was forked inside of a flow waits for what its parent runs",
        hint="there, run flows of its own, and end it by os._exit, as multiprocessing does",
    )


def _end_copy(outcome: object) -> NoReturn:
    """Ends a process that was forked in a lane and leaves that, with what its code gave or raised: it would carry its
    parent's run to its end a second time."""
    status = 1
    if isinstance(outcome, SystemExit) and isinstance(outcome.code, int | None):
        status = outcome.code or 0
    else:
        if isinstance(outcome, BaseException):
            print_exception(outcome)
        print("apxm: a process that was forked inside of a flow has left it; end it by os._exit", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
