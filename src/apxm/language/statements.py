"""Statements, and where the values of `return` go."""

from __future__ import annotations

from dataclasses import dataclass, field

from apxm.language.expressions import FlowExpressions
from apxm.language.later import Bindings, Heads
from apxm.language.report import Report
from apxm.language.signatures import UNKNOWN
from apxm.language.syntax import (
    Block,
    CallExpression,
    CallStatement,
    Expression,
    LaterConstruct,
    Let,
    Return,
    Statement,
    Switch,
)
from apxm.operations.labels import fold_label
from apxm.operations.types import NONE, STR, Type, common_type
from apxm.source import Span


@dataclass
class Constructs:
    """What the checker finds out about the constructs of a program."""

    results: dict[Switch, Type] = field(default_factory=dict[Switch, Type])
    tail: set[Switch] = field(default_factory=set[Switch])


@dataclass
class _Destination:
    """The flow or bound construct that a `return` gives its value to."""

    name: str
    """As messages call it."""
    declared: Type | None = None
    """A flow's result type, `NONE` included; None for a construct, whose type its arms decide."""
    required: bool = True
    """Whether every path has to give a value. Where something is wrong already, nothing is asked for."""
    arms: list[tuple[Expression, Type]] = field(default_factory=list[tuple[Expression, Type]])
    """What gives it a value, where nothing is declared."""
    joined: Type | None = None
    """The type of all arms."""
    through: list[Switch] = field(default_factory=list[Switch])
    """The unbound constructs that pass their values on to this."""

    @property
    def takes_value(self) -> bool:
        return self.declared != NONE

    @property
    def type(self) -> Type:
        return self.declared or self.joined or UNKNOWN


