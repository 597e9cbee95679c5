"""The agents, flows and capabilities of a program: their names, and the types that their declarations give."""

from __future__ import annotations

from apxm.frozen import FrozenRecord
from apxm.language import later
from apxm.language.checked import DeclaredCapability, FlowCall, OperationCall, ToolCall
from apxm.language.elsewhere import DEFAULTS as DEFAULT_ADVICE
from apxm.language.names import Names
from apxm.language.records import Records, resolve
from apxm.language.report import Report
from apxm.language.syntax import (
    Agent,
    CallExpression,
    Capability,
    Construct,
    Expression,
    Flow,
    NamedArgument,
    Repetition,
    SyntaxTree,
)
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Callee, Parameter
from apxm.operations.types import JSON, NONE, Type

ANNOTATIONS = ("entry", "no_fuse")
DEFAULTS = ("system", "backend", "model", "tools")


class DeclaredFlow(FrozenRecord):
    """A flow, with the agent it belongs to and the types of what it takes and gives."""

    agent: Agent
    flow: Flow
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


Head = tuple[Expression, tuple[NamedArgument, ...]]
"""The list whose items a `for` takes, and what stands in its parentheses."""


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
        self.tools: dict[Expression, tuple[DeclaredCapability, ...]] = {}
        """The capabilities that each list of them names."""
        self.results: dict[Construct, Type] = {}
        """The types of the constructs that give a value."""
        self.heads: dict[Construct, Head] = {}
        """The heads of the `for`s, as far as those are known."""
        self.carried: dict[Repetition, dict[str, Type]] = {}
        """The types of what each repetition carries."""
        self.collecting: set[Construct] = set()
        """The `for`s that give a list of what their turns return."""
        self.tail: set[Construct] = set()
        """The unbound constructs whose value is that of what stands around them."""


def declare(tree: SyntaxTree, records: Records, report: Report) -> list[DeclaredAgent]:
    names = Names(report)
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
            help = f"there it is {first.callee.declaration}{readonly}"
            if _said(first)[:-1] == _said(declared)[:-1]:
                help = "there it is described in other words"
            report.error("duplicate-name", message, name.span, help)
    return found


def _said(declared: DeclaredCapability) -> tuple[object, ...]:
    """All that a declaration says, without its layout; descriptions come last."""
    capability = declared.capability
    defaults = [parameter.default and parameter.default.span.text for parameter in capability.parameters]
    described = [*(parameter.description for parameter in capability.parameters), capability.description]
    texts = [text and text.value for text in described]
    return declared.callee.parameters, defaults, declared.callee.result, capability.readonly, texts


def _declare_agent(agent: Agent, records: Records, report: Report) -> DeclaredAgent:
    declared = DeclaredAgent(agent=agent, flows=[], callables={}, defaults={})
    defaults, names = Names(report), Names(report)
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
    for memory in agent.memories:
        message = "`memory { … }` is accepted, and has no effect here"
        report.warning("no-effect", message, memory.span.first(len("memory")), "it can be left out")
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
    names = Names(report)
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
    names = Names(report)
    shown: list[str] = []
    for parameter in declared_as.parameters:
        parameter_type = resolve(parameter.type, records, report)
        if names.add(parameter.name, "parameter"):
            required = parameter.default is None
            declared.append(Parameter(parameter.name.text, parameter_type, "", required=required, by_position=True))
            default = f" = {parameter.default.span.text}" if parameter.default else ""
            shown.append(f"{parameter.name.text}: {parameter.type.span.text}{default}")
    arrow = f" -> {result}" if result != NONE else ""
    name = declared_as.name.text
    declaration = f"{name}({', '.join(shown)}){arrow}"
    return Callee(name=name, parameters=tuple(declared), result=result, declaration=declaration)
