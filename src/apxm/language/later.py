"""What AIS has and this version cannot run yet: it is recognized and checked like the rest, and refused by name.

Whoever builds one of these takes it off its table. `refuse_later` goes through the syntax; names are looked up in the
tables where nothing else has them, and operations say themselves whether they are available.
"""

from __future__ import annotations

from apxm.language import syntax
from apxm.language.report import Report
from apxm.operations.functions import FUNCTIONS

DEFAULTS = ("beliefs", "goals", "tools")
"""Defaults of agents that a later version brings."""
ARGUMENTS = frozenset({("ask", "tools"), ("ask", "max_rounds")})
"""Operations, each with an argument that a later version brings."""
OPERATIONS = frozenset({"first"})
"""Names of operations that a later version brings. A flow may have one until then, so they are not in their table."""


def refuse_later(tree: syntax.SyntaxTree, report: Report) -> None:
    """Reports what of `tree` this version cannot run. What stands in the head of something refused is refused with
    it."""
    for agent in tree.agents:
        for default in agent.defaults:
            if default.name.text in DEFAULTS:
                report.not_yet(default.name.text, default.name.span)
        for flow in agent.flows:
            _refuse_in(flow.body, report)


def _refuse_in(block: syntax.Block, report: Report) -> None:
    for statement in block.statements:
        for expression in statement.expressions:
            _refuse_lazy_calls(expression, report)
        for inner in statement.blocks:
            _refuse_in(inner, report)
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
