"""Statements, and where the values of `return` go. `apxm.language.constructs` has those that hold blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

from apxm.language import syntax
from apxm.language.declarations import Findings
from apxm.language.expressions import FlowExpressions
from apxm.language.literal_arms import given_by_others, misfit, take, writes_object
from apxm.language.records import resolve
from apxm.language.report import UNKNOWN
from apxm.operations.functions import FUNCTIONS
from apxm.operations.types import BOOL, NONE, Type, common_type
from apxm.source import Span

Bindings = Iterable[tuple[syntax.Identifier, Type]]
"""Names that a construct binds in a block, and their types."""


class Destination:
    """The flow or bound construct that a `return` gives its value to."""

    def __init__(
        self, name: str, declared: Type | None = None, *, required: bool = True, refusal: str | None = None
    ) -> None:
        self.name = name
        """The destination's name in messages."""
        self.declared = declared
        """A flow's result type, `NONE` included; None for a construct, whose type its arms decide."""
        self.required = required
        """Whether every path has to give a value. Where something is wrong already, nothing is asked for."""
        self.refusal = refusal
        """What to do instead of a `return`; None where one may stand."""
        self.arms: list[tuple[syntax.Expression, Type]] = []
        """What gives it a value, where nothing is declared."""
        self.choices: list[tuple[str, ...]] = []
        """The texts of which each of `arms` gives one; empty for an arm of which that is not known."""
        self.joined: Type | None = None
        """The type of all arms."""
        self.through: list[syntax.Construct] = []
        """The constructs that pass their values on to this."""

    @property
    def takes_value(self) -> bool:
        return self.declared != NONE

    @property
    def type(self) -> Type:
        return self.declared or self.joined or UNKNOWN


class Place(NamedTuple):
    """Where a block or a statement stands."""

    destination: Destination
    """What a `return` here gives its value to."""
    is_last: bool
    """Whether it ends what gives the destination its value."""
    inside: str = ""
    """Where not: the outermost construct around it that is neither bound nor last, as it is written."""


