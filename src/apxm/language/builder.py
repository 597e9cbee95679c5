"""What each rule of grammar.lark becomes: the method named like the rule is given its tokens and finished parts."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, TypeVar

from apxm.language import syntax
from apxm.language.elsewhere import method_advice
from apxm.language.lalr import RESERVED_WORDS, Parts, Token
from apxm.language.report import Report
from apxm.language.text import fields_of, is_deep, read_text, reference
from apxm.operations.types import fits_int
from apxm.source import SourceFile, Span

T = TypeVar("T")


class _ItemList(NamedTuple):
    """What stands in parentheses, with these."""

    span: Span
    items: tuple[Any, ...]


class Builder:
    """Builds the tree of one source."""

    def __init__(self, source: SourceFile, report: Report) -> None:
        self.source = source
        self.report = report
        self._refused: set[str] = set()
        """Reserved words that were declared as names: their uses are no further mistakes."""

    # --- declarations

    def start(self, parts: Parts) -> syntax.SyntaxTree:
        span = Span(self.source, 0, len(self.source.text))
        return syntax.SyntaxTree(
            span=span, source=self.source, agents=_all(syntax.Agent, parts), records=_all(syntax.Record, parts)
        )

    def record(self, parts: Parts) -> syntax.Record:
        return syntax.Record(span=self._span(parts), name=self._declared(parts[1]), fields=tuple(parts[3:-1]))

    def record_field(self, parts: Parts) -> syntax.RecordField:
        return syntax.RecordField(**self._member(parts))

    def _member(self, parts: Parts) -> dict[str, Any]:
        """What a field of a record and a parameter have."""
        described = len(parts) in (4, 6)
        return {
            "span": self._span(parts),
            "name": self._declared(parts[0]),
            "type": parts[2],
            "description": self._plain(parts[3], "a description") if described else None,
            "default": parts[-1] if len(parts) > 4 else None,
        }

    def agent(self, parts: Parts) -> syntax.Agent:
        return syntax.Agent(
            span=self._span(parts),
            name=self._declared(parts[1]),
            defaults=_all(syntax.AgentDefault, parts),
            capabilities=_all(syntax.Capability, parts),
            flows=_all(syntax.Flow, parts),
            memories=_all(syntax.Memory, parts),
        )

    def memory(self, parts: Parts) -> syntax.Memory:
        return syntax.Memory(span=self._span(parts))

    def agent_default(self, parts: Parts) -> syntax.AgentDefault:
        return syntax.AgentDefault(span=self._span(parts), name=self._identifier(parts[0]), value=parts[2])

    def flow(self, parts: Parts) -> syntax.Flow:
        keyword = next(i for i, part in enumerate(parts) if isinstance(part, Token))
        return syntax.Flow(
            span=self._span(parts),
            annotations=tuple(parts[:keyword]),
            name=self._declared(parts[keyword + 1]),
            parameters=next((listed.items for listed in _all(_ItemList, parts)), ()),
            result=_first(syntax.TypeName, parts),
            body=parts[-1],
        )

    def annotation(self, parts: Parts) -> syntax.Identifier:
        return syntax.Identifier(span=self._span(parts), text=parts[1].text)

    def capability(self, parts: Parts) -> syntax.Capability:
        return syntax.Capability(
            span=self._span(parts),
            name=self._declared(parts[1]),
            parameters=parts[2].items,
            result=_first(syntax.TypeName, parts),
            readonly=any(isinstance(part, Token) and part.kind == "READONLY" for part in parts),
            description=self._plain(parts[-1], "a description") if isinstance(parts[-1], syntax.Expression) else None,
        )

    def parameters(self, parts: Parts) -> _ItemList:
        return _ItemList(self._span(parts), _all(syntax.FlowParameter, parts))

    def parameter(self, parts: Parts) -> syntax.FlowParameter:
        return syntax.FlowParameter(**self._member(parts))

    def result(self, parts: Parts) -> syntax.TypeName:
        return parts[1]

    def type_name(self, parts: Parts) -> syntax.TypeName:
        optional = parts[-1].kind == "QMARK"
        return syntax.TypeName(
            span=self._span(parts), name=parts[0].text, element=_first(syntax.TypeName, parts), optional=optional
        )

    # --- statements

    def block(self, parts: Parts) -> syntax.Block:
        return syntax.Block(span=self._span(parts), statements=tuple(parts[1:-1]))

    def bare_arm(self, parts: Parts) -> syntax.Block:
        value: syntax.Expression = parts[0]
        return syntax.Block(span=value.span, statements=(syntax.Return(span=value.span, value=value),), bare=True)

    def call_statement(self, parts: Parts) -> syntax.CallStatement:
        target = parts[1] if len(parts) > 1 else None
        return syntax.CallStatement(span=self._span(parts), call=parts[0], target=target)

    def target(self, parts: Parts) -> syntax.Identifier:
        return self._declared(parts[1])

    def let(self, parts: Parts) -> syntax.Let:
        type_ = _first(syntax.TypeName, parts)
        return syntax.Let(span=self._span(parts), target=self._declared(parts[1]), type=type_, value=parts[-1])

    def return_value(self, parts: Parts) -> syntax.Return:
        return syntax.Return(span=self._span(parts), value=parts[1] if len(parts) > 1 else None)

    bare_return = return_value

    def switch(self, parts: Parts) -> syntax.Switch:
        return syntax.Switch(
            span=self._span(parts),
            selector=parts[1],
            cases=_all(syntax.Case, parts),
            default=_first(syntax.Block, parts),
            target=_target(parts),
        )

    def case(self, parts: Parts) -> syntax.Case:
        return syntax.Case(span=self._span(parts), label=self._plain(parts[1], "a case label"), body=parts[3])

    def default(self, parts: Parts) -> syntax.Block:
        return parts[2]

    def branch(self, parts: Parts) -> syntax.If:
        conditions, blocks = _all(syntax.Expression, parts), _all(syntax.Block, parts)
        return syntax.If(
            span=self._span(parts),
            conditions=conditions,
            bodies=blocks[: len(conditions)],
            otherwise=blocks[-1] if len(blocks) > len(conditions) else None,
            target=_target(parts),
        )

    def loop(self, parts: Parts) -> syntax.Loop:
        (body,) = _all(syntax.Block, parts)
        return syntax.Loop(span=self._span(parts), arguments=_listed(parts[1]), body=body, target=_target(parts))

    def each(self, parts: Parts) -> syntax.For:
        items, arguments = parts[3], _listed(parts[4])
        (body,) = _all(syntax.Block, parts)
        item = self._declared(parts[1])
        return syntax.For(
            span=self._span(parts), item=item, items=items, arguments=arguments, body=body, target=_target(parts)
        )

    def attempt(self, parts: Parts) -> syntax.Try:
        body, handler = _all(syntax.Block, parts)
        error = self._declared(parts[3]) if isinstance(parts[3], Token) else None
        return syntax.Try(span=self._span(parts), body=body, error=error, handler=handler, target=_target(parts))

    def until(self, parts: Parts) -> syntax.Until:
        return syntax.Until(span=self._span(parts), condition=parts[1])

    def carry(self, parts: Parts) -> syntax.Next:
        return syntax.Next(span=self._span(parts), arguments=_all(syntax.NamedArgument, parts))

    def options(self, parts: Parts) -> _ItemList:
        for part in _all(syntax.Expression, parts):
            items = isinstance(part, syntax.Comparison) and part.operator == "in"
            advice = "for each item of a list: `for item in items { … }`" if items else None
            if isinstance(part, syntax.Constant) and isinstance(part.value, int):
                advice = f"how often it runs at most is `max: {part.span.text}`"
            self.report.error("syntax", "found a value without a name, expected `name: value`", part.span, advice)
        return _ItemList(self._span(parts), _all(syntax.NamedArgument, parts))

    # --- expressions

    def conjunction(self, parts: Parts) -> syntax.Logic:
        return syntax.Logic(span=self._span(parts), operator=parts[1].text, operands=tuple(parts[::2]))

    expression = conjunction

    def negation(self, parts: Parts) -> syntax.Not:
        *words, value = parts
        for word in words[-2 if len(words) % 2 == 0 else -1 :]:  # of a hundred, so that the tree stays flat
            value = syntax.Not(span=Span(self.source, word.start, value.span.end), value=value)
        return value

    def comparison(self, parts: Parts) -> syntax.Comparison:
        left, operator, right = parts
        return syntax.Comparison(span=self._span(parts), operator=operator.text, left=left, right=right)

    def addition(self, parts: Parts) -> syntax.Arithmetic:
        operators = tuple(token.text for token in parts[1::2])
        return syntax.Arithmetic(span=self._span(parts), operators=operators, operands=tuple(parts[::2]))

    multiplication = addition

    def negative(self, parts: Parts) -> syntax.Negative:
        value: syntax.Expression = parts[1]
        if isinstance(value, syntax.Negative) and isinstance(value.value, syntax.Negative):
            value = value.value.value  # the sign of a sign of a sign is one
        return syntax.Negative(span=self._span(parts), value=value)

    def cast(self, parts: Parts) -> syntax.Expression:
        value: syntax.Expression = parts[0]
        for type_ in _all(syntax.TypeName, parts):
            value = syntax.Cast(span=self._span([value, type_]), value=value, type=type_)
        return value

    def type_or_null(self, parts: Parts) -> syntax.TypeOrNull:
        return syntax.TypeOrNull(span=self._span(parts), type=parts[0])

    def variable(self, parts: Parts) -> syntax.Expression:
        self._check_used(parts[0][0])
        return reference(parts[0], self.report)

    def field(self, parts: Parts) -> syntax.Expression:
        return fields_of(parts[0], [self._identifier(parts[2])], self.report)

    def item(self, parts: Parts) -> syntax.Expression:
        value, bracket, index, _ = parts
        if is_deep(value, bracket.span(self.source), self.report):
            return value
        return syntax.Item(span=self._span(parts), value=value, index=index)

    def part(self, parts: Parts) -> syntax.Expression:
        value, bracket, *bounds, _ = parts
        if is_deep(value, bracket.span(self.source), self.report):
            return value
        colon = next(i for i, part in enumerate(bounds) if isinstance(part, Token))
        start, end = (next(iter(side), None) for side in (bounds[:colon], bounds[colon + 1 :]))
        return syntax.Part(span=self._span(parts), value=value, start=start, end=end)

    def bound(self, parts: Parts) -> syntax.Expression:
        return parts[0]

    def path(self, parts: Parts) -> list[syntax.Identifier]:
        return [self._identifier(name) for name in parts[::2]]

    def call(self, parts: Parts) -> syntax.CallExpression:
        callee: list[syntax.Identifier] = parts[0]
        start = callee[0].span.start
        self._check_used(callee[0])
        if len(callee) > 2:
            written = ".".join(part.text for part in callee)
            span = Span(self.source, start, callee[-1].span.end)
            message = f"found a call of `{written}`, expected `flow(…)` or `Agent.flow(…)`"
            self.report.error("syntax", message, span, method_advice(written.rpartition(".")[0], callee[-1].text))
        return syntax.CallExpression(
            span=Span(self.source, start, parts[-1].end),
            callee=tuple(callee[:2]),
            arguments=_all(syntax.Expression, parts),
            named=_all(syntax.NamedArgument, parts),
        )

    def named(self, parts: Parts) -> syntax.NamedArgument:
        return syntax.NamedArgument(span=self._span(parts), name=self._identifier(parts[0]), value=parts[2])

    def list_display(self, parts: Parts) -> syntax.ListDisplay:
        return syntax.ListDisplay(span=self._span(parts), items=_all(syntax.Expression, parts))

    def dict_display(self, parts: Parts) -> syntax.DictDisplay:
        entries = [part for part in parts if not isinstance(part, Token)]
        seen: set[object] = set()
        for key, _ in entries:
            if key.value in seen:
                self.report.error(
                    "duplicate-key", f"the key {json.dumps(key.value)} stands twice in this object", key.span
                )
            seen.add(key.value)
        return syntax.DictDisplay(
            span=self._span(parts), keys=tuple(key for key, _ in entries), values=tuple(value for _, value in entries)
        )

    def entry(self, parts: Parts) -> tuple[syntax.Constant, syntax.Expression]:
        return self._plain(parts[0], "a key"), parts[2]

    def parentheses(self, parts: Parts) -> syntax.Expression:
        return parts[1].but(span=self._span(parts))

    def text(self, parts: Parts) -> syntax.Expression:
        token: Token = parts[0]
        return read_text(self.source, token.start, token.text, self.report)

    def number(self, parts: Parts) -> syntax.Constant:
        span, digits = self._span(parts), "".join(token.text for token in parts)
        value = float(digits) if any(mark in digits for mark in ".eE") else _whole_number(digits)
        if value is None:
            self.report.error("bad-number", "whole numbers go from -2^63 to 2^63-1", span)
        elif math.isinf(value):
            self.report.error("bad-number", "this number is too large for a double", span)
        return syntax.Constant(span=span, value=0 if value is None else value)

    signed = number

    def truth(self, parts: Parts) -> syntax.Constant:
        return syntax.Constant(span=self._span(parts), value=parts[0].text == "true")

    def null(self, parts: Parts) -> syntax.Constant:
        return syntax.Constant(span=self._span(parts), value=None)

    # --- helpers

    def _span(self, parts: Parts) -> Span:
        first, last = parts[0], parts[-1]
        start: int = first.start if isinstance(first, Token) else first.span.start
        end: int = last.end if isinstance(last, Token) else last.span.end
        return Span(self.source, start, end)

    def _identifier(self, token: Token) -> syntax.Identifier:
        text = token.text
        return syntax.Identifier(span=Span(self.source, token.start, token.start + len(text)), text=text)

    def _declared(self, token: Token) -> syntax.Identifier:
        """A name that is declared or bound here. The lexer takes a reserved word for a name where only a name fits."""
        name = self._identifier(token)
        if name.text in RESERVED_WORDS:
            self._refused.add(name.text)
            self.report.error("reserved-word", f"`{name.text}` is a word of the language, expected a name", name.span)
        return name

    def _check_used(self, name: syntax.Identifier) -> None:
        if name.text in RESERVED_WORDS and name.text not in self._refused:
            message = f"`{name.text}` is a word of the language, expected an expression"
            self.report.error("reserved-word", message, name.span)

    def _plain(self, literal: syntax.Expression, what: str) -> syntax.Constant:
        if isinstance(literal, syntax.Constant):
            return literal
        self.report.error("not-literal", f"{what} is fixed text, so nothing can be put into it", literal.span)
        return syntax.Constant(span=literal.span, value="")


def _whole_number(digits: str) -> int | None:
    """The number; None for one beyond 64 bits, which an artifact could not hold."""
    if len(digits.lstrip("-0")) > 19:  # Python refuses to convert thousands of digits
        return None
    value = int(digits)
    return value if fits_int(value) else None


def _all(kind: type[T], parts: Parts) -> tuple[T, ...]:
    return tuple([part for part in parts if isinstance(part, kind)])


def _first(kind: type[T], parts: Parts) -> T | None:
    return next(iter(_all(kind, parts)), None)


def _target(parts: Parts) -> syntax.Identifier | None:
    return parts[-1] if isinstance(parts[-1], syntax.Identifier) else None


def _listed(part: object) -> tuple[Any, ...]:
    return part.items if isinstance(part, _ItemList) else ()
