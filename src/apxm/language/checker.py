"""Syntax tree to checked tree: everything that can be known to be wrong before a run."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.garbage import without_collector
from apxm.language.checked import CheckedTree
from apxm.language.comments import warn_of_divisions
from apxm.language.constructs import FlowConstructs
from apxm.language.cycles import around, cycles
from apxm.language.declarations import DeclaredAgent, Findings, declare
from apxm.language.elsewhere import VALUES
from apxm.language.entry import find_entry
from apxm.language.expressions import FlowExpressions
from apxm.language.flow_calls import FlowCalls
from apxm.language.later import refuse_later
from apxm.language.literals import is_literal
from apxm.language.offered_tools import offered_tools
from apxm.language.records import declare_records
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import Constant, Expression, Flow, FlowParameter, Name, SyntaxTree
from apxm.operations.definition import Callee
from apxm.operations.types import STR, TOOLS, Type


@without_collector()
def check(tree: SyntaxTree, *, needs_entry: bool = True) -> CheckedTree:
    """The tree with what its names, calls and types turned out to be, and with warnings.

    Raises `SourceError` with all errors, at most 20. `needs_entry` false is for a caller who names the flow to run: a
    program without an entry, or with several, is no error then.
    """
    report = Report()
    refuse_later(tree, report)
    records = declare_records(tree, report)
    agents = declare(tree, records, report)
    findings = Findings(agents, records, report)
    for record in tree.records:
        declared_as = records.get(record.name.text, UNKNOWN)
        for field in record.fields:
            found = declared_as.field(field.name.text)
            expected = UNKNOWN if found is None else found.type
            _check_default(field.name.text, field.default, expected, FlowExpressions(findings), report)
    names: set[str] = set()
    for agent in agents:
        for declared in agent.capabilities:
            parameters = declared.capability.parameters
            _check_parameters(parameters, declared.callee, FlowExpressions(findings), report)
        for declared in agent.flows:
            expressions = FlowCalls(findings, agent, declared.flow)
            _check_parameters(declared.flow.parameters, declared.callee, expressions, report)
            _refuse_descriptions(declared.flow, report)
            statements = FlowConstructs(expressions, findings)
            statements.check_body(declared.flow.body, declared.flow.name.text, declared.callee.result)
            names |= expressions.scopes.names
        _check_agent_defaults(agent, findings, report)
    entry = find_entry(tree, agents, report, needed=needs_entry)
    _reject_cycles(findings)
    report.raise_errors()
    warn_of_divisions(tree.source, findings.types, names, report)
    return CheckedTree(
        tree=tree,
        types=findings.types,
        calls=findings.calls,
        capabilities=list(findings.capabilities.values()),
        results=findings.results,
        heads=findings.heads,
        carried=findings.carried,
        collecting=frozenset(findings.collecting),
        records={name: record for name, record in records.items() if record != UNKNOWN},
        tail=frozenset(findings.tail),
        entry=entry,
        warnings=report.warnings,
    )


def _check_parameters(
    parameters: Sequence[FlowParameter], callee: Callee, expressions: FlowExpressions, report: Report
) -> None:
    """Binds the parameters of a flow or a capability, and checks their defaults."""
    expressions.scopes.enter()
    declared_types = {parameter.name: parameter.type for parameter in callee.parameters}
    for parameter in parameters:
        name = parameter.name.text
        if expressions.is_bound(name):
            continue  # the second with this name, which is reported already
        expressions.scopes.bind(parameter.name, declared_types[name])
        _check_default(name, parameter.default, declared_types[name], expressions, report)


def _refuse_descriptions(flow: Flow, report: Report) -> None:
    for parameter in flow.parameters:
        if parameter.description is not None:
            message = "only the parameters of a capability are described: no model is told of those of a flow"
            report.error("syntax", message, parameter.description.span, "a comment stands behind `//`")


def _check_default(
    name: str, default: Expression | None, expected: Type, expressions: FlowExpressions, report: Report
) -> None:
    if default is not None and is_literal(default):
        expressions.fit_literal(default, expected, f"the default of `{name}`")
    elif default is not None:
        advice = VALUES.get(default.text.lower()) if isinstance(default, Name) else None
        report.error("not-literal", f"the default of `{name}` is not a literal", default.span, advice)


def _check_agent_defaults(agent: DeclaredAgent, findings: Findings, report: Report) -> None:
    for name, value in agent.defaults.items():
        if name == "tools":
            findings.types[value] = TOOLS
            offered_tools(value, findings)
        elif isinstance(value, Constant) and isinstance(value.value, str):
            findings.types[value] = STR
        elif is_literal(value):
            report.error("wrong-type", f"the agent's `{name}` is text, in quotes", value.span)
        else:
            report.error("not-literal", f"the agent's `{name}` is not a literal", value.span)


def _reject_cycles(findings: Findings) -> None:
    """Reports each cycle of calls once. Flows may not call themselves: every program unfolds into a finite graph."""
    waits_for = {flow: [*{callee.flow: None for _, callee in called}] for flow, called in findings.flow_calls.items()}
    for cycle in cycles(waits_for, lambda flow: flow.span.start):
        _report_cycle(cycle, findings)
        if findings.report.full:
            return


def _report_cycle(cycle: list[Flow], findings: Findings) -> None:
    following = cycle[1] if len(cycle) > 1 else cycle[0]
    call = next(call for call, callee in findings.flow_calls[cycle[0]] if callee.flow is following)
    names = [flow.name.text for flow in cycle]
    message = f"flow `{names[0]}` calls itself: {around(names)}"
    advice = "flows cannot recurse; `loop (max: 4, …) { … until … }` repeats something"
    findings.report.error("flow-cycle", message, call.callee[-1].span, advice)
