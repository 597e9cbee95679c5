"""What a module means, line by line: the machine that the text pretends to run on, with nothing at once."""

from __future__ import annotations

from collections.abc import Callable

from apxm.errors import OperationError
from apxm.ir.constructs import SwitchOp
from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import CallOp, FlowOp, Module
from apxm.ir.summary import Summary
from apxm.ir.values import (
    ApplyOp,
    CastOp,
    ConstantOp,
    DictOp,
    FieldOp,
    ListOp,
    LogicOp,
    SumOp,
    TextFormOp,
    TextOp,
    ToFloatOp,
)
from apxm.operations.plain import converted
from apxm.operations.text_forms import text_form_of
from apxm.operations.types import STR, Value, text_form

Answer = Callable[[str, str | None], str]
"""From prompt, context included, and system text."""


class Failed:
    """The value of what failed, and of what needed it."""


FAILED = Failed()


Tool = Callable[[str, dict[str, Value]], Value]
"""From its name and arguments; `FAILED` where it fails."""


def run(
    module: Module, flow: str, arguments: list[Value], answer: Answer, tool: Tool | None = None
) -> tuple[Value, list[str], bool]:
    """The flow's result, the printed lines, and whether anything failed: a value that cannot be computed is no failure
    before something needs it."""
    machine = Machine(module, answer, tool)
    value = machine.call(machine.flows[flow], arguments)
    return value, machine.printed, machine.failed or value is FAILED


class Machine:
    def __init__(self, module: Module, answer: Answer, tool: Tool | None = None) -> None:
        self.flows = module.flows
        self.summary = Summary(module)
        self.answer = answer
        self.tool = tool
        self.lacking: set[str] = set()
        """Whether calls of tools that read, or that write, failed or did not happen: then some later ones do not."""
        self.printed: list[str] = []
        self.failed = False
        self.calls: list[str] = []
        """The paths of the calls around the current place."""

    def call(self, flow: FlowOp, arguments: list[Value]) -> Value:
        return self.block(flow.body, dict(zip(flow.body.arguments, arguments, strict=True)))

    def block(self, block: Block, values: dict[SSAValue, Value]) -> Value:
        for op in block.ops:
            if op.ends:
                return values[block.gives[0]] if block.gives else None
            result = self.do(op, [values[operand] for operand in op.operands], values)
            if op.results:
                values[op.results[0]] = result
        raise AssertionError("a block without an end")

    def do(self, op: Op, operands: list[Value], values: dict[SSAValue, Value]) -> Value:
        if isinstance(op, CallOp):
            self.calls.append(op.path)
            result = self.call(self.flows[op.callee], operands)
            self.calls.pop()
            return result
        if isinstance(op, LogicOp):
            return next((value for value in operands if value is not (op.operator == "and")), op.operator == "and")
        if any(operand is FAILED for operand in operands):
            self.failed |= isinstance(op, SwitchOp | OperateOp)
            return self.lacks(op)
        match op:
            case SwitchOp():
                arm = op.arm_for(operands[0])
                self.failed |= arm is None
                return self.lacks(op) if arm is None else self.block(arm, values)
            case OperateOp():
                return self.operate(op, operands)
            case ConstantOp():
                return op.constant
            case TextOp():
                return "".join(map(text_form, operands))
            case SumOp():
                return sum(operands[1:], operands[0])
            case ApplyOp():
                try:
                    return op.function.of(len(operands))(operands)
                except OperationError:
                    return FAILED
            case ListOp():
                return operands
            case DictOp():
                return dict(zip(op.keys, operands, strict=True))
            case FieldOp():
                return operands[0].get(op.field, FAILED) if isinstance(operands[0], dict) else FAILED
            case ToFloatOp():
                return float(operands[0])
            case CastOp():
                try:
                    return converted(operands[0], op.result.type)
                except OperationError:
                    return FAILED
            case TextFormOp():
                return text_form_of(op.operands[0].type.name)(operands[0])
            case _:
                raise AssertionError(op.name)

    def lacks(self, op: Op) -> Value:
        """`op` does not happen."""
        self.lacking |= {access.mode for access in self.summary.accesses(op) if access.resource.kind == "tool"}
        return FAILED

    def call_tool(self, op: OperateOp, arguments: dict[str, Value]) -> Value:
        assert self.tool is not None
        [access] = op.touches
        if self.lacking - ({"read"} if access.mode == "read" else set()):
            return self.lacks(op)
        given = self.tool(op.literals["tool"], arguments)
        if given is FAILED:
            self.failed = True
            return self.lacks(op)
        return given

    def operate(self, op: OperateOp, operands: list[Value]) -> Value:
        arguments = operands[: len(op.arguments)]
        if op.OPERATION.name == "print":
            self.printed.append(" ".join(map(text_form, arguments)))
            return None
        if op.OPERATION.name == "inv":
            return self.call_tool(op, arguments[0])
        if not op.is_model_call:
            assert op.value is not None
            return "\n".join(arguments) if op.value.type == STR else arguments
        prompt, *context = map(text_form, arguments)
        parts = [prompt] * bool(prompt) + [f"Context {k}: {value}" for k, value in enumerate(context, 1)]
        named = dict(zip(op.options, operands[len(op.arguments) :], strict=True))
        system = "\n\n".join(filter(None, (named.get("system"), op.OPERATION.instruction))) or None
        return self.answer("\n\n".join(parts), system)
