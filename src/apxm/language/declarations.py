"""The agents, flows and capabilities of a program: their names, and the types that their declarations give."""

from __future__ import annotations

from dataclasses import dataclass, field

from apxm.language import later
from apxm.language.elsewhere import DEFAULTS as DEFAULT_ADVICE
from apxm.language.elsewhere import TYPES
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import Agent, Capability, Expression, Flow, Identifier, SyntaxTree, TypeName
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Callee, Parameter
from apxm.operations.model import OPTIONS
from apxm.operations.types import JSON, LATER_TYPES, NONE, SCALARS, Type, list_of
from apxm.source import Span

ANNOTATIONS = ("entry", "no_fuse")
DEFAULTS = {p.name: p for p in OPTIONS if p.name in ("system", "backend", "model")}


@dataclass(frozen=True, eq=False)
class DeclaredFlow:
    agent: Agent
    flow: Flow
    callee: Callee


@dataclass(frozen=True, eq=False)
class DeclaredAgent:
    agent: Agent
    flows: list[DeclaredFlow] = field(default_factory=list["DeclaredFlow"])
    callables: dict[str, DeclaredFlow | Callee] = field(default_factory=dict[str, "DeclaredFlow | Callee"])
    """Its flows and capabilities, by name; of two with the same name, the first."""
    defaults: dict[str, Expression] = field(default_factory=dict[str, Expression])


Records = dict[str, dict[str, Type]]
"""The records of a program, and their fields, by name."""


def declare_records(tree: SyntaxTree, report: Report) -> Records:
    """Of two with the same name, the first."""
    records: Records = {}
    first: dict[str, Identifier] = {}
    for record in tree.records:
        if record.name.text in (*SCALARS, "list", *LATER_TYPES):
            message = f"`{record.name.text}` is a type of the language, so it cannot name a record"
            report.error("duplicate-name", message, record.name.span)
        elif _is_new(record.name, "record", first, report):
            first[record.name.text] = record.name
            records[record.name.text] = {}
    for record in tree.records:
        fields: dict[str, Identifier] = {}
        for member in record.fields:
            found = resolve(member.type, records, report)
            if _is_new(member.name, "field", fields, report):
                fields[member.name.text] = member.name
                records.get(record.name.text, {}).setdefault(member.name.text, found)
    return records


def declare(tree: SyntaxTree, records: Records, report: Report) -> list[DeclaredAgent]:
    seen: dict[str, Identifier] = {}
    for agent in tree.agents:
        if _is_new(agent.name, "agent", seen, report):
            seen[agent.name.text] = agent.name
    return [_declare_agent(agent, records, report) for agent in tree.agents]


def by_name(agents: list[DeclaredAgent]) -> dict[str, DeclaredAgent]:
    """Of two with the same name, the first."""
    return {declared.agent.name.text: declared for declared in reversed(agents)}


def _declare_agent(agent: Agent, records: Records, report: Report) -> DeclaredAgent:
    declared = DeclaredAgent(agent)
    seen: dict[str, Identifier] = {}
    for default in agent.defaults:
        name = default.name.text
        if name in later.DEFAULTS:
            continue
        if name not in DEFAULTS:
            known = ", ".join(f"`{known}`" for known in DEFAULTS)
            more = f"; {DEFAULT_ADVICE[name]}" if name in DEFAULT_ADVICE else ""
            advice = report.near(name, DEFAULTS) or f"the defaults of an agent are {known}{more}"
            report.error("unknown-default", f"there is no agent default `{name}`", default.name.span, advice)
        elif _is_new(default.name, "default", seen, report):
            seen[name] = default.name
            declared.defaults[name] = default.value
    names: dict[str, Identifier] = {}
    for member in sorted((*agent.capabilities, *agent.flows), key=lambda member: member.span.start):
        kind = "flow" if isinstance(member, Flow) else "capability"
        if isinstance(member, Flow):
            callable_ = _declare_flow(agent, member, records, report)
            declared.flows.append(callable_)
        else:
            callable_ = _callee(member, JSON, records, report)
        if member.name.text in OPERATIONS:
            message = f"`{member.name.text}` is an operation, so it cannot name a {kind}"
            report.error("operation-name", message, member.name.span)
        if _is_new(member.name, kind, names, report):
            names[member.name.text] = member.name
            declared.callables[member.name.text] = callable_
    return declared


