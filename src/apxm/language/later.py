"""What AIS has and this version cannot run yet: it is recognized and checked like the rest, and refused by name.

Whoever builds one of these takes it off its table. `refuse_later` goes through the syntax; names are looked up in the
tables where nothing else has them, and operations say themselves whether they are available.
"""

from __future__ import annotations

from types import MappingProxyType

from apxm.language import syntax
from apxm.language.report import Report

DEFAULTS = ("beliefs", "goals", "tools")
"""Defaults of agents that a later version brings."""
ARGUMENTS = frozenset({("ask", "tools"), ("ask", "max_rounds")})
"""Operations, each with an argument that a later version brings."""
FUNCTIONS = frozenset(
    {
        *("len", "join", "split", "lines", "trim", "lower", "upper", "replace", "contains", "starts_with", "ends_with"),
        *("matches", "parse_json", "to_json", "number", "range", "unique", "sort", "zip"),
        "first",
    }
)
"""Names of functions that a later version brings. A flow may have one until then, so they are no operations yet."""
VALUES = frozenset({"null"})
"""Names that nothing binds until a later version."""
WORDS = MappingProxyType({"in": "x in xs"})
"""What a later version lets one write, by a word that stands where it would."""


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
            _refuse_expression(expression, report, within=False)
        for inner in statement.blocks:
            _refuse_in(inner, report)
        if isinstance(statement, syntax.Return):
            break  # nothing behind it is looked at


def _refuse_expression(expression: syntax.Expression, report: Report, *, within: bool) -> None:
    """`within` says whether it stands in the head of something refused."""
    if isinstance(expression, syntax.Constant | syntax.Name):
        return
    if isinstance(expression, syntax.Comparison):
        if not within:
            report.not_yet(expression.operator, expression.span)
        within = True
    for part in expression.expressions:
        _refuse_expression(part, report, within=within)
