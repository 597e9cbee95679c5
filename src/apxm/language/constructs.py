"""The constructs: what stands in their heads, and what their blocks give. Those whose block runs in turns have a file
of their own, `apxm.language.repetitions`."""

from __future__ import annotations

from itertools import chain

from apxm.language import syntax
from apxm.language.repetitions import FlowRepetitions
from apxm.language.report import UNKNOWN
from apxm.language.statements import Destination, Place
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import ERROR, STR, VERDICT
from apxm.source import Span


class FlowConstructs(FlowRepetitions):
    """The statements of one flow, those included that hold blocks. Each construct has a method."""

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
                self._until(statement)
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

    # --- switch

    def _switch(self, switch: syntax.Switch, place: Place) -> None:
        found = self._expressions.value(switch.selector)
        if found not in (STR, VERDICT, UNKNOWN):
            message = f"found `{found}`, expected `str`: `switch` compares text"
            advice = 'make it text: `switch "" + …`' if found.present != STR else "`x as str` fails where it is null"
            self._report.error("wrong-type", message, switch.selector.span, advice)
        self._labels(switch, self._expressions.compared_texts(switch.selector))
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
        inside = self._inside(branch, place)
        self._scopes.enter()
        for condition, block in zip(branch.conditions, branch.bodies, strict=True):
            self._condition(condition, "if")
            self._scopes.enter()
            self._expressions.assume(condition, holds=True)
            self._block(block, inside)
            self._scopes.leave()
            self._expressions.assume(condition, holds=False)
        if branch.otherwise is not None:
            self._block(branch.otherwise, inside)
        self._scopes.leave()
        destination = inside.destination
        if branch.otherwise is None and inside.is_last and destination.takes_value and destination.required:
            message = f"{destination.name} gives a value, and there is none where no condition holds"
            self._report.error("missing-return", message, branch.span.first(len("if")), "add `else { return … }`")
        self._bind_result(branch, inside)

    def _try(self, attempt: syntax.Try, place: Place) -> None:
        inside = self._inside(attempt, place)
        self._block(attempt.body, inside)
        self._block_with(attempt.handler, [(attempt.error, ERROR)] if attempt.error else [], inside)
        self._bind_result(attempt, inside)
