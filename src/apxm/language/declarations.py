"""The agents, flows and capabilities of a program: their names, and the types that their declarations give."""

from __future__ import annotations

from apxm.frozen import FrozenRecord
from apxm.language import later
from apxm.language.elsewhere import DEFAULTS as DEFAULT_ADVICE
from apxm.language.elsewhere import TYPES
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import (
    Agent,
    CallExpression,
    Capability,
    Construct,
    Expression,
    Flow,
    FlowCall,
    Identifier,
    OperationCall,
    SyntaxTree,
    ToolCall,
    TypeName,
)
from apxm.operations.catalog import OPERATIONS, OPTIONS
from apxm.operations.definition import Callee, Parameter
from apxm.operations.types import JSON, LATER_TYPES, NONE, SCALARS, Type, list_of
from apxm.source import Span

ANNOTATIONS = ("entry", "no_fuse")
DEFAULTS = {p.name: p for p in OPTIONS if p.name in ("system", "backend", "model")}


class DeclaredFlow(FrozenRecord):
    """A flow, with the agent it belongs to and the types of what it takes and gives."""

    agent: Agent
    flow: Flow
    callee: Callee


class DeclaredCapability(FrozenRecord):
    """A capability, with the types of what it takes and gives."""

    capability: Capability
    callee: Callee


class DeclaredAgent(FrozenRecord):
    """An agent, with all that its declarations say."""

    agent: Agent
    flows: list[DeclaredFlow]
    callables: dict[str, DeclaredFlow | DeclaredCapability]
    """The agent's flows and capabilities, by name; of two with the same name, the first."""
    defaults: dict[str, Expression]

    @property
    def capabilities(self) -> list[DeclaredCapability]:
        return [member for member in self.callables.values() if isinstance(member, DeclaredCapability)]


class _Names:
    """The names that are declared in one place, each once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._first: dict[str, Identifier] = {}

    def add(self, name: Identifier, kind: str) -> bool:
        """Whether it is new; where not, that is reported."""
        first = self._first.setdefault(name.text, name)
        if first is not name:
            message = f"the {kind} `{name.text}` is declared twice; the first is on line {first.span.line}"
            self._report.error("duplicate-name", message, name.span)
        return first is name


Records = dict[str, dict[str, Type]]
"""The records of a program, and their fields, by name."""


class Findings:
    """What is known of one program so far: filled in flow by flow."""

    def __init__(self, agents: list[DeclaredAgent], records: Records, report: Report) -> None:
        self.agents = {declared.agent.name.text: declared for declared in reversed(agents)}
        """The agents by their names; of two with the same name, the first."""
        self.capabilities = _one_per_name(agents, report)
        self.records = records
        self.report = report
        self.types: dict[Expression, Type] = {}
        self.calls: dict[CallExpression, OperationCall | FlowCall | ToolCall] = {}
        self.flow_calls: dict[Flow, list[tuple[CallExpression, DeclaredFlow]]] = {}
        """The calls of other flows in each flow, those with wrong arguments too."""
        self.results: dict[Construct, Type] = {}
        """The types of the constructs that give a value."""
        self.tail: set[Construct] = set()
        """The unbound constructs whose value is that of what stands around them."""


def declare_records(tree: SyntaxTree, report: Report) -> Records:
    """The records and the types of their fields; of two records with the same name, the first."""
    records: Records = {}
    names = _Names(report)
    for record in tree.records:
        if record.name.text in (*SCALARS, "list", *LATER_TYPES):
            message = f"`{record.name.text}` is a type of the language, so it cannot name a record"
            report.error("duplicate-name", message, record.name.span)
        elif names.add(record.name, "record"):
            records[record.name.text] = {}
    for record in tree.records:
        fields = _Names(report)
        for member in record.fields:
            found = resolve(member.type, records, report)
            if fields.add(member.name, "field"):
                records.get(record.name.text, {}).setdefault(member.name.text, found)
    return records


def declare(tree: SyntaxTree, records: Records, report: Report) -> list[DeclaredAgent]:
    names = _Names(report)
    for agent in tree.agents:
        names.add(agent.name, "agent")
    return [_declare_agent(agent, records, report) for agent in tree.agents]


def _one_per_name(agents: list[DeclaredAgent], report: Report) -> dict[str, DeclaredCapability]:
    """The capabilities of all agents. Those of one name are one tool, so they have to be declared alike."""
    found: dict[str, DeclaredCapability] = {}
    for declared in (declared for agent in agents for declared in agent.capabilities):
        name = declared.capability.name
        first = found.setdefault(name.text, declared)
        if _said(first) != _said(declared):
            message = f"the capability `{name.text}` is declared otherwise on line {first.capability.name.span.line}"
            readonly = " readonly" if first.capability.readonly else ""
            report.error("duplicate-name", message, name.span, f"there it is {first.callee.declaration}{readonly}")
    return found


def _said(declared: DeclaredCapability) -> object:
    """All that a declaration says, without its layout."""
    spans = [parameter.default and parameter.default.span for parameter in declared.capability.parameters]
    defaults = [span and span.source.text[span.start : span.end] for span in spans]
    return declared.callee.parameters, defaults, declared.callee.result, declared.capability.readonly


def _declare_agent(agent: Agent, records: Records, report: Report) -> DeclaredAgent:
    declared = DeclaredAgent(agent=agent, flows=[], callables={}, defaults={})
    defaults, names = _Names(report), _Names(report)
    for default in agent.defaults:
        name = default.name.text
        if name in later.DEFAULTS:
            continue
        if name not in DEFAULTS:
            known = ", ".join(f"`{known}`" for known in DEFAULTS)
            more = f"; {DEFAULT_ADVICE[name]}" if name in DEFAULT_ADVICE else ""
            advice = report.near(name, DEFAULTS) or f"the defaults of an agent are {known}{more}"
            report.error("unknown-default", f"there is no agent default `{name}`", default.name.span, advice)
        elif defaults.add(default.name, "default"):
            declared.defaults[name] = default.value
    for member in sorted((*agent.capabilities, *agent.flows), key=lambda member: member.span.start):
        kind = "flow" if isinstance(member, Flow) else "capability"
        if isinstance(member, Flow):
            _check_annotations(member, report)
            callable_ = DeclaredFlow(agent=agent, flow=member, callee=_callee(member, NONE, records, report))
            declared.flows.append(callable_)
        else:
            callable_ = DeclaredCapability(capability=member, callee=_callee(member, JSON, records, report))
        if member.name.text in OPERATIONS:
            message = f"`{member.name.text}` is an operation, so it cannot name a {kind}"
            report.error("operation-name", message, member.name.span)
        if names.add(member.name, kind):
            declared.callables[member.name.text] = callable_
    return declared


def _check_annotations(flow: Flow, report: Report) -> None:
    names = _Names(report)
    for annotation in flow.annotations:
        if annotation.text not in ANNOTATIONS:
            known = [f"@{name}" for name in ANNOTATIONS]
            advice = report.near(f"@{annotation.text}", known) or "there are " + " and ".join(f"`{n}`" for n in known)
            report.error("unknown-annotation", f"there is no annotation `@{annotation.text}`", annotation.span, advice)
        else:
            names.add(annotation, "annotation")


def _callee(declared_as: Flow | Capability, without_result: Type, records: Records, report: Report) -> Callee:
    result = resolve(declared_as.result, records, report) if declared_as.result else without_result
    declared: list[Parameter] = []
    names = _Names(report)
    shown: list[str] = []
    for parameter in declared_as.parameters:
        parameter_type = resolve(parameter.type, records, report)
        if names.add(parameter.name, "parameter"):
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
