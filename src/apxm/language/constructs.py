"""The constructs: what stands in their heads, and what their blocks give."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from apxm.language import syntax
from apxm.language.declarations import Findings
from apxm.language.expressions import FlowExpressions
from apxm.language.report import UNKNOWN
from apxm.language.statements import Destination, FlowStatements, Place
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import BOOL, INT, JSON, PLAN, STR, VERDICT, Type
from apxm.source import Span

Bindings = Iterable[tuple[syntax.Identifier, Type]]
"""Names that a construct binds in a block, and their types."""


class FlowConstructs(FlowStatements):
    """The statements of one flow, those included that hold blocks. Each construct has a method."""

    def __init__(self, expressions: FlowExpressions, findings: Findings) -> None:
        super().__init__(expressions, findings)
        self._carried: list[dict[str, Type]] = []
        """The names that each loop carries, from the outermost loop."""

    def _construct(self, statement: syntax.Statement, place: Place) -> None:
        match statement:
            case syntax.Switch():
                self._switch(statement, place)
            case syntax.If():
                self._if(statement, place)
            case syntax.Loop():
                self._loop(statement)
            case syntax.For():
                self._for(statement)
            case syntax.Try():
                self._try(statement, place)
            case syntax.Until():
                self._condition(statement.condition, "until")
            case syntax.Next():
                self._next(statement)
            case _:
                raise AssertionError(f"no check for {type(statement).__name__}")

    # --- what their blocks give

    def _inside(self, construct: syntax.Construct, place: Place) -> Place:
        """Where the blocks of `construct` stand, which is at `place` itself."""
        if construct.target is not None:
            name = f"the `{construct.keyword}` bound to `{construct.target.text}`"
            place = Place(Destination(name), is_last=True)
            place.destination.through.append(construct)
        elif place.is_last:
            place.destination.through.append(construct)
            if place.destination.takes_value:
                self._findings.tail.add(construct)
        else:
            place = place._replace(inside=place.inside or construct.keyword)
        return place

    def _bind_result(self, construct: syntax.Construct, place: Place) -> None:
        """Is called behind the last block of `construct`; `place` is where the blocks stood."""
        if construct.target is not None:
            destination = place.destination
            self._settle(destination)
            choices = tuple(dict.fromkeys(chain(*destination.choices))) if all(destination.choices) else ()
            self._scopes.bind(construct.target, destination.type, choices=choices)

    def _block_with(self, block: syntax.Block, bindings: Bindings, place: Place) -> None:
        self._scopes.enter()
        for name, found in bindings:
            self._scopes.bind(name, found)
        self._block(block, place)
        self._scopes.leave()

    # --- switch

    def _switch(self, switch: syntax.Switch, place: Place) -> None:
        found = self._expressions.value(switch.selector)
        if found not in (STR, VERDICT, UNKNOWN):
            message = f"found `{found}`, expected `str`: `switch` compares text"
            advice = 'make it text: `switch "" + …`' if found.present != STR else "`x as str` fails where it is null"
            self._report.error("wrong-type", message, switch.selector.span, advice)
        choices = self._expressions.choices_of(switch.selector)
        if found == VERDICT and (label := VERDICT.field("label")) is not None:
            choices = label.choices
        self._labels(switch, choices)
        inside = self._inside(switch, place)
        for block in switch.blocks:
            self._block(block, inside)
        self._bind_result(switch, inside)

    def _labels(self, switch: syntax.Switch, choices: tuple[str, ...]) -> None:
        """`choices` are the texts of which the selector is one, where that is known."""
        if not switch.cases:
            self._report.error("empty-switch", "this `switch` has no `case`", switch.span.first(len("switch")))
        seen: dict[str, Span] = {}
        for case in switch.cases:
            label = case.label
            if not isinstance(label.value, str):
                message = "the label of a case is text, in quotes"
                self._report.error("wrong-type", message, label.span)
                continue
            folded = fold_label(label.value)
            if folded in seen:
                message = f"this case is the same as the one on line {seen[folded].line}"
                advice = "labels are compared without surrounding blanks, capital and small letters being equal"
                self._report.error("duplicate-label", message, label.span, advice)
            seen.setdefault(folded, label.span)
        if choices and switch.cases:
            self._match(switch, choices, seen)

    def _match(self, switch: syntax.Switch, choices: tuple[str, ...], labels: dict[str, Span]) -> None:
        """Each of `choices` has its case, and each of `labels` its choice."""
        matched = {choice: matching_label(choice, labels) for choice in choices}
        listed = ", ".join(f'"{choice}"' for choice in choices)
        for label in labels.keys() - set(matched.values()):
            message = f"this case never comes: the value is one of {listed}"
            self._report.error("impossible-case", message, labels[label], self._report.near(label, choices))
        missing = [f'"{choice}"' for choice, label in matched.items() if label is None]
        if missing and switch.default is None:
            message = f"this `switch` has no case for {', '.join(missing)}, and no `default`"
            self._report.error("missing-case", message, switch.span.first(len("switch")))

    # --- if, try

    def _if(self, branch: syntax.If, place: Place) -> None:
        for condition in branch.conditions:
            self._condition(condition, "if")
        inside = self._inside(branch, place)
        for block in branch.blocks:
            self._block(block, inside)
        destination = inside.destination
        if branch.otherwise is None and inside.is_last and destination.takes_value and destination.required:
            message = f"{destination.name} gives a value, and there is none where no condition holds"
            self._report.error("missing-return", message, branch.span.first(len("if")), "add `else { return … }`")
        self._bind_result(branch, inside)

    def _condition(self, condition: syntax.Expression, keyword: str) -> None:
        self._expressions.fit(condition, BOOL, f"the condition of `{keyword}`")

    def _try(self, attempt: syntax.Try, place: Place) -> None:
        inside = self._inside(attempt, place)
        self._block(attempt.body, inside)
        self._block_with(attempt.handler, [(attempt.error, UNKNOWN)] if attempt.error else [], inside)
        self._bind_result(attempt, inside)

    # --- loop, for

    def _loop(self, loop: syntax.Loop) -> None:
        self._limit(loop)
        carried = [
            (argument.name, self._expressions.value(argument.value))
            for argument in self._without_repeated(loop.arguments)
            if argument.name.text != "max"
        ]
        if not any(argument.name.text == "max" for argument in loop.arguments):
            message = "this `loop` has no `max`, and a loop is always bounded"
            advice = "say how often it runs at most: `loop (max: 4, …)`"
            self._report.error("missing-argument", message, loop.span.first(len("loop")), advice)
        self._carried.append({name.text: found for name, found in carried})
        self._repeated(loop, carried)
        self._carried.pop()
        if loop.target is not None:
            self._scopes.bind(loop.target, carried[0][1] if len(carried) == 1 else UNKNOWN)

    def _for(self, each: syntax.For) -> None:
        element = self._element(each.items)
        for argument in self._without_repeated(each.arguments):
            if argument.name.text != "max":
                advice = self._report.near(argument.name.text, ["max"]) or "it is `for x in items (max: n)`"
                message = f"`for` has no argument `{argument.name.text}`"
                self._report.error("unknown-argument", message, argument.name.span, advice)
                self._expressions.value(argument.value)
        self._limit(each)
        returned = self._repeated(each, [(each.item, element)])
        if each.target is not None:
            known = returned != UNKNOWN
            found = self._expressions.list_type(returned, each.span.first(len("for"))) if known else UNKNOWN
            self._scopes.bind(each.target, found)

    def _repeated(self, repetition: syntax.Repetition, bindings: Bindings) -> Type:
        """What its block returns; `UNKNOWN` where that is nothing."""
        own = Destination(f"this `{repetition.keyword}`", required=False)
        self._block_with(repetition.body, bindings, Place(own, is_last=True))
        self._settle(own)
        return own.type

    def _element(self, items: syntax.Expression) -> Type:
        found = self._expressions.value(items)
        if found.is_list:
            return found.element or JSON
        if found == JSON:
            return JSON  # only a run can tell whether this is a list
        if found != UNKNOWN:
            message = f"found `{found}`, expected a list: `for` takes its items one by one"
            advice = "the steps of a plan are a list: `p.steps`" if found == PLAN else None
            if found.present.is_list or found.present == JSON:
                advice = f"`x as {found.present}` fails where it is null"
            self._report.error("wrong-type", message, items.span, advice)
        return UNKNOWN

    def _limit(self, repetition: syntax.Repetition) -> None:
        keyword = repetition.keyword
        for argument in repetition.arguments:
            if argument.name.text != "max":
                continue
            found = self._expressions.fit(argument.value, INT, f"`max` of `{keyword}`")
            value = argument.value.value if isinstance(argument.value, syntax.Constant) else None
            if found == INT and isinstance(value, int) and value < 1:
                message = f"`max` of `{keyword}` is at least 1, and this is {value}"
                self._report.error("out-of-range", message, argument.value.span)

    def _next(self, carry: syntax.Next) -> None:
        carried = self._carried[-1] if self._carried else None
        for argument in self._without_repeated(carry.arguments):
            name = argument.name.text
            if carried is not None and name in carried:
                self._expressions.fit(argument.value, carried[name], f"the next `{name}`")
                continue
            self._expressions.value(argument.value)
            if carried is None:
                continue  # outside of a loop, which is reported
            listed = ", ".join(f"`{known}`" for known in carried)
            otherwise = f"it carries {listed}" if carried else f"give it a start: `loop (max: 4, {name}: …)`"
            message = f"the `loop` around this carries no `{name}`"
            advice = self._report.near(name, carried) or otherwise
            self._report.error("unknown-argument", message, argument.name.span, advice)

    def _without_repeated(self, arguments: tuple[syntax.NamedArgument, ...]) -> list[syntax.NamedArgument]:
        seen: dict[str, syntax.NamedArgument] = {}
        for argument in arguments:
            if argument.name.text in seen:
                message = f"`{argument.name.text}` is given twice"
                self._report.error("duplicate-argument", message, argument.name.span)
                if argument.name.text != "max":
                    self._expressions.value(argument.value)
            seen.setdefault(argument.name.text, argument)
        return list(seen.values())
