"""What is to be said of a loop: whether its iterations are independent, and which lines decide that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from apxm.lanes.explaining.shape import Ask, Branch, Later, Loop, Place, Step, Wait, Within


class Verdict(Enum):
    INDEPENDENT = "independent"
    """No call of a model can see what another iteration does."""
    CARRIED = "carried"
    """What an iteration leaves is there before the next one asks."""
    EARLY_EXIT = "early exit"
    """An iteration may leave the loop, once it has an answer."""
    UNKNOWN = "unknown"
    """It does something that the text does not show."""


@dataclass(frozen=True)
class Note:
    """What lanes do at one place of an iteration."""

    place: Place
    waits: bool
    """Whether it waits for its turn; else it is done later."""
    why: str
    seen: bool
    asks_behind: bool
    """Whether a call of a model comes behind it, in the same iteration."""
    inside: tuple[str, Place] | None
    """The function that the line calls, and where in that it is."""


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    notes: Sequence[Note]
    is_held_back: bool
    """Whether a call of an iteration waits for iterations before it."""


def judged(loop: Loop) -> Judged:
    """What is to be said of an `each`."""
    notes = list(_notes(loop.body))
    waits = [note for note in notes if note.waits]
    blocking = [note for note in waits if note.asks_behind]
    held_back = bool(blocking) or (loop.in_sequence and not loop.lookahead)
    if loop.in_sequence and loop.leaves:
        return Judged(Verdict.EARLY_EXIT, notes, held_back)
    if loop.in_sequence or any(note.seen for note in blocking):
        return Judged(Verdict.CARRIED, notes, held_back)
    if any(not note.seen for note in waits):
        return Judged(Verdict.UNKNOWN, notes, held_back)
    return Judged(Verdict.INDEPENDENT, notes, held_back)


@dataclass(frozen=True)
class _Event:
    step: Ask | Wait | Later
    outer: Place | None
    """The line of the iteration that calls the function in which it is."""
    function: str


def _notes(body: Sequence[Step]) -> Iterator[Note]:
    events = list(_events(body, 0, None, ""))
    last = max((k for k, event in enumerate(events) if isinstance(event.step, Ask)), default=-1)
    found: dict[tuple[object, ...], Note] = {}
    for k, event in enumerate(events):
        step = event.step
        if isinstance(step, Ask):
            continue
        place = step.place if event.outer is None else event.outer
        inside = None if event.outer is None else (event.function, step.place)
        waits = isinstance(step, Wait)
        note = Note(place, waits, step.why, step.seen if isinstance(step, Wait) else True, k < last, inside)
        found.setdefault((place.line, waits, step.why, step.place.line), note)
    yield from sorted(found.values(), key=lambda note: (note.place.line, note.place.start))


def _events(steps: Sequence[Step], depth: int, outer: Place | None, function: str) -> Iterator[_Event]:
    """What happens in an iteration, in order, `depth` loops over `each` further in."""
    for step in steps:
        match step:
            case Ask() | Later():
                yield _Event(step, outer, function)
            case Wait(loops=loops):
                if loops is None or loops > depth:
                    yield _Event(step, outer, function)
            case Branch(ways=ways):
                for way in ways:
                    yield from _events(way, depth, outer, function)
            case Loop(body=body, promised=promised):
                for _ in range(1 if promised else 2):  # the second turn comes behind the first one
                    yield from _events(body, depth + promised, outer, function)
            case Within(body=body, place=place, name=name):
                yield from _events(body, depth, outer or place, function or name)
