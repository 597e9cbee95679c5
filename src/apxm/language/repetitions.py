"""`loop` and `for`: what stands in their heads, what their turns carry, and what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from apxm.language import syntax
from apxm.language.declarations import Findings
from apxm.language.expressions import FlowExpressions
from apxm.language.report import UNKNOWN
from apxm.language.statements import Bindings, Destination, FlowStatements, Place
from apxm.language.text import reference
from apxm.operations.types import INT, JSON, NONE, PLAN, RecordField, Type, excess, item_of, opened
from apxm.source import Span

_LIMIT = "max"
"""What stands in the parentheses of a repetition and is no name that it carries."""
_MOST_LOOKS = 5
"""How often a block is looked at for the types of what it carries. Names that give each other their types take a look
each; a type that holds itself, as by `next xs: [xs]`, would take them all."""


class _Turn(NamedTuple):
    """The block of a repetition, while it is looked at."""

    repetition: syntax.Repetition
    carried: dict[str, Type]
    given: dict[str, Span]
    """The carried names that a `next` has given so far, and where."""
    grown: dict[str, Type]
    """The types of those that turned out to be others than `carried` says."""


class FlowRepetitions(FlowStatements):
    """The statements of one flow, but for the constructs that run a block at most once."""

    def __init__(self, expressions: FlowExpressions, findings: Findings) -> None:
        super().__init__(expressions, findings)
        self._turns: list[_Turn] = []
        """The repetitions around the current place, from the outermost."""

    def _loop(self, loop: syntax.Loop) -> None:
        if not any(argument.name.text == _LIMIT for argument in loop.arguments):
            message = "this `loop` has no `max`, and a loop is always bounded"
            advice = "say how often it runs at most: `loop (max: 4, …)`"
            self._report.error("missing-argument", message, loop.span.first(len("loop")), advice)
        carried = self._head(loop, loop.arguments)
        refusal = "a `loop` gives what it carries: end it by `until`, and give it a value by `next`"
        self._block_in_turns(loop, carried, [], lambda: Destination("a `loop`", NONE, refusal=refusal))
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
        own = self._block_in_turns(each, carried, [(each.item, element)], lambda: _destination(each, returns=returns))
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
        # Where something around it is looked at again, it is known what they grow to: else repetitions in each other
        # would be looked at 2 * 2 * 2 … times.
        earlier = self._findings.carried.get(repetition, {})
        carried: dict[str, Type] = {}
        for argument in self._without_repeated(arguments):
            name = argument.name.text
            if name == _LIMIT:
                self._limit(repetition.keyword, argument.value)
            else:
                start = self._expressions.value(argument.value)
                carried[name] = _opened(start, earlier.get(name, start))
        self._findings.carried[repetition] = carried
        return carried

    def _block_in_turns(
        self,
        repetition: syntax.Repetition,
        carried: dict[str, Type],
        bindings: Bindings,
        own: Callable[[], Destination],
        looks: int = _MOST_LOOKS,
    ) -> Destination:
        """Looks at its block until the types of what it `carries` are known; most often that is once. Returns what each
        turn gives a value to."""
        forget = self._report.bookmark()
        destination = own()
        turn = self._turn(repetition, carried, bindings, destination)
        if turn.grown and looks > 1:
            forget()
            carried.update(turn.grown)
            return self._block_in_turns(repetition, carried, bindings, own, looks - 1)
        for name, grown in turn.grown.items():
            message = f"each turn gives `{name}` another type: it is `{carried[name]}`, and `{grown}` in the next one"
            advice = f"say its type where it starts, such as `{name}: [] as list[json]`"
            self._report.error("wrong-type", message, turn.given[name], advice)
        return destination

    def _turn(
        self, repetition: syntax.Repetition, carried: dict[str, Type], bindings: Bindings, own: Destination
    ) -> _Turn:
        """Its block, of which each turn gives `own` a value."""
        _, arguments = self._findings.heads.get(repetition, (None, repetition.arguments))
        names = {argument.name.text: argument.name for argument in arguments if argument.name.text != _LIMIT}
        turn = _Turn(repetition, carried, {}, {})
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
        return turn

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
            return item_of(found)
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
        self._expressions.assume(until.condition, holds=False)

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
        self._fit_next(argument, turn)
        if name in turn.given:
            message = f"`next` gives `{name}` a second value; the first is on line {turn.given[name].line}"
            self._report.error("duplicate-argument", message, argument.name.span, "each name has one `next`")
        turn.given.setdefault(name, argument.name.span)

    def _fit_next(self, argument: syntax.NamedArgument, turn: _Turn) -> None:
        """What `next` gives a name converts to its type, where that is not still open."""
        name = argument.name.text
        expected = turn.carried[name]
        forget = self._report.bookmark()
        found = self._expressions.value(argument.value)
        grown = _opened(expected, found)
        if grown != expected:
            turn.grown[name] = grown
            return
        forget()
        self._expressions.fit(argument.value, expected, f"the next `{name}`")

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


def _opened(start: Type, given: Type) -> Type:
    return start if UNKNOWN in (start, given) else opened(start, given)


def _destination(each: syntax.For, *, returns: bool) -> Destination:
    """What the turns of a `for` give a value to."""
    if not returns:
        return Destination("this `for`", NONE)
    if each.target is None:
        return Destination("a `for` that is not bound", NONE, refusal="bind the list of what it gives: `} -> xs`")
    return Destination(f"the `for` bound to `{each.target.text}`")


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
