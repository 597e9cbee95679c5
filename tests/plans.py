"""Programs written by hand, for tests below the compiler."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.operations.types import Value
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Input, Operate, Output
from apxm.program.program import AnyNode, Flow, FlowParameter, Names, NodeName, Plan, PlanNames, Program


def ask(
    prompt: str | int, *context: int, after: Sequence[int] = (), requires: Sequence[int] = (), **options: Value
) -> Operate:
    """An `ask` of a literal prompt, or of node `prompt`'s value, with the values of the nodes `context`."""
    operands = (*([prompt] if isinstance(prompt, int) else []), *context)
    first = Operand(0) if isinstance(prompt, int) else Literal(prompt)
    rest = [Operand(operands.index(node)) for node in context]
    return Operate(
        operation="ask",
        operands=operands,
        after=tuple(after),
        requires=tuple(requires),
        arguments=(first, *rest),
        options={name: Literal(value) for name, value in options.items()},
        result="str",
    )


def merge(*nodes: int, result: str = "str") -> Operate:
    arguments = tuple(Operand(i) for i in range(len(nodes)))
    return Operate(operation="merge", operands=nodes, arguments=arguments, result=result)


def show(*values: str | int, after: Sequence[int] = ()) -> Operate:
    """A `print` of literal texts and of nodes' values."""
    operands = tuple(value for value in values if isinstance(value, int))
    arguments = tuple(Operand(operands.index(v)) if isinstance(v, int) else Literal(v) for v in values)
    return Operate(operation="print", operands=operands, after=tuple(after), arguments=arguments)


def give(node: int, port: int = 0) -> Output:
    return Output(port=port, operands=(node,), value=Operand(0))


def plan(*nodes: AnyNode) -> Plan:
    outputs = {node.port: i for i, node in enumerate(nodes) if isinstance(node, Output)}
    first = nodes[outputs[0]] if outputs else None
    return Plan(
        nodes=nodes,
        inputs=sum(isinstance(node, Input) for node in nodes),
        outputs=tuple(outputs[port] for port in sorted(outputs)),
        values=int(isinstance(first, Output) and first.value is not None),
    )


def program(*plans: Plan, parameters: int = 0) -> Program:
    """A program whose only flow, `Test.main`, runs plan 0."""
    names = tuple(
        PlanNames(path=f"p{i}", nodes=tuple(NodeName(path=f"n{k}", line=k + 1, column=1) for k in range(len(p.nodes))))
        for i, p in enumerate(plans)
    )
    flow = Flow(
        agent="Test",
        name="main",
        parameters=tuple(FlowParameter(name=f"x{i}", type="str") for i in range(parameters)),
        result="str" if plans[0].values else None,
        plan=0,
    )
    return Program(plans=plans, flows=(flow,), entry=0, optimization_level=0, names=Names(file="test.ais", plans=names))
