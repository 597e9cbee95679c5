"""Random programs, frames and order ports included, and what a sequential machine makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from apxm.operations.types import Value
from apxm.program.expressions import Expression, Literal, Operand, TextOf
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import Subflow, Switch
from apxm.program.program import AnyNode, Plan, Program
from tests.plans import plan, program

ARMS = ("a", "b", "c")


def random_program(random: Random, size: int = 12, depth: int = 2) -> Program:
    builder = _Builder(random, depth)
    builder.plans.append(Plan(nodes=(), inputs=0, outputs=()))
    builder.plans[0] = builder.plan(size, values=0, order=False, depth=depth)
    return program(*builder.plans)


@dataclass
class _Builder:
    random: Random
    depth: int
    plans: list[Plan] = field(default_factory=list[Plan])

    def plan(self, size: int, values: int, order: bool, depth: int) -> Plan:
        nodes: list[AnyNode] = [Input() for _ in range(values + order)]
        valued = list(range(values))
        ordered = list(range(values, values + order))
        for _ in range(self.random.randrange(1, size)):
            if depth and self.random.random() < 0.25:
                self.construct(nodes, valued, ordered, depth)
            else:
                self.operation(nodes, valued, ordered)
        if valued:
            nodes.append(Output(port=0, operands=(self.random.choice(valued),), value=Operand(0)))
        else:
            nodes.append(Output(port=0, value=Literal("nothing")))
        if order:
            nodes.append(Output(port=1, requires=tuple(self.some(ordered, 2) or ordered[:1])))
        return plan(*nodes)

    def operation(self, nodes: list[AnyNode], valued: list[int], ordered: list[int]) -> None:
        operands = tuple(dict.fromkeys(self.some(valued, 3)))
        parts: tuple[Expression, ...] = (Literal(f"n{len(nodes)}"), *(Operand(i) for i in range(len(operands))))
        if self.random.random() < 0.15:
            nodes.append(Compute(operands=operands, value=TextOf(parts)))
        else:
            after, requires = self.some(ordered, 2), self.some(ordered, 1)
            nodes.append(
                Operate(
                    operation="ask",
                    operands=operands,
                    after=tuple(dict.fromkeys(after)),
                    requires=tuple(dict.fromkeys(requires)),
                    arguments=(TextOf(parts),),
                    result="str",
                )
            )
            ordered.append(len(nodes) - 1)
        valued.append(len(nodes) - 1)

    def construct(self, nodes: list[AnyNode], valued: list[int], ordered: list[int], depth: int) -> None:
        captured = list(dict.fromkeys(self.some(valued, 3)))
        opened = [self.nested(len(captured), depth - 1) for _ in range(self.random.randrange(1, 4))]
        opener = len(nodes)
        if len(opened) == 1:
            nodes.append(Subflow(plan=opened[0]))
        else:
            chosen = (self.random.choice(valued),) if valued and self.random.random() < 0.5 else ()
            label = Literal(self.random.choice([*ARMS, " A ", "other"]))
            default = opened[-1] if self.random.random() < 0.7 else None
            nodes.append(
                Switch(
                    operands=chosen,
                    # A text that depends on an operand and still is one of the labels.
                    selector=label if not chosen else TextOf((label, Literal(" "))),
                    labels=ARMS[: len(opened)],
                    arms=tuple(opened),
                    default=default,
                )
            )
        for port, source in enumerate(captured):
            nodes.append(Enter(opener=opener, port=port, operands=(source,), value=Operand(0)))
        enter = len(nodes)
        nodes.append(Enter(opener=opener, port=len(captured), requires=tuple(dict.fromkeys(self.some(ordered, 2)))))
        nodes.append(Exit(opener=opener, port=0))
        valued.append(len(nodes) - 1)
        nodes.append(Exit(opener=opener, port=1, after=(enter,)))
        ordered.append(len(nodes) - 1)

    def nested(self, values: int, depth: int) -> int:
        made = self.plan(6, values, True, depth)
        self.plans.append(made)
        return len(self.plans) - 1

    def some(self, of: list[int], most: int) -> list[int]:
        return [self.random.choice(of) for _ in range(self.random.randrange(most + 1))] if of else []


class Broken(str):
    """A failure of the sequential machine: the path of the operation where it began."""


@dataclass
class Sequential:
    """Runs a program in the order of its nodes, one at a time. `answer` gives the text of an operation, or fails it."""

    program: Program
    failing: frozenset[str] = frozenset()
    executed: dict[str, str] = field(default_factory=dict[str, str])
    """By path, the prompt of every operation that started."""

    def run(self) -> Value:
        return self.frame(0, [], "")[0]

    def frame(self, index: int, inputs: list[Value], path: str) -> list[Value]:
        nodes = self.program.plans[index].nodes
        tokens: list[Value] = []
        left: dict[int, list[Value] | None] = {}
        outputs: dict[int, Value] = {}
        for i, node in enumerate(nodes):
            broken = next((tokens[p] for p in (*node.operands, *node.requires) if isinstance(tokens[p], Broken)), None)
            here = f"{path}/{i}"
            match node:
                case Input():
                    tokens.append(inputs[i])
                case _ if broken is not None:
                    tokens.append(broken)
                    if isinstance(node, Output):
                        outputs[node.port] = broken
                    if isinstance(node, Switch):
                        left[i] = [broken, broken]
                case Operate():
                    prompt = self.value(node.arguments[0], node, tokens)
                    self.executed[here] = prompt
                    tokens.append(Broken(here) if prompt in self.failing else f"<{prompt}>")
                case Compute(value=value):
                    tokens.append(self.value(value, node, tokens))
                case Output(value=value, port=port):
                    tokens.append(self.value(value, node, tokens) if value is not None else None)
                    outputs[port] = tokens[-1]
                case Switch():
                    label = self.value(node.selector, node, tokens).strip().casefold()
                    arm = node.arms[node.labels.index(label)] if label in node.labels else node.default
                    left[i] = [Broken(here), Broken(here)] if arm is None else self.opened(nodes, i, arm, tokens, here)
                    tokens.append(None if arm is not None else Broken(here))
                case Subflow(plan=opened):
                    left[i] = self.opened(nodes, i, opened, tokens, here)
                    tokens.append(None)
                case Enter(value=value):
                    tokens.append(self.value(value, node, tokens) if value is not None else None)
                case Exit(opener=opener, port=port):
                    results = left[opener]
                    assert results is not None
                    tokens.append(results[port])
        return [outputs[port] for port in sorted(outputs)]

    def opened(
        self, nodes: tuple[AnyNode, ...], opener: int, index: int, tokens: list[Value], path: str
    ) -> list[Value]:
        """The enters of a frame stand right behind its opener; they are computed ahead here."""
        inputs: list[Value] = []
        for node in nodes[opener + 1 :]:
            if not isinstance(node, Enter) or node.opener != opener:
                break
            broken = next((tokens[p] for p in (*node.operands, *node.requires) if isinstance(tokens[p], Broken)), None)
            if broken is not None:
                inputs.append(broken)
            else:
                inputs.append(self.value(node.value, node, tokens) if node.value is not None else None)
        return self.frame(index, inputs, path)

    def value(self, expression: Expression, node: AnyNode, tokens: list[Value]) -> Value:
        match expression:
            case Literal(value=value):
                return value
            case Operand(index=index):
                return tokens[node.operands[index]]
            case TextOf(parts=parts):
                return "".join(str(self.value(part, node, tokens)) for part in parts)
            case _:
                raise AssertionError(expression)
