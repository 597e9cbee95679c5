"""The heads of the constructs that later versions run: what stands in front of their blocks."""

from __future__ import annotations

from collections.abc import Mapping

from apxm.language.expressions import FlowExpressions
from apxm.language.report import Report
from apxm.language.signatures import UNKNOWN
from apxm.language.syntax import Constant, Expression, Identifier, LaterConstruct, NamedArgument
from apxm.operations.types import BOOL, INT, JSON, LATER_TYPES, Type

Bindings = list[tuple[Identifier, Type]]
"""Names that a construct binds in its blocks, and their types."""


class Heads:
    """The heads in one flow."""

    def __init__(self, expressions: FlowExpressions, report: Report) -> None:
        self._expressions = expressions
        self._report = report

    def check(self, construct: LaterConstruct, carried: Mapping[str, Type] | None) -> Bindings:
        """What the construct binds in its blocks. `carried` is what the loop around it carries, if there is one."""
        keyword = construct.keyword.text
        with self._expressions.within_refused():
            match keyword:
                case "loop":
                    return self._loop(construct)
                case "for":
                    return self._each(construct)
                case "next":
                    self._next(construct, carried)
                case _:
                    for condition in construct.expressions:
                        self._expressions.fit(condition, BOOL, f"the condition of `{keyword}`")
        return [(name, UNKNOWN) for name in construct.bindings]

    def _loop(self, construct: LaterConstruct) -> Bindings:
        start = [option for option in self._without_repeated(construct) if option.name.text != "max"]
        self._limit(construct)
        if not any(option.name.text == "max" for option in construct.options):
            message = "this `loop` has no `max`, and a loop is always bounded"
            advice = "say how often it runs at most: `loop (max: 4, …)`"
            self._report.error("missing-argument", message, construct.keyword.span, advice)
        return [(option.name, self._expressions.value(option.value)) for option in start]

    def _each(self, construct: LaterConstruct) -> Bindings:
        (items,) = construct.expressions
        element = self._element(items)
        for option in self._without_repeated(construct):
            if option.name.text != "max":
                advice = self._report.near(option.name.text, ["max"]) or "it is `for x in items (max: n)`"
                message = f"`for` has no argument `{option.name.text}`"
                self._report.error("unknown-argument", message, option.name.span, advice)
                self._expressions.value(option.value)
        self._limit(construct)
        return [(name, element) for name in construct.bindings]

    def _element(self, items: Expression) -> Type:
        found = self._expressions.value(items)
        if found.element is not None:
            return found.element
        if found == JSON:
            return JSON  # only a run can tell whether this is a list
        if found != UNKNOWN and found.name not in LATER_TYPES:
            message = f"found `{found}`, expected a list: `for` takes its items one by one"
            self._report.error("wrong-type", message, items.span)
        return UNKNOWN

    def _limit(self, construct: LaterConstruct) -> None:
        keyword = construct.keyword.text
        for option in construct.options:
            if option.name.text != "max":
                continue
            found = self._expressions.fit(option.value, INT, f"`max` of `{keyword}`")
            value = option.value.value if isinstance(option.value, Constant) else None
            if found == INT and isinstance(value, int) and value < 1:
                message = f"`max` of `{keyword}` is at least 1, and this is {value}"
                self._report.error("out-of-range", message, option.value.span)

    def _next(self, construct: LaterConstruct, carried: Mapping[str, Type] | None) -> None:
        for option in self._without_repeated(construct):
            name = option.name.text
            if carried is not None and name in carried:
                self._expressions.fit(option.value, carried[name], f"the next `{name}`")
                continue
            self._expressions.value(option.value)
            if carried is None:
                continue  # outside of a loop, which is reported
            listed = ", ".join(f"`{known}`" for known in carried)
            otherwise = f"it carries {listed}" if carried else f"give it a start: `loop (max: 4, {name}: …)`"
            message = f"the `loop` around this carries no `{name}`"
            advice = self._report.near(name, carried) or otherwise
            self._report.error("unknown-argument", message, option.name.span, advice)

    def _without_repeated(self, construct: LaterConstruct) -> list[NamedArgument]:
        seen: dict[str, NamedArgument] = {}
        for option in construct.options:
            if option.name.text in seen:
                message = f"`{option.name.text}` is given twice"
                self._report.error("duplicate-argument", message, option.name.span)
                if option.name.text != "max":
                    self._expressions.value(option.value)
            seen.setdefault(option.name.text, option)
        return list(seen.values())
