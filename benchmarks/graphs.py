"""Programs built in memory: graphs of a shape and a size that no source text is needed for."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from apxm.operations.types import Value
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate, Output
from apxm.program.program import AnyNode, Flow, Names, NodeName, Plan, PlanNames, Program


def program(nodes: Sequence[AnyNode], result: str = "str") -> Program:
    """One flow of one plan; the last node gives its result."""
    last = len(nodes) - 1
    all_nodes = (*nodes, Output(port=0, operands=(last,), value=Operand(0)))
    names = PlanNames(path="graph", nodes=tuple(NodeName(path=f"n{i}") for i in range(len(all_nodes))))
    return Program(
        plans=(Plan(nodes=all_nodes, inputs=0, outputs=(len(nodes),), values=1),),
        flows=(Flow(agent="Benchmark", name="graph", parameters=(), result=result, plan=0),),
        entry=0,
        optimization_level=0,
        names=Names(file="graph", plans=(names,)),
    )


def operation(name: str, operands: Sequence[int] = (), *, priority: int = 0, **options: Value) -> Operate:
    """One that takes the values of the nodes `operands`; without any it takes a literal text."""
    arguments = tuple(Operand(i) for i in range(len(operands)))
    text = name != "wait_all"
    return Operate(
        operation=name,
        operands=tuple(operands),
        arguments=arguments or (Literal("task"),),
        options={key: Literal(value) for key, value in options.items()},
        result="str" if text else "json",
        priority=priority,
    )


def fan_out(name: str, count: int, **options: Value) -> Program:
    """`count` independent operations, and one text that waits for them all."""
    nodes = [operation(name, **options) for _ in range(count)]
    end = Operate(operation="merge", operands=tuple(range(count)), arguments=(Literal("end"),), result="str")
    return program([*nodes, end])


def chain(name: str, count: int) -> Program:
    """`count` operations, each behind the one before it."""
    nodes = [operation(name), *(operation(name, [i]) for i in range(count - 1))]
    end = Operate(operation="merge", operands=(count - 1,), arguments=(Literal("end"),), result="str")
    return program([*nodes, end])


def random_dag(random: Random, size: int) -> list[list[int]]:
    """Of each of `size` nodes its predecessors: up to three, no further back than a reach that is the graph's own, so
    that some graphs are deep and others wide."""
    reach = random.choice((8, 24, 64, size))
    counts = random.choice(((0, 1, 1, 2, 3), (0, 0, 1, 2), (0, 0, 0, 1)))
    predecessors: list[list[int]] = []
    for node in range(size):
        near = range(max(0, node - reach), node)
        predecessors.append(sorted(random.sample(near, min(random.choice(counts), len(near)))))
    return predecessors
