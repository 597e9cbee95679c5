"""What an artifact holds: ``apxm inspect``."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from apxm.program.nodes import Enter, Exit, Operate
from apxm.program.openers import If, Opener
from apxm.program.program import Flow, Plan, PlanNames, Program
from apxm.program.statistics import PlanStatistics, flow_statistics
from apxm.reports.summary import count
from apxm.reports.tables import aligned
from apxm.source import printable


class InspectedFlow(Struct, frozen=True):
    name: str
    declaration: str
    """The flow's name and signature: ``Agent.flow(topic: str) -> str``."""
    entry: bool
    plan: int
    total_nodes: int
    """How many operations the flow has, those of all that it opens included (`PlanStatistics`)."""
    operations_in_run: tuple[int, int | None] | UnsetType = UNSET
    """The operations of a run, as in `PlanStatistics`: absent where no frame opens any number of times."""


class InspectedNode(Struct, frozen=True):
    """An operation, or a construct that opens other plans; only the first kind is counted as a node."""

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
    statistics = flow_statistics(program)
    return Inspection(
        file=program.names.file,
        optimization_level=program.optimization_level,
        flows=tuple(
            _flow(program, flow, index, statistics[flow.qualified_name]) for index, flow in enumerate(program.flows)
        ),
        plans=tuple(_plan(program, plan, program.names.plans[index]) for index, plan in enumerate(program.plans)),
    )


def as_text(inspection: Inspection) -> str:
    """The flows, then plan by plan the operations and what keeps two of them in order."""
    lines = [f"{printable(inspection.file)} compiled at -O{inspection.optimization_level}", "", "flows:"]
    lines += aligned([[f.declaration, _nodes(f), "(entry)" if f.entry else ""] for f in inspection.flows])
    for plan in inspection.plans:
        lines += ["", f"{printable(plan.path)}: {_size(plan)}"]
        lines += aligned([_row(inspection, node) for node in plan.nodes])
        if plan.order:
            lines.append("  in order, because of their effects:")
        for order in plan.order:
            both = f"{order.first} ({order.first_where}), then {order.second} ({order.second_where})"
            lines += [f"    {printable(both)}", f"      {printable(order.rule)}"]
    return "\n".join(lines)


def _nodes(flow: InspectedFlow) -> str:
    nodes = count(flow.total_nodes, "node")
    if flow.operations_in_run is UNSET:
        return nodes
    least, most = flow.operations_in_run
    return f"{nodes}, {f'at least {least:,}' if most is None else f'{least:,} to {most:,}'} in a run"


def _size(plan: InspectedPlan) -> str:
    """Nodes are counted as everywhere else (docs/metrics.md): what opens other plans is none."""
    constructs = sum(1 for node in plan.nodes if node.opens)
    nodes = count(len(plan.nodes) - constructs, "node")
    return f"{nodes}, {count(constructs, 'construct')}" if constructs else nodes


def _row(inspection: Inspection, node: InspectedNode) -> list[str]:
    needs = f"needs {', '.join(node.needs)}" if node.needs else ""
    opens = f"opens {', '.join(inspection.plans[plan].path for plan in node.opens)}" if node.opens else ""
    return [node.path, node.operation, node.where, "; ".join(filter(None, (needs, opens)))]


def _flow(program: Program, flow: Flow, index: int, statistics: PlanStatistics) -> InspectedFlow:
    return InspectedFlow(
        name=flow.qualified_name,
        declaration=f"{flow.agent}.{flow.signature}",
        entry=index == program.entry,
        plan=flow.plan,
        total_nodes=statistics.total_nodes,
        operations_in_run=statistics.operations_in_run,
    )


def _plan(program: Program, plan: Plan, names: PlanNames) -> InspectedPlan:
    def where(node: int) -> str:
        return f"{program.names.file}:{names.nodes[node].line}:{names.nodes[node].column}"

    used = _used_values(plan)
    nodes: list[InspectedNode] = []
    for index, node in enumerate(plan.nodes):
        match node:
            case Operate():
                operation, opens = node.operation, ()
            case Opener():
                operation, opens = _written_as(node, names.nodes[index].path), node.opened
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


def _written_as(node: Opener, path: str) -> str:
    """What the source calls it: an `if` without a name stands for an `until`, `and` or `or` too, as its path says."""
    called, is_counted, _ = path.rpartition("/")[2].partition("#")
    return called if isinstance(node, If) and is_counted else node.kind


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
        if isinstance(node, Operate | Opener):
            found[needed] = None
        elif isinstance(node, Exit):
            found[node.opener] = None
        else:
            waiting += reversed(used[needed])
    return list(found)