class FlowStatements:
    """The statements of one flow."""

    def __init__(self, expressions: FlowExpressions, constructs: Constructs, report: Report) -> None:
        self._expressions = expressions
        self._scopes = expressions.scopes
        self._constructs = constructs
        self._report = report
        self._heads = Heads(expressions, report)
        self._carried: list[dict[str, Type]] = []
        """By loop, from the outermost: the names it carries."""

    def check_body(self, body: Block, name: str, result: Type) -> None:
        """The body of a flow, whose parameters are bound already."""
        destination = _Destination(f"flow `{name}`", declared=result, required=result != UNKNOWN)
        self._block(body, destination, tail=True)
        self._settle(destination)

    def _settle(self, destination: _Destination) -> None:
        """To be called behind the last of what gives it a value."""
        if destination.arms:
            destination.joined = self._join(destination.arms)
        if destination.takes_value:
            for construct in destination.through:
                self._constructs.results[construct] = destination.type

    def _join(self, arms: list[tuple[Expression, Type]]) -> Type:
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

    def _block(self, block: Block, destination: _Destination, *, tail: bool, inside: str = "") -> None:
        """`tail` says whether the block ends what gives `destination` its value; where not, `inside` names why."""
        gives = tail and destination.takes_value
        if block.bare and not gives:
            self._bare_statement(block)
            return
        self._scopes.enter(block)
        last = len(block.statements) - 1
        for number, statement in enumerate(block.statements):
            if not isinstance(statement, Return):
                self._statement(statement, destination, tail=tail and number == last, inside=inside)
                continue
            self._return(statement, destination, tail=tail, inside=inside)
            if number < last:
                following = block.statements[number + 1].span
                if not self._report.has_error_on(following.line):  # `return await ask("…")` is one mistake
                    message = "nothing runs after `return`, so this statement never does"
                    self._report.error("unreachable", message, _first_line(following))
                gives = False
                break
        if gives and destination.required:
            self._require_return(block, destination)
        self._scopes.leave()

    def _bare_statement(self, block: Block) -> None:
        """``case "a" => call(…)`` where no value is wanted."""
        (statement,) = block.statements
        assert isinstance(statement, Return)
        assert statement.value is not None
        if not isinstance(statement.value, CallExpression):
            message = "the value of this arm goes nowhere, expected a call or a block"
            self._report.error("useless-arm", message, statement.span, "bind the construct: `} -> x`")
        self._expressions.any(statement.value)

    def _require_return(self, block: Block, destination: _Destination) -> None:
        last = block.statements[-1] if block.statements else None
        match last:
            case Return():
                return
            case Switch(target=None) | LaterConstruct(target=None):
                return  # its arms are in tail position, and were asked themselves
            case _:
                pass
        advice = None
        if isinstance(last, CallStatement | Let | Switch) and last.target is not None:
            advice = f"add `return {last.target.text}`"
        elif isinstance(last, CallStatement) and self._expressions.gave_value(last.call):
            advice = "write `return` before the last call"
        end = block.span.end
        message = f"{destination.name} gives a value, and this path ends without `return`"
        self._report.error("missing-return", message, Span(block.span.source, end - 1, end), advice)

    # --- statements

    def _statement(self, statement: Statement, destination: _Destination, *, tail: bool, inside: str) -> None:
        match statement:
            case CallStatement():
                self._call(statement)
            case Let():
                found = self._expressions.value(statement.value)
                self._scopes.bind(statement.target, found, blank=self._expressions.is_blank(statement.value))
            case Switch():
                self._switch(statement, destination, tail=tail, inside=inside)
            case LaterConstruct():
                self._later(statement, destination, tail=tail, inside=inside)
            case Return():
                raise AssertionError("the block takes care of `return`")

    def _call(self, statement: CallStatement) -> None:
        found = self._expressions.any(statement.call)
        if statement.target is None:
            return
        if found == NONE:
            name = ".".join(part.text for part in statement.call.callee)
            message = f"`{name}` gives no value, so there is nothing to bind"
            self._report.error("no-value", message, statement.target.span)
            found = UNKNOWN
        self._scopes.bind(statement.target, found)

    def _return(self, statement: Return, destination: _Destination, *, tail: bool, inside: str) -> None:
        value = statement.value
        if not tail:
            message = f"`return` inside an unbound `{inside}` that is not the last statement"
            rest = "`else`" if inside == "if" else "`default`"
            advice = f"put the rest in {rest}, or bind the block: `}} -> x`"
            span = Span(statement.span.source, statement.span.start, statement.span.start + len("return"))
            self._report.error("misplaced-return", message, span, advice)
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

    def _switch(self, switch: Switch, destination: _Destination, *, tail: bool, inside: str) -> None:
        self._selector(switch)
        self._labels(switch)
        blocks = [case.body for case in switch.cases] + ([switch.default] if switch.default else [])
        if switch.target is not None:
            own = _Destination(f"the `switch` bound to `{switch.target.text}`")
            own.through.append(switch)
            for block in blocks:
                self._block(block, own, tail=True)
            self._settle(own)
            self._scopes.bind(switch.target, own.type)
            return
        if tail:
            destination.through.append(switch)
            if destination.takes_value:
                self._constructs.tail.add(switch)
        for block in blocks:
            self._block(block, destination, tail=tail, inside="" if tail else inside or "switch")

    def _selector(self, switch: Switch) -> None:
        found = self._expressions.value(switch.selector)
        if found not in (STR, UNKNOWN):
            message = f"found `{found}`, expected `str`: `switch` compares text"
            self._report.error("wrong-type", message, switch.selector.span, 'make it text: `switch "" + …`')

    def _labels(self, switch: Switch) -> None:
        if not switch.cases:
            span = Span(switch.span.source, switch.span.start, switch.span.start + len("switch"))
            self._report.error("empty-switch", "this `switch` has no `case`", span)
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

    def _later(self, construct: LaterConstruct, destination: _Destination, *, tail: bool, inside: str) -> None:
        """Refused as a whole; what it holds is checked all the same."""
        keyword = construct.keyword
        if keyword.text not in ("until", "next") or not self._carried:  # where `loop` is refused, so are they
            self._report.not_yet(keyword.text, keyword.span)
        bindings = self._heads.check(construct, self._carried[-1] if self._carried else None)
        if keyword.text == "loop":
            self._carried.append({name.text: found for name, found in bindings})
        self._scopes.enter()
        for name, found in bindings:
            self._scopes.bind(name, found)
        own = _Destination(f"this `{keyword.text}`", required=False)
        for block in construct.blocks:
            if construct.target is not None or keyword.text not in ("if", "try"):
                self._block(block, own, tail=True)
            else:
                self._block(block, destination, tail=tail, inside="" if tail else inside or keyword.text)
        self._settle(own)
        self._scopes.leave()
        if keyword.text == "loop":
            self._carried.pop()
        if construct.target is not None:
            self._scopes.bind(construct.target, self._given_by(construct, own.type, bindings))

    def _given_by(self, construct: LaterConstruct, returned: Type, bindings: Bindings) -> Type:
        match construct.keyword.text:
            case "loop":
                return bindings[0][1] if len(bindings) == 1 else UNKNOWN
            case "for":
                return UNKNOWN if returned == UNKNOWN else self._expressions.list_type(returned, construct.keyword)
            case _:
                return returned


def _first_line(span: Span) -> Span:
    end = span.source.text.find("\n", span.start, span.end)
    return span if end < 0 else Span(span.source, span.start, end)
