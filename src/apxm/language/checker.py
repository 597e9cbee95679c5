"""Syntax tree to checked tree: everything that can be known to be wrong before a run."""

from __future__ import annotations

from apxm.garbage import without_collector
from apxm.language.calls import Resolved, is_literal
from apxm.language.declarations import DeclaredAgent, DeclaredFlow, by_name, declare
from apxm.language.elsewhere import VALUES
from apxm.language.entry import find_entry
from apxm.language.expressions import FlowExpressions
from apxm.language.flow_graph import callees_first
from apxm.language.report import Report
from apxm.language.statements import Constructs, FlowStatements
from apxm.language.syntax import CheckedTree, Constant, Expression, Name, SyntaxTree
from apxm.operations.types import STR, Type


def check(tree: SyntaxTree, *, needs_entry: bool = True) -> CheckedTree:
    """The tree with what its names, calls and types turned out to be, and with warnings.

    Raises `SourceError` with all errors, at most 20. `needs_entry` false is for a caller who names the flow to run: a
    program without an entry, or with several, is no error then.
    """
    with without_collector():
        return _check(tree, needs_entry)


def _check(tree: SyntaxTree, needs_entry: bool) -> CheckedTree:
    report = Report()
    types: dict[Expression, Type] = {}
    resolved = Resolved()
    constructs = Constructs()
    agents = declare(tree, report)
    known = by_name(agents)
    for agent in agents:
        for declared in agent.flows:
            expressions = FlowExpressions(known, agent, declared.flow, types, resolved, report)
            _check_parameters(declared, expressions, report)
            statements = FlowStatements(expressions, constructs, report)
            statements.check_body(declared.flow.body, declared.flow.name.text, declared.result)
        _check_agent_defaults(agent, types, report)
    entry = find_entry(tree, agents, report, needed=needs_entry)
    callees_first(resolved.flow_calls, report)
    report.raise_errors()
    return CheckedTree(
        tree=tree,
        types=types,
        calls=resolved.calls,
        results=constructs.results,
        tail=frozenset(constructs.tail),
        entry=entry,
        warnings=report.warnings,
    )


def _check_parameters(declared: DeclaredFlow, expressions: FlowExpressions, report: Report) -> None:
    """Binds the parameters of a flow, and checks their defaults."""
    expressions.scopes.enter()
    declared_types = {parameter.name: parameter.type for parameter in declared.signature.parameters}
    for parameter in declared.flow.parameters:
        name = parameter.name.text
        if expressions.is_bound(name):
            continue  # the second with this name, which is reported already
        expressions.scopes.bind(parameter.name, declared_types[name])
        if parameter.default is None:
            continue
        if is_literal(parameter.default):
            expressions.fit_literal(parameter.default, declared_types[name], f"the default of `{name}`")
        else:
            advice = VALUES.get(parameter.default.text.lower()) if isinstance(parameter.default, Name) else None
            report.error("not-literal", f"the default of `{name}` is not a literal", parameter.default.span, advice)


def _check_agent_defaults(agent: DeclaredAgent, types: dict[Expression, Type], report: Report) -> None:
    for name, value in agent.defaults.items():
        if isinstance(value, Constant) and isinstance(value.value, str):
            types[value] = STR
        elif is_literal(value):
            report.error("wrong-type", f"the agent's `{name}` is text, in quotes", value.span)
        else:
            report.error("not-literal", f"the agent's `{name}` is not a literal", value.span)
