"""What must hold of a `Program` before it may run; an artifact can come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping

from apxm.errors import ArtifactError
from apxm.operations.catalog import ANSWERS_AS, AVAILABLE
from apxm.operations.definition import Family, Operation
from apxm.operations.functions import FUNCTIONS
from apxm.operations.types import BUILT_IN, JSON, TOOLS, Type, conforms, parse_type
from apxm.program.expressions import (
    Apply,
    Cast,
    DictOf,
    Expression,
    Literal,
    Logic,
    Operand,
    Settled,
    Sum,
    TextForm,
    parts_of,
)
from apxm.program.frames import SOURCE, FrameGraph
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Opener
from apxm.program.program import AnyNode, Capability, Flow, Plan, Program
from apxm.program.records import flaw_of, verify_records

MOST_NODES = 4_000_000
"""The most nodes of all plans together."""
MOST_WORK = 4_000_000
"""Nodes that one run may unfold into by its source alone: a call tree can be exponential in it. It is a few GiB at the
worst."""
FRAME_WORK = 16
"""What a frame costs, in nodes."""
DEEPEST_EXPRESSION = 64


def verify(program: Program) -> None:
    """Raises `ArtifactError` naming the first thing that is wrong, and where."""
    count = sum(len(plan.nodes) for plan in program.plans)
    if count > MOST_NODES:
        raise ArtifactError(f"the program has {count:,} nodes; the limit is {MOST_NODES:,}")
    verify_records(program)
    records = program.record_types
    for index, plan in enumerate(program.plans):
        _Checker(program, index, plan, records).check()
    _check_unfolding(program)
    _check_flows(program, records)
    _check_capabilities(program, records)
    _check_names(program)


class _Checker:
    """One plan."""

    def __init__(self, program: Program, index: int, plan: Plan, records: Mapping[str, Type]) -> None:
        self.program = program
        self.index = index
        self.plan = plan
        self.records = records

    def check(self) -> None:
        plan = self.plan
        if not 0 <= plan.inputs <= len(plan.nodes):
            raise self.error(None, f"has {len(plan.nodes)} nodes, and claims {plan.inputs} of them as inputs")
        for i, node in enumerate(plan.nodes):
            if isinstance(node, Input) != (i < plan.inputs):
                raise self.error(i, f"is a {node.kind}, but the first {plan.inputs} nodes, and only they, are inputs")
            self.check_edges(i, node)
            self.check_node(i, node)
        self.check_outputs()
        self.check_openers()

    def check_edges(self, i: int, node: AnyNode) -> None:
        predecessors = (*node.operands, *node.after, *node.requires)
        waits_for_none = isinstance(node, Input) or (isinstance(node, Opener) and node.computes is None)
        if predecessors and waits_for_none:
            raise self.error(i, f"is a {node.kind} and cannot have predecessors")
        for p in predecessors:
            if not 0 <= p < len(self.plan.nodes):
                raise self.error(i, f"has an edge out of range: from node {p} of {len(self.plan.nodes)}")
            if p >= i:
                raise self.error(i, f"has an edge from node {p}, which does not come before it: the plan has a cycle")
        for p in node.operands:
            self.check_value(i, p)

    def check_value(self, i: int, p: int) -> None:
        source = self.plan.nodes[p]
        if isinstance(source, Output | Opener | Enter) or (isinstance(source, Operate) and source.result == "none"):
            raise self.error(i, f"uses the value of node {p}, a {source.kind} that gives none")

    def check_node(self, i: int, node: AnyNode) -> None:
        if isinstance(node, Operate):
            self.check_operation(i, node)
        elif node.computes is not None:
            self.check_expression(i, node.computes)
        if isinstance(node, Opener):
            self.check_opener(i, node)
        elif isinstance(node, Enter | Exit):
            self.check_port(i, node)

    def check_operation(self, i: int, node: Operate) -> None:
        operation = AVAILABLE.get(node.operation)
        if operation is None or operation.family is Family.VALUE:
            raise self.error(i, f"is the operation {node.operation!r}, which this version of apxm cannot run")
        most = None if operation.variadic else len(operation.operands)
        if len(node.arguments) < operation.least_operands or (most is not None and len(node.arguments) > most):
            raise self.error(
                i, f"gives {node.operation!r} {len(node.arguments)} arguments; it takes {operation.signature}"
            )
        for argument in node.arguments:
            self.check_expression(i, argument)
        for name, option in node.options.items():
            self.check_expression(i, option)
            self.check_option(i, operation, name, option)
        for parameter in operation.positional:
            if parameter.required and parameter.literal and parameter.name not in node.options:
                raise self.error(i, f"gives {node.operation!r} no {parameter.name!r}")
        self.check_type(i, node.result)

    def check_type(self, i: int, written: str) -> None:
        try:
            parse_type(written, self.records)
        except ValueError as error:
            raise self.error(i, f"has a result of {error}") from None

    def check_option(self, i: int, operation: Operation, name: str, option: Expression) -> None:
        parameter = operation.by_name.get(name)
        if parameter is None or parameter in operation.operands:
            raise self.error(i, f"gives {operation.name!r} an option {name!r} that it does not have")
        if not parameter.literal:
            return
        if not isinstance(option, Literal) or not conforms(option.value, parameter.type):
            raise self.error(i, f"gives {operation.name!r} a {name!r} that is not a literal {parameter.type}")
        value = option.value
        too_small = (parameter.minimum is not None and value < parameter.minimum) or (
            parameter.above is not None and value <= parameter.above
        )
        if too_small or (parameter.maximum is not None and value > parameter.maximum):
            raise self.error(i, f"gives {operation.name!r} a {name!r} of {value!r}, which is out of range")
        if parameter.type == TOOLS and (unknown := {*value} - {c.name for c in self.program.capabilities}):
            raise self.error(i, f"offers {min(unknown)!r}, which is not declared")
        if name == ANSWERS_AS:
            self.check_type(i, value)

    def check_expression(self, i: int, expression: Expression) -> None:
        operands = len(self.plan.nodes[i].operands)
        level = [expression]
        for _ in range(DEEPEST_EXPRESSION):
            below: list[Expression] = []
            for part in level:
                if isinstance(part, Literal) and not conforms(part.value, JSON):
                    raise self.error(i, "holds a literal that is no value of AIS")
                if isinstance(part, Operand) and not 0 <= part.index < operands:
                    raise self.error(i, f"uses operand {part.index} of {operands}")
                if isinstance(part, DictOf) and len(part.keys) != len(part.values):
                    raise self.error(i, f"builds an object of {len(part.keys)} keys and {len(part.values)} values")
                if isinstance(part, Cast) and (flaw := flaw_of(part.target, self.records)):
                    raise self.error(i, flaw)
                if isinstance(part, TextForm) and part.record not in BUILT_IN:
                    raise self.error(i, f"makes text of a {part.record!r}")
                if isinstance(part, Sum) and not part.parts:
                    raise self.error(i, "adds no numbers")
                if isinstance(part, Settled):
                    self.check_settled(i, part)
                if isinstance(part, Apply):
                    self.check_function(i, part)
                if isinstance(part, Logic) and not part.parts:
                    raise self.error(i, f"takes {part.operator!r} of nothing")
                below += parts_of(part)
            if not below:
                return
            level = below
        raise self.error(i, f"holds an expression deeper than {DEEPEST_EXPRESSION} levels")

    def check_settled(self, i: int, value: Settled) -> None:
        node = self.plan.nodes[i]
        if not isinstance(node, Compute) or not 0 <= value.index < len(node.after):
            raise self.error(i, f"uses value {value.index} of {len(node.after)} that it waits for")
        self.check_value(i, node.after[value.index])

    def check_function(self, i: int, applied: Apply) -> None:
        function = FUNCTIONS.get(applied.function)
        if function is None:
            raise self.error(i, f"computes {applied.function!r}, which this version of apxm does not know")
        if not function.takes(len(applied.arguments)):
            raise self.error(i, f"computes {applied.function!r} of {len(applied.arguments)} values")

    # --- frames ----------------------------------------------------------------------------------------------------

    def check_opener(self, i: int, opener: Opener) -> None:
        if opener.flaw:
            raise self.error(i, opener.flaw)
        opened = opener.opened
        for plan in opened:
            if not 0 <= plan < len(self.program.plans):
                raise self.error(i, f"opens plan {plan} of {len(self.program.plans)}")
        if len({_shape(self.program.plans[plan]) for plan in opened}) > 1:
            raise self.error(i, "has arms that differ in their inputs or outputs")
        if misfit := opener.misfit(self.program.plans[opened[0]]):
            raise self.error(i, misfit)

    def check_port(self, i: int, node: Enter | Exit) -> None:
        opener = self.plan.nodes[node.opener] if 0 <= node.opener < i else None
        if not isinstance(opener, Opener):
            raise self.error(i, f"belongs to node {node.opener}, which is no switch or call before it")
        opened = self.program.plans[opener.opened[0]]
        ports = opened.inputs if isinstance(node, Enter) else len(opened.outputs)
        if not 0 <= node.port < ports:
            raise self.error(i, f"uses port {node.port} of {ports}")

    def check_openers(self) -> None:
        """Every input of an opened plan is delivered once: a frame with an open input would never end."""
        openers = dict(self.plan.openers())
        entered: dict[int, list[int]] = {i: [] for i in openers}
        left: set[tuple[int, int]] = set()
        exited: set[int] = set()
        for i, node in enumerate(self.plan.nodes):
            if isinstance(node, Enter):
                if node.opener in exited:
                    raise self.error(i, "enters a frame behind one of its exits")
                entered[node.opener].append(node.port)
            elif isinstance(node, Exit):
                if (node.opener, node.port) in left:
                    raise self.error(i, f"is a second exit of port {node.port}")
                left.add((node.opener, node.port))
                exited.add(node.opener)
        for opener, ports in entered.items():
            needed = self.program.plans[openers[opener].opened[0]].inputs
            own = openers[opener].own_input
            if sorted(ports if own is None else [*ports, own]) != list(range(needed)):
                raise self.error(
                    opener, f"opens a plan of {needed} inputs, and delivers into ports {sorted(ports)[:20]}"
                )

    def check_outputs(self) -> None:
        plan = self.plan
        found = {node.port: i for i, node in enumerate(plan.nodes) if isinstance(node, Output)}
        declared = dict(enumerate(plan.outputs))
        if found != declared or sum(isinstance(node, Output) for node in plan.nodes) != len(declared):
            raise self.error(None, "has outputs that do not match its output nodes")
        for port, i in declared.items():
            node = plan.nodes[i]
            assert isinstance(node, Output)
            if (node.value is not None) != (port < plan.values):
                raise self.error(i, f"is output {port}, and {'has' if node.value else 'lacks'} a value")
        if not 0 <= plan.values <= len(declared):
            raise self.error(None, f"should give {plan.values} values and has {len(declared)} outputs")

    def error(self, node: int | None, text: str) -> ArtifactError:
        where = f"plan {self.index}" if node is None else f"plan {self.index}, node {node}"
        return ArtifactError(f"the program is not valid: {where} {text}")


# --- the program as a whole ----------------------------------------------------------------------------------------


def unfolded_work(program: Program) -> list[float]:
    """What one run can unfold into, by plan, in nodes, a frame counting as `FRAME_WORK` more.

    An opener counts as its most expensive alternative, as often as the source alone has it open at once. Raises
    `ArtifactError` where a plan opens itself.
    """
    return FrameGraph.of(program.plans).total([len(plan.nodes) + FRAME_WORK for plan in program.plans], SOURCE)


def _check_unfolding(program: Program) -> None:
    if max(unfolded_work(program), default=0) > MOST_WORK:
        raise ArtifactError(f"one run of the program would unfold into more than {MOST_WORK:,} nodes")


def _check_flows(program: Program, records: Mapping[str, Type]) -> None:
    if program.entry is not None and not 0 <= program.entry < len(program.flows):
        raise ArtifactError(f"the program is not valid: its entry is flow {program.entry} of {len(program.flows)}")
    if not program.flows:
        raise ArtifactError("the program is not valid: it has no flow")
    names = {flow.qualified_name for flow in program.flows}
    if len(names) != len(program.flows):
        raise ArtifactError("the program is not valid: two flows have the same name")
    for flow in program.flows:
        _check_flow(program, flow, records)


def _check_flow(program: Program, flow: Flow, records: Mapping[str, Type]) -> None:
    def error(text: str) -> ArtifactError:
        return ArtifactError(f"the program is not valid: flow {flow.qualified_name} {text}")

    if not 0 <= flow.plan < len(program.plans):
        raise error(f"runs plan {flow.plan} of {len(program.plans)}")
    plan = program.plans[flow.plan]
    if len(flow.parameters) > plan.inputs:
        raise error(f"has {len(flow.parameters)} parameters, and its plan takes {plan.inputs} inputs")
    if int(flow.result is not None) != plan.values:
        raise error("and its plan differ about whether it gives a value")
    if flaw := _flaw_of_signature(flow, records):
        raise error(flaw)


def _check_capabilities(program: Program, records: Mapping[str, Type]) -> None:
    if len({capability.name for capability in program.capabilities}) != len(program.capabilities):
        raise ArtifactError("the program is not valid: two capabilities have the same name")
    for capability in program.capabilities:
        if flaw := _flaw_of_signature(capability, records):
            raise ArtifactError(f"the program is not valid: capability {capability.name} {flaw}")


def _flaw_of_signature(declared: Flow | Capability, records: Mapping[str, Type]) -> str | None:
    """What is wrong with the types of what something takes and gives; None where nothing is."""
    for text in (*(p.type for p in declared.parameters), *([declared.result] if declared.result is not None else [])):
        try:
            parse_type(text, records)
        except ValueError as unknown:
            return f"uses an {unknown}"
    for p in declared.parameters:
        if not p.required and not conforms(p.default, parse_type(p.type, records)):
            return f"has a default for {p.name!r} that is not {p.type}"
    return None


def _check_names(program: Program) -> None:
    names = program.names.plans
    if [len(p.nodes) for p in names] != [len(plan.nodes) for plan in program.plans]:
        raise ArtifactError("the program is not valid: its names do not match its nodes")
    for index, plan in enumerate(names):
        for edge in plan.order_edges:
            if not (0 <= edge.source < len(plan.nodes) and 0 <= edge.target < len(plan.nodes)):
                raise ArtifactError(f"the program is not valid: plan {index} explains an order edge out of range")


def _shape(plan: Plan) -> tuple[int, int, int]:
    return plan.inputs, len(plan.outputs), plan.values