class FlowStatements(ABC):
    """The statements of one flow."""

    def __init__(self, expressions: FlowExpressions, findings: Findings) -> None:
        self._expressions = expressions
        self._scopes = expressions.scopes
        self._findings = findings
        self._report = findings.report

    @abstractmethod
    def _construct(self, statement: syntax.Statement, place: Place) -> None:
        """Checks one of those that have a file of their own."""

    def check_body(self, body: syntax.Block, name: str, result: Type) -> None:
        """The body of a flow, whose parameters are bound already."""
        destination = Destination(f"flow `{name}`", declared=result, required=result != UNKNOWN)
        self._block(body, Place(destination, is_last=True))
        self._settle(destination)

    def _settle(self, destination: Destination) -> None:
        """Is called behind the last of what gives `destination` a value."""
        if destination.arms:
            self._make_records(destination)
            destination.joined = self._join(destination.arms)
        if destination.takes_value:
            for construct in destination.through:
                self._findings.results[construct] = destination.type

    def _make_records(self, destination: Destination) -> None:
        """Objects that arms of `destination` write out become the record that its other arms give."""
        arms, types = destination.arms, self._findings.types
        expected = given_by_others(arms)
        if expected is None:
            return
        for number, (value, _) in enumerate(arms):
            if not writes_object(value):
                continue
            if flaw := misfit(value, expected, types):
                message = f"this is no `{expected}`, which the other arms give: {flaw}"
                self._report.error("arm-types", message, value.span, "`… as json` behind it makes json of all arms")
            else:
                take(value, expected, types)
            arms[number] = value, expected

    def _join(self, arms: list[tuple[syntax.Expression, Type]]) -> Type:
        types = [found for _, found in arms]
        joined = UNKNOWN if UNKNOWN in types else common_type(types)
        if joined is not None:
            return joined
        misfit = next(n for n in range(1, len(types) + 1) if common_type(types[:n]) is None) - 1
        message = f"this arm gives `{types[misfit]}`, and those above give `{common_type(types[:misfit])}`"
        advice = 'the arms of a bound construct have one type; `"" + …` makes text of anything'
        self._report.error("arm-types", message, arms[misfit][0].span, advice)
        return UNKNOWN

    # --- blocks

    def _block(self, block: syntax.Block, place: Place) -> None:
        destination = place.destination
        gives = place.is_last and destination.takes_value
        if block.bare and not gives:
            self._bare_statement(block)
            return
        self._scopes.enter(block)
        inner = place._replace(is_last=False)
        last = len(block.statements) - 1
        for number, statement in enumerate(block.statements):
            if not isinstance(statement, syntax.Return):
                self._statement(statement, inner if number < last else place)
                continue
            self._return(statement, place)
            if number < last:
                following = block.statements[number + 1].span
                if not self._report.has_error_on(following.line):  # `return await ask("…")` is one mistake
                    message = "nothing runs after `return`, so this statement never does"
                    written, *_ = following.source.text[following.start : following.end].split("\n", 1)
                    self._report.error("unreachable", message, following.first(len(written)))
                gives = False
                break
        if gives and destination.required:
            self._require_return(block, destination)
        self._scopes.leave()

    def _bare_statement(self, block: syntax.Block) -> None:
        """``case "a" => call(…)`` where no value is wanted."""
        (statement,) = block.statements
        assert isinstance(statement, syntax.Return)
        assert statement.value is not None
        if not isinstance(statement.value, syntax.CallExpression):
            message = "the value of this arm goes nowhere, expected a call or a block"
            self._report.error("useless-arm", message, statement.span, "bind the construct: `} -> x`")
        self._expressions.any(statement.value)

    def _require_return(self, block: syntax.Block, destination: Destination) -> None:
        last = block.statements[-1] if block.statements else None
        if isinstance(last, syntax.Return) or (
            isinstance(last, syntax.Construct) and last.passes_return and last.target is None
        ):
            return  # the blocks of such a construct were asked themselves
        advice = None
        if last is not None and last.target is not None:
            advice = f"add `return {last.target.text}`"
        elif isinstance(last, syntax.CallStatement) and self._expressions.gave_value(last.call):
            advice = "write `return` before the last call"
        end = block.span.end
        message = f"{destination.name} gives a value, and this path ends without `return`"
        self._report.error("missing-return", message, Span(block.span.source, end - 1, end), advice)

    def _block_with(self, block: syntax.Block, bindings: Bindings, place: Place) -> None:
        self._scopes.enter()
        for name, found in bindings:
            self._scopes.bind(name, found)
        self._block(block, place)
        self._scopes.leave()

    def _condition(self, condition: syntax.Expression, keyword: str) -> None:
        self._expressions.fit(condition, BOOL, f"the condition of `{keyword}`")

    # --- statements

    def _statement(self, statement: syntax.Statement, place: Place) -> None:
        match statement:
            case syntax.CallStatement():
                self._call(statement)
            case syntax.Let(value=value):
                found = self._let(statement)
                blank, choices = self._expressions.is_blank(value), self._expressions.choices_of(value)
                self._scopes.bind(statement.target, found, blank=blank, choices=choices)
            case _:
                self._construct(statement, place)

    def _let(self, let: syntax.Let) -> Type:
        if let.type is None:
            return self._expressions.value(let.value)
        declared = resolve(let.type, self._findings.records, self._report)
        self._expressions.fit(let.value, declared, f"`{let.target.text}`")
        return declared

    def _call(self, statement: syntax.CallStatement) -> None:
        found = self._expressions.any(statement.call)
        if statement.target is None:
            if statement.call.written in FUNCTIONS:
                message = f"`{statement.call.written}` gives a value, and nothing here uses it"
                place = statement.call.callee[-1].span
                self._report.warning("unused-result", message, place, f"bind it: `{statement.call.written}(…) -> x`")
            return
        if found == NONE:
            message = f"`{statement.call.written}` gives no value, so there is nothing to bind"
            self._report.error("no-value", message, statement.target.span)
            found = UNKNOWN
        self._scopes.bind(statement.target, found, choices=self._expressions.choices_of(statement.call))

    def _return(self, statement: syntax.Return, place: Place) -> None:
        destination, value = place.destination, statement.value
        if not place.is_last:
            message = f"`return` inside an unbound `{place.inside}` that is not the last statement"
            rest = "`else`" if place.inside == "if" else "`default`"
            advice = f"put the rest in {rest}, or bind the block: `}} -> x`"
            self._report.error("misplaced-return", message, statement.span.first(len("return")), advice)
            if value is not None:
                self._expressions.any(value)
        elif destination.refusal is not None:
            message = f"`return` has no place in {destination.name}"
            self._report.error("misplaced-return", message, statement.span.first(len("return")), destination.refusal)
            if value is not None:
                self._expressions.any(value)
        elif destination.declared == NONE:
            if value is not None:
                self._expressions.any(value)
                message = f"{destination.name} has no result type, so it returns no value"
                self._report.error(
                    "unexpected-return", message, value.span, "declare one behind the parameters: `-> str`"
                )
        elif value is None:
            message = f"{destination.name} gives a value, expected one behind `return`"
            self._report.error("no-value", message, statement.span)
        elif destination.declared is not None:
            self._expressions.fit(value, destination.declared, f"the result of {destination.name}")
        else:
            destination.arms.append((value, self._expressions.value(value)))
            destination.choices.append(self._expressions.choices_of(value))
