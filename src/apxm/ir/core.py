"""A small SSA: operations take values and give values, blocks hold operations, and operations may hold blocks.

A region of an operation is one block, since the control flow of AIS is structured. Program order is block order, and
a value is used below its definition, in the same block or in a region there. Blocks are plain lists: whoever changes
one writes a new list, so nothing here has to know where in a block, or in which one, an operation stands.

Passes ask an operation what they need to know: what it `touches`, whether it is `repeatable`, what it `opens`, whether
its regions run again, and which region would be `taken`. A new construct answers these and needs no change in a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Self

from apxm.language.syntax import Syntax
from apxm.operations.effects import Access
from apxm.operations.types import Type, Value

PATH = "path"
"""The attribute with the stable name of what the source wrote; `program.program.NodeName` says which."""
PRIORITY = "priority"
"""The attribute that the pass `priorities` sets, in ms."""
NO_FUSE = "no_fuse"
"""The attribute of an operation that came out of a flow marked so."""

_NO_LITERALS: Mapping[str, Value] = MappingProxyType({})


class InvalidModule(Exception):  # noqa: N818  # a verdict
    """The module breaks a rule of the IR, which is a defect of what built or changed it."""


class SSAValue:
    """What an operation gives, or an argument of a block. It is assigned once, and knows its users."""

    __slots__ = ("hint", "owner", "type", "uses")

    def __init__(self, type: Type, owner: Op | Block, hint: str = "") -> None:
        self.type = type
        self.owner = owner
        self.hint = hint
        """What the printed text calls it, if the name is free."""
        self.uses: dict[tuple[Op, int], None] = {}
        """The operations that take it, each with the place among its operands; a dictionary, so that a use begins and
        ends in constant time however many there are."""

    def replace_by(self, new: SSAValue) -> None:
        """Makes every user take `new` instead: constant time per use, however wide the user is."""
        for user, index in self.uses:
            user.operands[index] = new
        new.uses.update(self.uses)
        self.uses.clear()
        new.hint = new.hint or self.hint


class Block:
    """Operations in program order; the last one ends the block and says what it gives."""

    __slots__ = ("arguments", "ops")

    def __init__(self, arguments: Mapping[str, Type] = MappingProxyType({})) -> None:
        self.arguments = [SSAValue(type_, self, name) for name, type_ in arguments.items()]
        self.ops: list[Op] = []

    @property
    def gives(self) -> list[SSAValue]:
        """The values that the block gives at its end."""
        return self.ops[-1].operands

    def walk(self) -> Iterator[Op]:
        """All operations inside, each before those that it holds."""
        for op in self.ops:
            yield op
            for region in op.regions:
                yield from region.walk()


class Op:
    """An operation: operands, results, regions and plain data."""

    __slots__ = ("attributes", "literals", "names", "operands", "origin", "regions", "results")

    name: ClassVar[str]
    """How the printed text calls this kind of operation."""
    ends: ClassVar[bool] = False
    """Whether it ends a block."""
    loops: ClassVar[bool] = False
    """Whether its regions may run more than once, so that what they give at their end may be for the next time. Every
    region may also run not at all: nothing may be moved out of one."""
    catches: ClassVar[bool] = False
    """Whether a failure inside a region stays there: nothing inside may be replaced by what stands outside."""
    callee: str | None = None
    """The symbol of the flow that it calls, if it calls one."""

    def __init__(
        self,
        operands: Sequence[SSAValue] = (),
        results: Type | Sequence[Type] | None = None,
        *,
        names: tuple[str, ...] = (),
        literals: Mapping[str, Value] = _NO_LITERALS,
        regions: Sequence[Block] = (),
    ) -> None:
        self.operands = list(operands)
        """Set by `set_operands` alone, which keeps the uses in step."""
        for index, value in enumerate(operands):
            value.uses[self, index] = None
        types = () if results is None else (results,) if isinstance(results, Type) else results
        self.results: tuple[SSAValue, ...] = tuple([SSAValue(type_, self) for type_ in types])
        """The values that the operation gives: more than one only where it has regions."""
        self.names = names
        """The names of the last operands, where they have names."""
        self.literals = literals
        """Data by name. Compare it by `ir.literals`: in Python ``1 == 1.0 == True``."""
        self.regions = tuple(regions)
        self.attributes: dict[str, Value] = {}
        """What is noted about the operation and does not change its meaning."""
        self.origin: Syntax | None = None
        """What the source wrote for it."""

    # --- what passes ask ---------------------------------------------------------------------------------------------

    @property
    def value(self) -> SSAValue | None:
        """The result, or the first of several; None where there is none."""
        return self.results[0] if self.results else None

    @property
    def opens(self) -> bool:
        """Whether it runs other operations: those of its regions, or of a flow."""
        return bool(self.regions) or self.callee is not None

    @property
    def touches(self) -> tuple[Access, ...]:
        """What it accesses outside the graph, regions and callees left out (`ir.summary` adds them). Order follows from
        that (`operations.effects.order_between`), and an operation that touches anything must stay."""
        return ()

    @property
    def repeatable(self) -> bool:
        """Whether doing it again with equal operands gives the same value, regions and callees left out."""
        return not self.touches

    def taken(self) -> Block | None:
        """The region that runs exactly once and gives the result, where the operands are constants that decide it."""
        return None

    @property
    def usual_turns(self) -> float:
        """How often its regions run, where that is known, or usual; else 1."""
        return 1

    @property
    def carried_on(self) -> Sequence[tuple[SSAValue, SSAValue]]:
        """What its region takes from its run before, each with what that one gives for it."""
        return ()

    @property
    def titles(self) -> Sequence[str]:
        """What the printed text writes before each region."""
        return ()

    @property
    def steps(self) -> Sequence[str]:
        """What stands behind the path of the operation in those of each region (`program.program.NodeName`)."""
        return [f"/{title}" for title in self.titles]

    @property
    def path(self) -> str:
        """The operation's stable name within the flow; empty for what has none."""
        return self.attributes.get(PATH, "")

    @property
    def position(self) -> tuple[int, int]:
        """Line and column in the source; zeros where unknown."""
        if self.origin is None:
            return 0, 0
        span = self.origin.span
        return span.source.position(span.start)

    def verify(self) -> None:
        """Raises `InvalidModule` where the operation by itself breaks a rule; `ir.verify` sees to what is around it."""

    def walk(self) -> Iterator[Op]:
        """The operation, and all that it holds behind it."""
        yield self
        for region in self.regions:
            yield from region.walk()

    # --- changing ----------------------------------------------------------------------------------------------------

    def set_operands(self, operands: Sequence[SSAValue]) -> None:
        for index, value in enumerate(self.operands):
            del value.uses[self, index]
        self.operands = list(operands)
        for index, value in enumerate(self.operands):
            value.uses[self, index] = None

    def drop(self) -> None:
        """Ends all uses that it and everything inside make; the block that holds it has to leave it out."""
        self.set_operands(())
        for region in self.regions:
            for op in region.ops:
                op.drop()

    def copy(self, values: dict[SSAValue, SSAValue]) -> Self:
        """A copy with all that is inside. Operands are those that `values` gives for its own; what the copy defines is
        added there."""
        copied = object.__new__(type(self))
        Op.__init__(
            copied,
            [values.get(operand, operand) for operand in self.operands],
            names=self.names,
            literals=self.literals,
            regions=[_copy_block(region, values) for region in self.regions],
        )
        for slot in type(self).__slots__:  # those of a subclass hold plain data; the class `Op` has no instances
            setattr(copied, slot, getattr(self, slot))
        copied.results = tuple(SSAValue(result.type, copied, result.hint) for result in self.results)
        values.update(zip(self.results, copied.results, strict=True))
        copied.attributes = dict(self.attributes)
        copied.origin = self.origin
        return copied


def _copy_block(block: Block, values: dict[SSAValue, SSAValue]) -> Block:
    copied = Block()
    copied.arguments = [SSAValue(argument.type, copied, argument.hint) for argument in block.arguments]
    values.update(zip(block.arguments, copied.arguments, strict=True))
    copied.ops = [op.copy(values) for op in block.ops]
    return copied
