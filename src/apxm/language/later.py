"""What AIS has and this version cannot run yet: it is recognized and checked like the rest, and refused by name.

Whoever builds one of these takes it off its table. `refuse_later` goes through the syntax; names are looked up in the
tables where nothing else has them, and operations say themselves whether they are available.
"""

from __future__ import annotations

from apxm.language import syntax
from apxm.language.report import Report

DEFAULTS = ("beliefs", "goals")
"""Defaults of agents that a later version brings."""
OPERATIONS = frozenset({"first"})
"""Names of operations that a later version brings. A flow may have one until then, so they are not in their table."""


def refuse_later(tree: syntax.SyntaxTree, report: Report) -> None:
    """Reports what of `tree` this version cannot run. What stands in the head of something refused is refused with
    it."""
    for agent in tree.agents:
        for default in agent.defaults:
            if default.name.text in DEFAULTS:
                report.not_yet(default.name.text, default.name.span)
