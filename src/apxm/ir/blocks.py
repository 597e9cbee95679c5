"""What builds a module block by block: where it is, and what its operations are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

from apxm.ir.core import PATH, Block, Op, SSAValue
from apxm.ir.values import converted
from apxm.language import syntax
from apxm.operations.types import Type

AnyOp = TypeVar("AnyOp", bound=Op)


class BlockBuilder:
    """Adds operations to a block; `block`, `prefix` and `occurrences` are those of the innermost."""

    def __init__(self) -> None:
        self.block = Block()
        self.prefix = ""
        self.occurrences: Counter[str] = Counter()

    def add(self, op: AnyOp, origin: syntax.Syntax) -> AnyOp:
        op.origin = origin
        self.block.ops.append(op)
        return op

    def name(self, op: Op, called: str, target: syntax.Identifier | None) -> None:
        """Gives `op` its path: the name it is bound to, else which of its kind it is in the block."""
        if target is None:
            self.occurrences[called] += 1
            op.attributes[PATH] = f"{self.prefix}{called}#{self.occurrences[called]}"
            return
        op.attributes[PATH] = self.prefix + target.text
        if op.value is not None:
            op.value.hint = target.text

    @contextmanager
    def inside(self, block: Block, path: str) -> Generator[None]:
        """Builds into `block` meanwhile, which is at `path`."""
        around = self.block, self.prefix, self.occurrences
        self.block, self.prefix, self.occurrences = block, path + "/", Counter()
        yield
        self.block, self.prefix, self.occurrences = around

    def fitted(self, value: SSAValue, target: Type, place: syntax.Syntax) -> SSAValue:
        conversion = converted(value, target)
        return value if conversion is None else self.add(conversion, place).result
