"""What is said of a loop, in words: whether its iterations are independent, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FunctionType

from msgspec.structs import replace

from apxm.explaining.counting import counted
from apxm.explaining.explanation import Inside, LineExplained, LoopExplained, Number
from apxm.explaining.formulas import Amount
from apxm.explaining.reading import Read, Readings
from apxm.explaining.rewritten import Refusal
from apxm.explaining.shape import Loop, Place, all_loops, asks
from apxm.explaining.sources import Sources
from apxm.explaining.verdicts import Judged, Note, Verdict, judged
from apxm.rewriting.nodes import RefusedError
from apxm.rewriting.promises import OF_ASYNC, OF_WHILE


class Loops:
    """Explains loops of one program."""

    def __init__(self, readings: Readings, sources: Sources, known: Mapping[str, Amount]) -> None:
        """`known` are lengths."""
        self._readings = readings
        self._sources = sources
        self._known = known

    def of(self, function: FunctionType, read: Read) -> list[LoopExplained]:
        """The loops of a function that promise something, refused ones included, or call a model."""
        found: dict[object, LoopExplained] = {}
        for loop in all_loops(read.steps):
            promises = loop.promised or (loop.place.line, loop.place.start) in read.text.refused
            if loop.place.key not in found and (promises or asks(loop.body)):
                found[loop.place.key] = self._loop(function, loop, read)
        return sorted(found.values(), key=lambda loop: (loop.at.line, loop.at.column))

    def _loop(self, function: FunctionType, loop: Loop, read: Read) -> LoopExplained:
        refusal = read.text.refused.get((loop.place.line, loop.place.start))
        if refusal is not None:
            return self._refused(loop, refusal)
        return self._explained(loop, judged(loop)) if loop.promised else self._plain(function, loop)

    def _plain(self, function: FunctionType, loop: Loop) -> LoopExplained:
        """A loop that promises nothing: what would be, if it did."""
        key = (loop.place.line, loop.place.start)
        if loop.kind == "while":
            return self._told(loop, Verdict.CARRIED, OF_WHILE, None, (), can_promise=False)
        if loop.kind not in ("for", "comprehension"):
            why = f"`{loop.kind}` calls it, one after the other or in threads of its own"
            return self._told(loop, Verdict.UNKNOWN, why, "write it as a loop", (), can_promise=False)
        if self._readings.is_run_by_others(function):
            return self._told(loop, Verdict.UNKNOWN, OF_ASYNC, None, (), can_promise=False)
        try:
            read = self._readings.promised(function, key)
        except RefusedError as error:
            return self._told(loop, Verdict.UNKNOWN, error.message, error.hint, (), can_promise=False)
        assert read is not None
        if key in read.text.refused:
            return self._refused(loop, read.text.refused[key], is_error=False)
        promised = next(each for each in all_loops(read.steps) if each.promised and each.place.key == loop.place.key)
        return self._explained(promised, judged(promised), promised=False)

    def _refused(self, loop: Loop, refusal: Refusal, *, is_error: bool = True) -> LoopExplained:
        verdict = Verdict.CARRIED if refusal.is_carried else Verdict.UNKNOWN
        place = Place(loop.place.file, refusal.node)
        line = LineExplained(self._sources.spot(place), "refused", refusal.message, True, None)
        hint = refusal.hint
        if refusal.is_carried and not is_error:  # it is written as it has to be
            hint = "where iterations need not see it, collect what they find, and use it behind the loop"
        told = self._told(loop, verdict, refusal.message, hint, (line,), can_promise=False)
        return replace(told, promised=is_error, is_error=is_error, is_held_back=True)

    def _explained(self, loop: Loop, found: Judged, *, promised: bool = True) -> LoopExplained:
        lines = tuple(map(self._line, found.notes))
        can_promise = not promised and found.verdict in (Verdict.INDEPENDENT, Verdict.UNKNOWN)
        why, hint = _why(loop, found, promised)
        told = self._told(loop, found.verdict, why, hint, lines, can_promise=can_promise)
        return replace(told, promised=promised, is_held_back=found.is_held_back)

    def _told(
        self,
        loop: Loop,
        verdict: Verdict,
        why: str,
        hint: str | None,
        lines: tuple[LineExplained, ...],
        *,
        can_promise: bool,
    ) -> LoopExplained:
        at = self._sources.spot(loop.place)
        calls = counted([loop])
        return LoopExplained(
            at, loop.kind, loop.items, loop.promised, verdict.value, why, hint,
            f"{at.file}:{at.line}" if can_promise and loop.kind == "for" else None,
            Number.of(loop.turns.with_lengths(self._known)), Number.of(calls.with_lengths(self._known)), lines,
        )  # fmt: skip

    def _line(self, note: Note) -> LineExplained:
        inside = None
        if note.inside is not None:
            name, place = note.inside
            inside = Inside(name, self._sources.shown(place.file), place.line)
        return LineExplained(self._sources.spot(note.place), note.does, note.why, note.seen, inside)


def _why(loop: Loop, found: Judged, promised: bool) -> tuple[str, str | None]:
    """Why a loop is judged so, and what to do about it."""
    waits = [note for note in found.notes if note.waits]
    before = [note for note in waits if note.asks_behind]
    match found.verdict:
        case Verdict.INDEPENDENT:
            if not asks(loop.body):
                return "no model is called in it", None
            behind = f"; {_lines(waits)}, behind the last call" if waits else ""
            return f"no call can see what another iteration does{behind}", None
        case Verdict.CARRIED:
            if not any(note.seen for note in before):
                return "it changes what it goes through", None
            note = next(note for note in before if note.seen)
            hint = "move it behind the last call, or keep what it needs to the iteration" if promised else None
            return f"line {note.place.line} comes before a call: {note.why}", hint
        case Verdict.EARLY_EXIT:
            if loop.lookahead:
                return f"an answer may end it: {loop.lookahead} iterations run ahead", None
            hint = "`each(…, lookahead=K)` lets K iterations run ahead; their answers are thrown away where it ends"
            return "an answer may end it, so no iteration runs ahead", hint
        case Verdict.UNKNOWN:
            unseen = [note for note in found.notes if not note.seen]
            held = [note for note in unseen if note.asks_behind and note.waits]
            first = (held or unseen)[0]
            ahead = "; what is behind it waits, too" if held else ""
            hint = _PROMISE if not promised else _PURE if held else None
            return f"line {first.place.line}: {first.why}{ahead}", hint


_PURE = "`@pure` above a function of yours promises that it changes nothing which another iteration could see"
_PROMISE = "promise it only where no call depends on what that does in another iteration"


def _lines(notes: Sequence[Note]) -> str:
    numbers = list(dict.fromkeys(note.place.line for note in notes))
    if len(numbers) == 1:
        return f"line {numbers[0]} waits for its turn"
    return f"lines {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} wait for their turn"
