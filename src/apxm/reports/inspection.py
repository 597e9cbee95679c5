"""What an artifact holds: ``apxm inspect``."""

from __future__ import annotations

import json

import msgspec
from msgspec import Struct

from apxm.program.model import Call, Enter, Exit, Flow, Operate, Plan, PlanNames, Program, Switch
from apxm.reports.summary import count
from apxm.reports.tables import aligned
from apxm.source import printable


class InspectedFlow(Struct, frozen=True):
    name: str
    declaration: str
    """Its name and signature: ``Agent.flow(topic: str) -> str``."""
    entry: bool
    plan: int


class InspectedNode(Struct, frozen=True):
    """An operation, or a construct that opens other plans."""

    path: str
    operation: str
    where: str
    needs: tuple[str, ...]
    """The nodes whose values it uses, by path."""
    opens: tuple[int, ...] = ()
    """The plans it opens, by index."""


class InspectedOrder(Struct, frozen=True):
    """Why two operations are kept in order."""

    first: str
    first_where: str
    second: str
    second_where: str
    rule: str


class InspectedPlan(Struct, frozen=True):
    path: str
    nodes: tuple[InspectedNode, ...]
    order: tuple[InspectedOrder, ...]


class Inspection(Struct, frozen=True):
    file: str
    optimization_level: int
    flows: tuple[InspectedFlow, ...]
    plans: tuple[InspectedPlan, ...]


def inspect(program: Program) -> Inspection:
    return Inspection(
        file=program.names.file,
        optimization_level=program.optimization_level,
        flows=tuple(_flow(program, flow, index) for index, flow in enumerate(program.flows)),
        plans=tuple(_plan(program, plan, program.names.plans[index]) for index, plan in enumerate(program.plans)),
    )


def as_json(inspection: Inspection) -> str:
    return json.dumps(msgspec.to_builtins(inspection), ensure_ascii=False, indent=2)


def as_text(inspection: Inspection) -> str:
    """The flows, then plan by plan the operations and what keeps two of them in order."""
    lines = [f"{printable(inspection.file)} compiled at -O{inspection.optimization_level}", "", "flows:"]
    lines += aligned([[flow.declaration, "(entry)" if flow.entry else ""] for flow in inspection.flows])
    for plan in inspection.plans:
        lines += ["", f"{printable(plan.path)}: {count(len(plan.nodes), 'node')}"]
        lines += aligned([_row(inspection, node) for node in plan.nodes])
        if plan.order:
            lines.append("  in order, because of their effects:")
        for order in plan.order:
            both = f"{order.first} ({order.first_where}), then {order.second} ({order.second_where})"
            lines += [f"    {printable(both)}", f"      {printable(order.rule)}"]
    return "\n".join(lines)


def _row(inspection: Inspection, node: InspectedNode) -> list[str]:
    needs = f"needs {', '.join(node.needs)}" if node.needs else ""
    opens = f"opens {', '.join(inspection.plans[plan].path for plan in node.opens)}" if node.opens else ""
    return [node.path, node.operation, node.where, "; ".join(filter(None, (needs, opens)))]


def _flow(program: Program, flow: Flow, index: int) -> InspectedFlow:
    return InspectedFlow(flow.qualified_name, f"{flow.agent}.{flow.signature}", index == program.entry, flow.plan)


def _plan(program: Program, plan: Plan, names: PlanNames) -> InspectedPlan:
    def where(node: int) -> str:
        return f"{program.names.file}:{names.nodes[node].line}:{names.nodes[node].column}"

    used = _used_values(plan)
    nodes: list[InspectedNode] = []
    for index, node in enumerate(plan.nodes):
        match node:
            case Operate():
                operation, opens = node.operation, ()
            case Switch():
                operation, opens = "switch", node.arms + (() if node.default is None else (node.default,))
            case Call():
                operation, opens = "call", (node.plan,)
            case _:
                continue
        needs = tuple(names.nodes[needed].path for needed in _needs(plan, used, index))
        nodes.append(InspectedNode(names.nodes[index].path, operation, where(index), needs, opens))
    order = tuple(
        InspectedOrder(
            names.nodes[edge.source].path,
            where(edge.source),
            names.nodes[edge.target].path,
            where(edge.target),
            edge.rule,
        )
        for edge in names.order_edges
    )
    return InspectedPlan(names.path, tuple(nodes), order)


def _used_values(plan: Plan) -> list[list[int]]:
    """Per node, those whose values it uses; a construct also uses what is delivered into it."""
    used = [list(node.operands) for node in plan.nodes]
    for node in plan.nodes:
        if isinstance(node, Enter):
            used[node.opener] += [operand for operand in node.operands if operand != node.opener]
    return used


def _needs(plan: Plan, used: list[list[int]], index: int) -> list[int]:
    """The operations and constructs behind the values that a node uses, seen through the nodes that have no name."""
    found: dict[int, None] = {}
    waiting = used[index][::-1]
    seen: set[int] = set()
    while waiting:
        needed = waiting.pop()
        if needed in seen:
            continue
        seen.add(needed)
        node = plan.nodes[needed]
        if isinstance(node, Operate | Switch | Call):
            found[needed] = None
        elif isinstance(node, Exit):
            found[node.opener] = None
        else:
            waiting += reversed(used[needed])
    return list(found)
