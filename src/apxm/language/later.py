"""What AIS has and this version cannot run yet: it is recognized and checked like the rest, and refused by name.

Whoever builds one of these takes it off its table. `refuse_later` goes through the syntax; names are looked up in the
tables where nothing else has them, and operations say themselves whether they are available.
"""

from __future__ import annotations

from types import MappingProxyType

from apxm.language import syntax
from apxm.language.report import Report
from apxm.operations.functions import FUNCTIONS
from apxm.operations.types import LATER_TYPES

STATEMENTS: MappingProxyType[type[syntax.Syntax], str] = MappingProxyType(
    {
        syntax.If: "if",
        syntax.Loop: "loop",
        syntax.For: "for",
        syntax.Try: "try",
        syntax.Until: "until",
        syntax.Next: "next",
    }
)
DEFAULTS = ("beliefs", "goals", "tools")
"""Defaults of agents that a later version brings."""
ARGUMENTS = frozenset({*(("ask", name) for name in ("schema", "choices", "tools", "max_rounds")), ("reason", "budget")})
"""Operations, each with an argument that a later version brings."""
OPERATIONS = frozenset({"first", "image", "file"})
"""Names of operations that a later version brings. A flow may have one until then, so they are not in their table."""
WORDS = MappingProxyType({"type": "type Name { … }", "as": "x as T"})
"""What a later version lets one write, by a word that stands where it would."""


def refuse_later(tree: syntax.SyntaxTree, report: Report) -> None:
    """Reports what of `tree` this version cannot run. What stands in the head of something refused is refused with it,
    and what belongs in a `loop` with that."""
    for record in tree.records:
        report.not_yet(WORDS["type"], record.span.first(len("type")))
        for field in record.fields:
            _refuse_type(field.type, report)
    for agent in tree.agents:
        for default in agent.defaults:
            if default.name.text in DEFAULTS:
                report.not_yet(default.name.text, default.name.span)
        for capability in agent.capabilities:
            message = f"`{capability.name.text}`: capabilities are part of AIS, but this version cannot run them yet"
            report.error("not-yet", message, capability.name.span)
        for declared in (*agent.capabilities, *agent.flows):
            for name in (*(parameter.type for parameter in declared.parameters), declared.result):
                _refuse_type(name, report)
        for flow in agent.flows:
            _refuse_in(flow.body, report, in_loop=False)


def _refuse_type(name: syntax.TypeName | None, report: Report) -> None:
    while name is not None:
        if name.name in LATER_TYPES:
            message = f"the type `{name.name}` is part of AIS, but this version does not have it yet"
            report.error("not-yet", message, name.span)
        name = name.element if name.name == "list" else None


def _refuse_in(block: syntax.Block, report: Report, *, in_loop: bool) -> None:
    for statement in block.statements:
        keyword = STATEMENTS.get(type(statement))
        if keyword is not None and not (in_loop and isinstance(statement, syntax.Until | syntax.Next)):
            report.not_yet(keyword, statement.span.first(len(keyword)))
        if isinstance(statement, syntax.Let):
            _refuse_type(statement.type, report)
        for expression in statement.expressions:
            _refuse_lazy_calls(expression, report)
        for inner in statement.blocks:
            _refuse_in(inner, report, in_loop=in_loop or isinstance(statement, syntax.Loop))
        if isinstance(statement, syntax.Return):
            break  # nothing behind it is looked at


def _refuse_lazy_calls(expression: syntax.Expression, report: Report, operator: str | None = None) -> None:
    """`operator` is the one on whose right the expression stands."""
    if isinstance(expression, syntax.Constant | syntax.Name):
        return
    if operator is not None and isinstance(expression, syntax.CallExpression) and expression.written not in FUNCTIONS:
        what = f"x {operator} {expression.written}(…)"
        report.not_yet(what, expression.span, f"bind it first: `{expression.written}(…) -> y`")
        return
    for number, part in enumerate(expression.expressions):
        lazy = expression.operator if isinstance(expression, syntax.Logic) and number else operator
        _refuse_lazy_calls(part, report, lazy)
