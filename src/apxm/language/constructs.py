"""The constructs: what stands in their heads, and what their blocks give."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from apxm.language import syntax
from apxm.language.declarations import Findings
from apxm.language.expressions import FlowExpressions
from apxm.language.report import UNKNOWN
from apxm.language.statements import Destination, FlowStatements, Place
from apxm.language.text import reference
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import BOOL, ERROR, INT, JSON, NONE, PLAN, STR, VERDICT, RecordField, Type, excess
from apxm.source import Span

Bindings = Iterable[tuple[syntax.Identifier, Type]]
"""Names that a construct binds in a block, and their types."""


class _Turn(NamedTuple):
    """The block of a repetition, while it is looked at."""

    repetition: syntax.Repetition
    carried: dict[str, Type]
    given: dict[str, Span]
    """The carried names that a `next` has given so far, and where."""


class FlowConstructs(FlowStatements):
    """The statements of one flow, those included that hold blocks. Each construct has a method."""

    def __init__(self, expressions: FlowExpressions, findings: Findings) -> None:
        super().__init__(expressions, findings)
        self._turns: list[_Turn] = []
        """The repetitions around the current place, from the outermost."""

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
        self._block_with(attempt.handler, [(attempt.error, ERROR)] if attempt.error else [], inside)
        self._bind_result(attempt, inside)

    # --- loop, for

    def _loop(self, loop: syntax.Loop) -> None:
        if not any(argument.name.text == _LIMIT for argument in loop.arguments):
            message = "this `loop` has no `max`, and a loop is always bounded"
            advice = "say how often it runs at most: `loop (max: 4, …)`"
            self._report.error("missing-argument", message, loop.span.first(len("loop")), advice)
        carried = self._head(loop, loop.arguments)
        refusal = "a `loop` gives what it carries: end it by `until`, and give it a value by `next`"
        self._turn(loop, carried, [], Destination("a `loop`", NONE, refusal=refusal))
        self._bind_carried(loop, carried)

    def _for(self, each: syntax.For) -> None:
        items, arguments = each.items, each.arguments
        if isinstance(items, syntax.CallExpression) and self._is_head(items):
            # `for x in items (max: 3)` looks like a call of `items`
            items, arguments = reference(list(items.callee), self._report), items.named + arguments
        self._findings.heads[each] = items, arguments
        element = self._element(items)
        carried = self._head(each, arguments)
        returns = _returns(each.body, bare=not carried)
        if returns and each.target is None:
            own = Destination("a `for` that is not bound", NONE, refusal="bind the list of what it gives: `} -> xs`")
        elif returns:
            own = Destination(f"the `for` bound to `{each.target.text}`" if each.target else "")
        else:
            own = Destination("this `for`", NONE)
        self._turn(each, carried, [(each.item, element)], own)
        if not returns:
            self._bind_carried(each, carried)
        elif each.target is not None:
            known = own.type != UNKNOWN
            found = self._expressions.list_type(own.type, each.span.first(len("for"))) if known else UNKNOWN
            self._findings.results[each] = found
            self._findings.collecting.add(each)
            self._scopes.bind(each.target, found)

    def _is_head(self, items: syntax.CallExpression) -> bool:
        """Whether what looks like a call is a name and, behind it, what a `for` takes in parentheses."""
        return not items.arguments and self._scopes.holds(items.callee[0].text)

    def _head(self, repetition: syntax.Repetition, arguments: tuple[syntax.NamedArgument, ...]) -> dict[str, Type]:
        """The types of the names that it carries: those of their starts."""
        carried: dict[str, Type] = {}
        for argument in self._without_repeated(arguments):
            if argument.name.text == _LIMIT:
                self._limit(repetition.keyword, argument.value)
            else:
                carried[argument.name.text] = self._expressions.value(argument.value)
        return carried

    def _turn(
        self, repetition: syntax.Repetition, carried: dict[str, Type], bindings: Bindings, own: Destination
    ) -> None:
        """Its block, of which each turn gives `own` a value."""
        _, arguments = self._findings.heads.get(repetition, (None, repetition.arguments))
        names = {argument.name.text: argument.name for argument in arguments if argument.name.text != _LIMIT}
        turn = _Turn(repetition, carried, {})
        self._turns.append(turn)
        self._block_with(
            repetition.body, [*bindings, *((names[name], carried[name]) for name in carried)], Place(own, is_last=True)
        )
        self._turns.pop()
        self._settle(own)
        for name in carried:
            if name not in turn.given:
                message = f"this `{repetition.keyword}` carries `{name}`, and no `next` gives it a value"
                advice = self._report.near(name, [_LIMIT]) or f"`next {name}: …`, or bind it before"
                self._report.error("missing-next", message, names[name].span, advice)

    def _bind_carried(self, repetition: syntax.Repetition, carried: dict[str, Type]) -> None:
        """Binds what it carries where its last turn is over."""
        if repetition.target is None:
            return
        found = UNKNOWN
        if not carried:
            keyword = repetition.keyword
            message = f"this `{keyword}` gives nothing, so there is nothing to bind"
            advice = "let it carry a name: `loop (max: 4, x: start) { …  next x: … } -> x`"
            if keyword == "for":
                advice = "give a value at the end of its block, `return x`, for a list of them"
            self._report.error("no-value", message, repetition.target.span, advice)
        elif UNKNOWN not in carried.values():
            found = next(iter(carried.values()))
            if len(carried) > 1:
                found = Type("", fields=tuple([RecordField(name, type_) for name, type_ in carried.items()]))
                if flaw := excess(found):
                    message = f"what this `{repetition.keyword}` gives {flaw}"
                    self._report.error("too-deep", message, repetition.target.span)
                    found = UNKNOWN
            self._findings.results[repetition] = found
        self._scopes.bind(repetition.target, found)

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

    def _limit(self, keyword: str, value: syntax.Expression) -> None:
        found = self._expressions.fit(value, INT, f"`max` of `{keyword}`")
        number = value.value if isinstance(value, syntax.Constant) else None
        if found == INT and isinstance(number, int) and number < 1:
            message = f"`max` of `{keyword}` is at least 1, and this is {number}"
            self._report.error("out-of-range", message, value.span)

    def _until(self, until: syntax.Until) -> None:
        self._condition(until.condition, "until")
        turn = self._turns[-1] if self._turns else None
        place = until.span.first(len("until"))
        if turn is None or not isinstance(turn.repetition, syntax.Loop):
            advice = "a `for` takes each item of its list" if turn else "`loop (max: 4, …) { …  until done  … }`"
            self._report.error("outside-loop", "`until` stands outside of a `loop`", place, advice)
        elif until not in turn.repetition.body.statements:
            advice = "bind what the construct gives, `} -> done`, and write `until done` behind it"
            self._report.error("outside-loop", "`until` stands inside another construct of its `loop`", place, advice)

    def _next(self, carry: syntax.Next) -> None:
        turn = self._turns[-1] if self._turns else None
        place = carry.span.first(len("next"))
        if turn is None:
            advice = "`loop (max: 4, x: start) { …  next x: … }`"
            self._report.error("outside-loop", "`next` stands outside of a `loop` or `for`", place, advice)
        elif carry not in turn.repetition.body.statements:
            keyword, name = turn.repetition.keyword, carry.arguments[0].name.text
            advice = f"bind what the construct gives, `}} -> x`, and write `next {name}: x` behind it"
            message = f"`next` stands inside another construct of its `{keyword}`"
            self._report.error("outside-loop", message, place, advice)
        for argument in self._without_repeated(carry.arguments):
            self._carry(argument, turn)

    def _carry(self, argument: syntax.NamedArgument, turn: _Turn | None) -> None:
        name = argument.name.text
        if turn is None or name not in turn.carried:
            self._expressions.value(argument.value)
            if turn is None:
                return
            keyword = turn.repetition.keyword
            listed = ", ".join(f"`{known}`" for known in turn.carried)
            start = "loop (max: 4, " if keyword == "loop" else "for … in … ("
            otherwise = f"it carries {listed}" if turn.carried else f"give it a start: `{start}{name}: …)`"
            message = f"the `{keyword}` around this carries no `{name}`"
            advice = self._report.near(name, turn.carried) or otherwise
            self._report.error("unknown-argument", message, argument.name.span, advice)
            return
        self._expressions.fit(argument.value, turn.carried[name], f"the next `{name}`")
        if name in turn.given:
            message = f"`next` gives `{name}` a second value; the first is on line {turn.given[name].line}"
            self._report.error("duplicate-argument", message, argument.name.span, "each name has one `next`")
        turn.given.setdefault(name, argument.name.span)

    def _without_repeated(self, arguments: tuple[syntax.NamedArgument, ...]) -> list[syntax.NamedArgument]:
        seen: dict[str, syntax.NamedArgument] = {}
        for argument in arguments:
            if argument.name.text in seen:
                message = f"`{argument.name.text}` is given twice"
                self._report.error("duplicate-argument", message, argument.name.span)
                if argument.name.text != _LIMIT:
                    self._expressions.value(argument.value)
            seen.setdefault(argument.name.text, argument)
        return list(seen.values())


_LIMIT = "max"
"""What stands in the parentheses of a repetition and is no name that it carries."""


def _returns(block: syntax.Block, *, bare: bool) -> bool:
    """Whether something in it gives the value of what stands around the block: a `return`, or an arm that is a `bare`
    expression where those count."""
    return any(
        isinstance(statement, syntax.Return)
        or (
            isinstance(statement, syntax.Construct)
            and statement.passes_return
            and statement.target is None
            and any((bare or not inner.bare) and _returns(inner, bare=bare) for inner in statement.blocks)
        )
        for statement in block.statements
    )
