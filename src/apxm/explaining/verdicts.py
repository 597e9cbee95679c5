"""What is to be said of a loop: whether its iterations are independent, and which lines decide that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from apxm.explaining.shape import (
    Ask,
    Branch,
    Does,
    Later,
    Leave,
    Loop,
    Place,
    Placed,
    Rule,
    Step,
    Trusted,
    Wait,
    Within,
    asks,
)


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
    does: str
    """``waits`` for its turn, is done ``later``, or is ``trusted``."""
    why: str
    seen: bool
    asks_behind: bool
    """Whether a call of a model comes behind it, in the same iteration."""
    inside: tuple[str, Place] | None
    """The function that the line calls, and where in that it is."""

    @property
    def waits(self) -> bool:
        return self.does == "waits"


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    notes: Sequence[Note]
    is_held_back: bool
    """Whether a call of an iteration waits for iterations before it."""


def judged(loop: Loop) -> Judged:
    """What is to be said of an `each`."""
    notes = list(_notes(loop))
    waits = [note for note in notes if note.waits]
    blocking = [note for note in waits if note.asks_behind]
    held_back = bool(blocking) or (loop.in_sequence and not loop.lookahead)
    if loop.in_sequence and loop.leaves:
        return Judged(Verdict.EARLY_EXIT, notes, held_back)
    if loop.in_sequence or any(note.seen for note in blocking):
        return Judged(Verdict.CARRIED, notes, held_back)
    if any(not note.seen for note in notes):
        return Judged(Verdict.UNKNOWN, notes, held_back)
    return Judged(Verdict.INDEPENDENT, notes, held_back)


@dataclass(frozen=True)
class _Event:
    step: Wait | Later | Trusted
    outer: Place | None
    """The line of the iteration that calls the function in which it is."""
    function: str
    asks_behind: bool


@dataclass(frozen=True)
class _Around:
    """Where steps stand."""

    rules: Sequence[Mapping[str, Rule]]
    """Those of the loops around, the outermost first."""
    outer: Place | None = None
    function: str = ""


@dataclass(frozen=True)
class _After:
    """Whether a model may be asked behind something."""

    asks: bool = False
    at_end: bool = False
    """Where the iteration ends there, or the function returns."""


def _notes(loop: Loop) -> Iterator[Note]:
    found: dict[tuple[object, ...], Note] = {}
    for event in reversed(_events(loop.body, _Around([loop.rules]), _After())[0]):
        step = event.step
        place = step.place if event.outer is None else event.outer
        inside = None if event.outer is None else (event.function, step.place)
        note = Note(place, _does(step), step.why, _is_seen(step), event.asks_behind, inside)
        key = (place.line, note.does, step.why, step.place.line)
        if key not in found or note.asks_behind:
            found[key] = note
    yield from sorted(found.values(), key=lambda note: (note.place.line, note.place.start))


def _does(step: Wait | Later | Trusted) -> str:
    match step:
        case Wait():
            return "waits"
        case Later():
            return "later"
        case Trusted():
            return "trusted"


def _is_seen(step: Wait | Later | Trusted) -> bool:
    return isinstance(step, Later) or step.seen


def _events(steps: Sequence[Step], around: _Around, after: _After) -> tuple[list[_Event], bool]:
    """What happens there, the last first, and whether a model may be asked from its beginning on."""
    found: list[_Event] = []
    asked = after.asks
    for step in reversed(steps):
        match step:
            case Ask():
                asked = True
            case Leave():
                asked = after.at_end
            case Branch(ways=ways):
                each = [_events(way, around, _After(asked, after.at_end)) for way in ways]
                found += [event for events, _ in reversed(each) for event in events]
                asked = any(asks for _, asks in each)
            case Loop(body=body, promised=promised):
                inner = replace(around, rules=[*around.rules, step.rules]) if promised else around
                # The second turn of a plain loop comes behind the first one.
                again = asked or (not promised and asks(body))
                events, inside = _events(body, inner, _After(again, after.at_end if not promised else asked))
                found += events
                asked = asked or inside
            case Within(body=body, place=place, name=name):
                inner = replace(around, outer=around.outer or place, function=around.function or name)
                events, asked = _events(body, inner, _After(asked, asked))
                found += events
            case _:
                done = _done(step, around)
                if done is not None:
                    found.append(_Event(done, around.outer, around.function, asked))
    return found, asked


def _done(step: Wait | Later | Trusted | Placed, around: _Around) -> Wait | Later | Trusted | None:
    """What lanes do there; None where they simply go on."""
    match step:
        case Wait(loops=int(loops)) if loops < len(around.rules):
            return None
        case Placed():
            return ruled(step, around.rules)
        case _:
            return step


def ruled(step: Placed, rules: Sequence[Mapping[str, Rule]]) -> Wait | Later | None:
    """What loops make of what is done to an attribute or a name of a module; `Lane.rule` does the same."""
    found = [each.get(step.name) for each in reversed(rules)]
    says = next((rule.says if rule else "turn" for rule in found if rule is None or rule.says == "turn"), None)
    if says is None:
        says = "later" if any(rule is not None and rule.says == "later" for rule in found) else "free"
    name = f"`{step.name.strip(':=').partition('@')[0]}`"
    known = [rule for rule in found if rule is not None]
    seen = len(known) == len(found) and all(rule.seen for rule in known)
    if step.does is Does.READS:
        if not any(rule.says == "turn" for rule in known):
            return None
        lines = [line for rule in known for line in rule.changes if line != step.place.line]
        seen = all(rule.seen for rule in known)
        doing = "changes" if seen else "may change"
        more = f", which line {lines[0]} {doing}" if lines else ", which iterations change"
        return Wait(step.place, f"it reads {name}{more}", None, seen)
    if says == "free":
        return None
    if says == "later" and step.does is Does.CHANGES and step.can_be_later:
        return Later(step.place, f"{name} is changed, and nobody reads it")
    lines = [line for rule in known for line in rule.reads if line != step.place.line]
    more = f", which line {lines[0]} reads" if lines else ""
    return Wait(step.place, f"it {step.does.value} {name}{more}", None, seen)