def _declare_flow(agent: Agent, flow: Flow, records: Records, report: Report) -> DeclaredFlow:
    _check_annotations(flow, report)
    return DeclaredFlow(agent, flow, _callee(flow, NONE, records, report))


def _check_annotations(flow: Flow, report: Report) -> None:
    seen: dict[str, Identifier] = {}
    for annotation in flow.annotations:
        if annotation.text not in ANNOTATIONS:
            known = [f"@{name}" for name in ANNOTATIONS]
            advice = report.near(f"@{annotation.text}", known) or "there are " + " and ".join(f"`{n}`" for n in known)
            report.error("unknown-annotation", f"there is no annotation `@{annotation.text}`", annotation.span, advice)
        elif _is_new(annotation, "annotation", seen, report):
            seen[annotation.text] = annotation


def _callee(declared_as: Flow | Capability, without_result: Type, records: Records, report: Report) -> Callee:
    result = resolve(declared_as.result, records, report) if declared_as.result else without_result
    declared: list[Parameter] = []
    seen: dict[str, Identifier] = {}
    shown: list[str] = []
    for parameter in declared_as.parameters:
        parameter_type = resolve(parameter.type, records, report)
        if _is_new(parameter.name, "parameter", seen, report):
            seen[parameter.name.text] = parameter.name
            required = parameter.default is None
            declared.append(Parameter(parameter.name.text, parameter_type, "", required=required, by_position=True))
            span = parameter.span
            shown.append(span.source.text[span.start : span.end])
    arrow = f" -> {result}" if result != NONE else ""
    name = declared_as.name.text
    declaration = f"{name}({', '.join(shown)}){arrow}"
    return Callee(name=name, parameters=tuple(declared), result=result, declaration=declaration)


def resolve(name: TypeName, records: Records, report: Report) -> Type:
    """The type that `name` writes."""
    known = (*SCALARS, "list", *LATER_TYPES)
    if name.name in LATER_TYPES:
        return UNKNOWN
    if name.name == "list":
        if name.element is None:
            message = "`list` needs the type of its elements"
            report.error("unknown-type", message, name.span, "write `list[str]`, or `json` for values of any type")
            return UNKNOWN
        element = resolve(name.element, records, report)
        return UNKNOWN if element == UNKNOWN else list_of(element)
    if name.name not in SCALARS and name.name not in records:
        listed = "the types are " + ", ".join(f"`{t}`" for t in (*SCALARS, "list[T]"))
        small = name.name.lower()
        advice = TYPES.get(small) or report.near(name.name, records)
        if advice is None and name.name[0].isupper() and small not in known:
            advice = TYPES["record"]  # `Person` is no misspelt `json`
        advice = advice or report.near(name.name, known) or listed
        written = Span(name.span.source, name.span.start, name.span.start + len(name.name))
        report.error("unknown-type", f"there is no type `{name.name}`", written, advice)
        return UNKNOWN
    if name.element is not None:
        report.error("unknown-type", f"`{name.name}` has no elements, expected `{name.name}` alone", name.span)
        return UNKNOWN
    return SCALARS.get(name.name) or Type(name.name)


def _is_new(name: Identifier, kind: str, seen: dict[str, Identifier], report: Report) -> bool:
    first = seen.get(name.text)
    if first is None:
        return True
    message = f"the {kind} `{name.text}` is declared twice; the first is on line {first.span.line}"
    report.error("duplicate-name", message, name.span)
    return False
