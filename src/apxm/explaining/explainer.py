"""Explains functions: their loops, their calls, and what these cost and take."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import FunctionType

from apxm.analysis.static import Needs, Range
from apxm.errors import UsageError, hint_for
from apxm.explaining.callees import Callees
from apxm.explaining.counting import counted
from apxm.explaining.explanation import Explanation, FunctionExplained, Given, Number, SiteExplained
from apxm.explaining.formulas import Amount, Formula
from apxm.explaining.loops import Loops
from apxm.explaining.predicting import Predictions, amounts, costs
from apxm.explaining.reading import Readings
from apxm.explaining.shape import Ask, Branch, Loop, Place, Step, Within, all_loops
from apxm.explaining.sources import Sources
from apxm.rewriting.nodes import RefusedError


class Explainer:
    """Explains functions of one program."""

    def __init__(self, callees: Callees, sources: Sources, given: Given) -> None:
        self._callees = callees
        self._readings = Readings(callees)
        self._sources = sources
        self._given = given
        self._known = {name: Amount.of(count) for text, count in given.lengths.items() for name in _names(text)}
        self._predictions = Predictions(self._known, given.slots, given.profile)
        self._loops = Loops(self._readings, sources, self._known)

    def explanation(self, file: str, functions: Sequence[tuple[FunctionType, bool]]) -> Explanation:
        """What is to be said of functions, of which each is a flow or is not. Raises `UsageError` where a length is
        given of what none of them goes through."""
        lengths = {name for function, _ in functions for name in _lengths(self._steps(function))}
        for text in self._given.lengths:
            if not lengths & set(_names(text)) and text not in self._given.arguments:
                known = sorted(map(_as_given, lengths))
                raise UsageError(
                    f"nothing here goes through `{text}`, whose length is given",
                    hint=hint_for(text, known, f"there is {', '.join(known)}" if known else "no loop has a length"),
                )
        called = {each for function, _ in functions for each in self.reachable(function)[1:]}
        explained = tuple(
            self._function(function, is_flow=is_flow, is_entry=is_flow or function not in called)
            for function, is_flow in functions
        )
        return Explanation(self._sources.shown(file), explained, tuple(sorted(map(_as_given, lengths))))

    def needs(self, function: FunctionType) -> Needs:
        """What a function takes, in numbers. Raises `UsageError` where that depends on a length that is not known."""
        steps, (name, file) = self._steps(function), (function.__qualname__, function.__code__.co_filename)
        times, why = self._predictions.of(name, file, steps)
        if times is None:
            raise UsageError(why or "nobody can say what it takes", where=function.__name__)
        between = (Range(each.low, (each.low + each.high) / 2, each.high) for each in (times.t1_ms, times.t_inf_ms))
        return Needs(*map(_range, amounts(steps, self._known)), *between)

    def _steps(self, function: FunctionType) -> Sequence[Step]:
        read = self._readings.of(function)
        return () if read is None else read.steps

    def reachable(self, function: FunctionType) -> list[FunctionType]:
        """A function, and those that it calls and that call a model, in the order in which they are found."""
        found, seen = [function], {function}
        for each in found:
            found += [called for called in self._callees.asking(each) if called not in seen]
            seen.update(found)
        return found

    def _function(self, function: FunctionType, *, is_flow: bool, is_entry: bool) -> FunctionExplained:
        """What is to be said of a function."""
        read, refused = self._readings.of(function), None
        if read is None:
            try:
                self._readings.promised(function, None)
            except RefusedError as error:
                refused = f"line {getattr(error.node, 'lineno', 0)}: {error.message}"
        steps = () if read is None else read.steps
        name, file, known, given = function.__qualname__, function.__code__.co_filename, self._known, self._given
        times, why = self._predictions.of(name, file, steps)
        return FunctionExplained(
            name,
            self._sources.spot(self._head(function)),
            is_flow,
            is_entry,
            refused,
            Number.of(counted(steps).with_lengths(known)),
            () if read is None else tuple(self._loops.of(function, read)),
            tuple(self._sites(steps)),
            tuple(tuple(self._sources.spot(ask.place) for ask in group) for group in _together(steps)),
            costs(steps, known, given.price),
            times,
            why,
        )

    def _head(self, function: FunctionType) -> Place:
        """Where a function begins."""
        source = self._callees.scope(function).source()
        place = Place(function.__code__.co_filename, ast.Pass() if source is None else source[0])
        place.end_line, place.end = place.line, place.start
        return place

    # --- calls

    def _sites(self, steps: Sequence[Step]) -> Iterator[SiteExplained]:
        by_place: dict[tuple[str, int, int], tuple[Ask, Amount]] = {}
        for ask, amount in own_sites(steps, Amount.of(1)):
            before = by_place.get(ask.place.key)
            by_place[ask.place.key] = (ask, amount if before is None else before[1].or_(amount))
        for ask, amount in by_place.values():
            yield SiteExplained(
                self._sources.spot(ask.place), ask.operation, Number.of(amount.with_lengths(self._known))
            )


def _range(amount: Amount) -> Range:
    """Raises `UsageError` where it depends on lengths."""
    if amount.lengths:
        raise UsageError(f"what it takes depends on {', '.join(sorted(amount.lengths))}")
    low, high = amount.low.number or 0.0, None if amount.high is None else amount.high.number
    return Range(low, low if high is None else (low + high) / 2, high)


def _lengths(steps: Sequence[Step]) -> set[str]:
    """What the formulas of a function depend on, those of its loops included."""
    found = counted(steps).lengths
    for loop in all_loops(steps):
        found |= loop.turns.lengths
    return found


def _names(text: str) -> tuple[str, ...]:
    """What formulas may call the length that a user names by `text`: a list, a number, or the line of a `while`."""
    return f"len({text})", text, f"turns of line {text}"


def _as_given(name: str) -> str:
    return name[len("len(") : -1] if name.startswith("len(") else name.removeprefix("turns of line ")


def own_sites(steps: Sequence[Step], times: Amount) -> Iterator[tuple[Ask, Amount]]:
    """The places of a function that call a model, and how often; those of functions that it makes among them."""
    for step in steps:
        match step:
            case Ask():
                yield step, times
            case Branch(ways=ways):
                for way in ways:
                    yield from own_sites(way, Amount(Formula.of(0), times.high))
            case Loop(body=body, turns=turns):
                yield from own_sites(body, times * turns)
            case Within(made=True, body=body):
                yield from own_sites(body, times)
            case _:
                pass


def _together(steps: Sequence[Step]) -> Iterator[list[Ask]]:
    group: list[Ask] = []
    for step in (*steps, None):
        if isinstance(step, Ask) and step.begun:
            group.append(step)
            continue
        if len(group) > 1:
            yield group
        group = []
        match step:
            case Branch(ways=ways):
                for way in ways:
                    yield from _together(way)
            case Loop(body=body) | Within(made=True, body=body):
                yield from _together(body)
            case _:
                pass
