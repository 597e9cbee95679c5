"""The printed text of a module, in MLIR's syntax: what ``--emit-ir`` shows. Nothing reads it back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.literals import written
from apxm.ir.structure import FlowOp, Module
from apxm.ir.values import ConstantOp
from apxm.operations.types import Value


def print_module(module: Module) -> str:
    return "".join(["builtin.module {\n", *map(_flow, module.flows.values()), "}\n"])


def _flow(flow: FlowOp) -> str:
    printer = _FlowPrinter()
    parameters: list[str] = []
    for argument, name in zip(flow.body.arguments, flow.parameters, strict=True):
        default = f" = {written(flow.defaults[name])}" if name in flow.defaults else ""
        parameters.append(f"{name} {printer.name(argument)}: {argument.type}{default}")
    flags = (" entry" if flow.is_entry else "") + ("" if flow.may_fuse else " no_fuse")
    result = "" if flow.result is None else f" -> {flow.result}"
    head = f"  ais.flow{flags} @{flow.symbol}({', '.join(parameters)}){result} "
    return f"{head}{printer.block(flow.body, '  ')}\n"


class _FlowPrinter:
    """The names of values count anew in each flow."""

    def __init__(self) -> None:
        self.names: dict[SSAValue, str] = {}
        self.taken: Counter[str] = Counter()

    def block(self, block: Block, indent: str) -> str:
        inner = indent + "  "
        lines = [f"{inner}{self.operation(op, inner)}\n" for op in block.ops]
        return f"{{\n{''.join(lines)}{indent}}}"

    def operation(self, op: Op, indent: str) -> str:
        text = ", ".join(map(self.name, op.results)) + (" = " if op.results else "") + op.name
        if op.callee is not None:
            text += f" @{op.callee}"
        text += f" {written(op.constant)}" if isinstance(op, ConstantOp) else f"({self.arguments(op)})"
        text += "".join(f" : {result.type}" for result in op.results)
        if op.attributes:
            text += f" {{{_named(op.attributes)}}}"
        for title, region in zip(op.titles, op.regions, strict=False):
            arguments = ", ".join(f"{self.name(argument)}: {argument.type}" for argument in region.arguments)
            text += f" {title}{f'({arguments})' if arguments else ''} {self.block(region, indent)}"
        return text

    def arguments(self, op: Op) -> str:
        names = ["" for _ in range(len(op.operands) - len(op.names))] + [f"{name}: " for name in op.names]
        operands = [f"{name}{self.name(operand)}" for name, operand in zip(names, op.operands, strict=True)]
        return ", ".join([*operands, _named(op.literals)] if op.literals else operands)

    def name(self, value: SSAValue) -> str:
        found = self.names.get(value)
        if found is None:
            hint = re.sub(r"_\d+$", "", value.hint)  # such an ending tells values of one name apart
            count = self.taken[hint]
            self.taken[hint] += 1
            found = self.names[value] = f"%{hint}_{count}" if hint and count else f"%{hint or count}"
        return found


def _named(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}: {written(value)}" for name, value in values.items())
