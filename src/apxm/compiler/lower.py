"""Module → `Program`: operations become nodes, values fold into them, constructs become plans of their own.

`program.program` describes what comes out. Nodes stand in program order, so every edge points forward by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apxm.compiler.expressions import MOST_SHARED, FoldedValue, folded, folded_constant, place, place_settling
from apxm.compiler.order import Edge, OrderTracker, input_ports, same_kind
from apxm.errors import InternalError
from apxm.ir.constructs import IfOp, RepeatOp, SwitchOp, TryOp
from apxm.ir.core import PRIORITY, Block, Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import FlowOp, Module
from apxm.ir.summary import Summary
from apxm.ir.values import ConstantOp, ValueOp
from apxm.operations.effects import Access, Order
from apxm.operations.types import NONE
from apxm.program.expressions import Expression, Literal, Operand
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import If, Repeat, Subflow, Switch, Try
from apxm.program.program import AnyNode, Flow, FlowParameter, Names, NodeName, OrderEdge, Plan, PlanNames, Program


def lower(module: Module, *, file: str, optimization_level: int) -> Program:
    """`file` is the base name of the source, for people."""
    return _Lowering(module).program(file, optimization_level)


class _Lowering:
    """The plans of a program: one per flow, in order, then one per arm of a construct, as they are met."""

    def __init__(self, module: Module) -> None:
        self.flows = module.flows
        self.capabilities = module.capabilities
        self.records = module.records
        self.summary = Summary(module)
        self.anywhere = self.summary.of_module()
        self.plan_of_flow = {symbol: index for index, symbol in enumerate(self.flows)}
        self.plans: list[Plan | None] = [None] * len(self.flows)
        self.names: list[PlanNames | None] = [None] * len(self.flows)

    def program(self, file: str, optimization_level: int) -> Program:
        for index, flow in enumerate(self.flows.values()):
            _PlanBuilder(self, flow.symbol, index, flow, flow.body, flow.body.arguments).build()
        entry = next((index for index, flow in enumerate(self.flows.values()) if flow.is_entry), None)
        return Program(
            plans=tuple(plan for plan in self.plans if plan is not None),
            flows=tuple(_flow(flow, index) for index, flow in enumerate(self.flows.values())),
            entry=entry,
            capabilities=self.capabilities,
            optimization_level=optimization_level,
            names=Names(file=file, plans=tuple(names for names in self.names if names is not None)),
            records=self.records,
        )

    def ports_of(self, op: Op) -> tuple[tuple[Access, ...], tuple[Access, ...]]:
        """The order ports of the frame of `op`: what it must be told about, and what it touches."""
        inside = self.summary.accesses(op)
        return input_ports(inside, self.anywhere), inside

    def new_plan(self) -> int:
        self.plans.append(None)
        self.names.append(None)
        return len(self.plans) - 1


def _flow(flow: FlowOp, plan: int) -> Flow:
    defaults = flow.defaults
    parameters = tuple(
        FlowParameter(name=name, type=str(argument.type), required=name not in defaults, default=defaults.get(name))
        for name, argument in zip(flow.parameters, flow.body.arguments, strict=True)
    )
    result = None if flow.result is None else str(flow.result)
    return Flow(agent=flow.agent, name=flow.flow, parameters=parameters, result=result, plan=plan)


class _PlanBuilder:
    """One plan, from one block."""

    def __init__(
        self,
        lowering: _Lowering,
        path: str,
        index: int,
        around: Op,
        block: Block,
        inputs: Sequence[SSAValue | None],
    ) -> None:
        """`around` is the flow or the construct whose block this is, and `inputs` are the values delivered into it;
        None is one that it does not look at."""
        self.lowering = lowering
        self.path = path
        self.index = index
        self.block = block
        self.is_turn = around.loops
        self.nodes: list[AnyNode] = []
        self.node_names: list[NodeName] = []
        self.order_edges: dict[OrderEdge, None] = {}
        order_in, self.order_out = lowering.ports_of(around)
        self.values: dict[SSAValue, FoldedValue] = {}
        for value in inputs:
            port = self.add(Input())
            if value is not None:
                self.values[value] = FoldedValue(Operand(port))
                if around.loops and value.owner is block:
                    self.node_names[port] = NodeName(path=value.hint)
        self.tracker = OrderTracker({self.add(Input()): access for access in order_in})
        self.inputs = len(self.nodes)

    def build(self) -> None:
        for op in self.block.ops:
            if isinstance(op, ValueOp):
                self.value_op(op)
            elif isinstance(op, OperateOp):
                self.operate(op)
            elif op.regions:
                self.construct(op)
            elif op.callee is not None:
                self.call(op, op.callee)
            elif op.ends:
                self.end(op)
            else:
                raise InternalError(f"{op.name} has no form in a program")

    def add(self, node: AnyNode, op: Op | None = None, *, named: bool = False) -> int:
        line, column = op.position if op is not None else (0, 0)
        self.nodes.append(node)
        self.node_names.append(NodeName(path=op.path if op is not None and named else "", line=line, column=column))
        return len(self.nodes) - 1

    # --- values ----------------------------------------------------------------------------------------------------

    def folded(self, value: SSAValue) -> FoldedValue:
        found = self.values.get(value)
        if found is None:
            # Not of this plan and not delivered into it: a constant that every arm can hold for itself.
            assert isinstance(value.owner, ConstantOp)
            found = self.values[value] = folded_constant(value.owner)
        return found

    def placed(self, values: Iterable[SSAValue]) -> tuple[tuple[int, ...], tuple[Expression, ...]]:
        """The operands of a node that takes `values`, and its expressions for them."""
        return place([self.folded(value).expression for value in values])

    def value_op(self, op: ValueOp) -> None:
        uses = len(op.result.uses)
        if not uses:
            return
        value = folded(op, [self.folded(operand) for operand in op.operands])
        if value.settles:
            value = FoldedValue(Operand(self.add(place_settling(value.expression), op)))
        elif not value.fits(uses):
            operands, (expression,) = place((value.expression,))
            value = FoldedValue(Operand(self.add(Compute(operands=operands, value=expression), op)))
        self.values[op.result] = value

    # --- operations ------------------------------------------------------------------------------------------------

    def operate(self, op: OperateOp) -> None:
        operation = op.OPERATION
        operands, placed = self.placed(op.operands)
        count = len(placed) - len(op.names)
        options: dict[str, Expression] = {}
        if op.literals or op.names:
            options.update({name: Literal(value) for name, value in op.literals.items()})
            options.update(zip(op.names, placed[count:], strict=True))
            ordered = [parameter.name for parameter in operation.parameters if parameter.name in options]
            options = {name: options[name] for name in (*ordered, *options)}
        accesses = self.lowering.summary.accesses(op)
        edges = self.tracker.edges_to(accesses) if accesses else ()
        node = self.add(
            Operate(
                operation=operation.name,
                operands=operands,
                arguments=placed[:count],
                options=options,
                after=_nodes(edges, Order.SETTLED) if edges else (),
                requires=_nodes(edges, Order.SUCCEEDED) if edges else (),
                result=str(op.results[0].type if op.results else NONE),
                priority=op.attributes.get(PRIORITY, 0),
            ),
            op,
            named=True,
        )
        if accesses:
            self.tracker.add(dict.fromkeys(accesses, node), node, edges)
            self.explain(edges, node)
        for result in op.results:
            self.values[result] = FoldedValue(Operand(node))

    def explain(self, edges: Iterable[Edge], target: int) -> None:
        for edge in edges:
            source = edge.pending.construct
            if source is not None:
                self.order_edges[OrderEdge(source=source, target=target, rule=edge.rule)] = None

    # --- constructs ------------------------------------------------------------------------------------------------

    def construct(self, op: Op) -> None:
        """A plan for each region, and what opens them. What a region takes as arguments stands behind what all share;
        those that it does not take, but another one does, it gets all the same."""
        captured = self.captures(op)
        most = max(len(region.arguments) for region in op.regions)
        plans: list[int] = []
        for region, step in zip(op.regions, op.steps, strict=False):
            plans.append(self.lowering.new_plan())
            path = f"{self.path.partition('/')[0]}/{op.path}{step}"
            missing = [None] * (most - len(region.arguments))
            inputs = [*captured, *region.arguments, *missing]
            _PlanBuilder(self.lowering, path, plans[-1], op, region, inputs).build()
        priority = op.attributes.get(PRIORITY, 0)
        match op:
            case SwitchOp(labels=labels):
                operands, (selector,) = self.placed((op.selector,))
                default = plans[-1] if op.has_default else None
                arms = tuple(plans[: len(labels)])
                node = Switch(
                    operands=operands, selector=selector, labels=labels, arms=arms, default=default, priority=priority
                )
                self.frame(op, node, captured)
            case IfOp():
                operands, (condition,) = self.placed(op.operands)
                then, otherwise = plans
                node = If(operands=operands, condition=condition, then=then, otherwise=otherwise, priority=priority)
                self.frame(op, node, captured)
            case RepeatOp():
                self.repeat(op, plans[0], captured, priority)
            case TryOp():
                port = len(captured) if most else None
                body, handler = plans
                self.frame(op, Try(body=body, handler=handler, error_input=port, priority=priority), captured)
            case _:
                raise InternalError(f"{op.name} has no form in a program")

    def repeat(self, op: RepeatOp, plan: int, captured: Sequence[SSAValue], priority: int) -> None:
        heads = op.operands[: 1 + op.takes_items]
        operands, placed = self.placed(heads)
        first = op.stops + op.collects
        values = first + len(op.carried)
        order_in, accesses = self.lowering.ports_of(op)
        node = Repeat(
            operands=operands,
            limit=placed[0],
            plan=plan,
            shared=len(captured),
            items=placed[1] if op.takes_items else None,
            comes_from=(
                *((port,) for port in range(first, values)),
                *(
                    tuple([port for port, access in enumerate(accesses, values) if same_kind(access, earlier)])
                    for earlier in order_in
                ),
            ),
            stops=op.stops,
            collects=op.collects,
            called=op.literals["called"],
            priority=priority,
        )
        self.frame(op, node, [*captured, *([None] if op.takes_items else []), *op.starts])

    def call(self, op: Op, callee: str) -> None:
        node = Subflow(plan=self.lowering.plan_of_flow[callee], priority=op.attributes.get(PRIORITY, 0))
        self.frame(op, node, op.operands)

    def frame(self, op: Op, node: Switch | If | Repeat | Try | Subflow, delivered: Sequence[SSAValue | None]) -> None:
        """The opener, what enters its frames, and what leaves them. Of what is `delivered`, by port, None is what the
        opener fills itself."""
        opener = self.add(node, op, named=True)
        for port, value in enumerate(delivered):
            if value is not None:
                operands, (expression,) = self.placed((value,))
                self.add(Enter(operands=operands, opener=opener, port=port, value=expression), op)
        order_in, accesses = self.lowering.ports_of(op)
        self.explain(self.tracker.edges_to(accesses), opener)
        inputs = len(delivered) + (node.own_input is not None and node.own_input >= len(delivered))
        enters: dict[Access, int] = {}
        for port, access in enumerate(order_in, inputs):
            before = tuple(p.node for p in self.tracker.pending if same_kind(p.access, access))
            enters[access] = self.add(Enter(opener=opener, port=port, requires=before), op)
        first = 0 if node.stop is None else 1
        for port, result in enumerate(op.results, first):
            if result.uses:
                self.values[result] = FoldedValue(Operand(self.add(Exit(opener=opener, port=port), op)))
        exits: dict[Access, int] = {}
        for port, access in enumerate(accesses, first + len(op.results)):
            after = tuple(n for entered, n in enters.items() if entered.resource.may_alias(access.resource))
            exits[access] = self.add(Exit(opener=opener, port=port, after=after), op)
        self.tracker.add(exits, opener)

    def captures(self, op: Op) -> tuple[SSAValue, ...]:
        """The values of this plan that the regions use, in order of appearance. Constants that are cheap to copy are
        not among them."""
        inner: set[SSAValue] = set()
        found: dict[SSAValue, None] = {}
        for used in op.walk():
            inner.update(used.results, *(region.arguments for region in used.regions))
            if used is op:
                continue
            for value in used.operands:
                if value in inner or value in found:
                    continue
                if isinstance(value.owner, ConstantOp) and folded_constant(value.owner).weight <= MOST_SHARED:
                    continue
                found[value] = None
        return tuple(found)

    # --- the end ---------------------------------------------------------------------------------------------------

    def end(self, op: Op) -> None:
        outputs: list[int] = []
        for port, given in enumerate(op.operands):
            operands, (expression,) = self.placed((given,))
            outputs.append(self.add(Output(operands=operands, port=port, value=expression), op))
        for access in self.order_out:
            after, requires = self.leaving(access)
            outputs.append(self.add(Output(port=len(outputs), after=after, requires=requires)))
        self.lowering.plans[self.index] = Plan(
            nodes=tuple(self.nodes), inputs=self.inputs, outputs=tuple(outputs), values=len(op.operands)
        )
        self.lowering.names[self.index] = PlanNames(
            path=self.path, nodes=tuple(self.node_names), order_edges=tuple(self.order_edges)
        )

    def leaving(self, port: Access) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What an order port waits for, as `after` and `requires`.

        Behind the frame, an exit of a write stands for all accesses before it too. So where this plan does not make
        one, it still comes behind the reads that the frame was told about, whatever became of them. To the next turn
        of a loop, the reads of this one stand for those before it, too.
        """
        pending = self.tracker.pending
        all_before = port.mode == "write" or self.is_turn
        requires = tuple(
            p.node for p in pending if same_kind(p.access, port) and (all_before or p.construct is not None)
        )
        after = tuple(
            p.node
            for p in pending
            if p.construct is None and p.access.mode == "read" and p.access.resource.may_alias(port.resource)
        )
        return (after if port.mode == "write" else ()), requires


def _nodes(edges: tuple[Edge, ...], order: Order) -> tuple[int, ...]:
    return tuple(edge.pending.node for edge in edges if edge.order is order)
