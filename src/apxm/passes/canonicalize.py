"""``canonicalize``: what is known before the run is computed, and each value takes its simplest form.

Texts and sums that only feed others of their kind are flattened into them, neighbouring literals join, and a construct
on a constant becomes the region that is taken. Operations that the source wrote stay, also a `merge` of one text.

Work is proportional to the module: a chain of texts is flattened once, at its end, and what folds is bounded in size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from apxm.errors import OperationError
from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.literals import size
from apxm.ir.structure import Module
from apxm.ir.summary import Summary
from apxm.ir.values import (
    ApplyOp,
    CastOp,
    DictOp,
    FieldOp,
    ListOp,
    LogicOp,
    SumOp,
    TextFormOp,
    TextOp,
    ToFloatOp,
    ValueOp,
    constant_of,
)
from apxm.operations.plain import converted
from apxm.operations.text_forms import text_form_of
from apxm.operations.types import FLOAT, INT, STR, Value, add_up
from apxm.passes.rewriting import Outcome, Part, ValueBuilder, drop_unused, join_literals, literal_text, taken_again

LARGEST_CONSTANT = 64 * 1024
"""The most characters of a constant that folding makes: a value that doubles at every step is left to the run."""
DEEPEST_CONSTANT = 16
"""How deep lists and objects nest in a constant that folding makes."""
LARGEST_COPY = 256
"""The most characters of a constant with several users that may join its neighbours: each user gets a copy."""


def canonicalize(module: Module) -> Outcome:
    statistics: Counter[str] = Counter(constants_folded=0, operands_flattened=0, switches_resolved=0)
    dropped = False
    summary = Summary(module)
    called = {op.callee for flow in module.flows.values() for op in flow.body.walk()}
    for flow in module.flows.values():
        within = flow.symbol in called
        _Canonicalizer(statistics, taken_again(flow.body), summary, within=within).visit_block(flow.body)
        dropped |= drop_unused(flow.body)
    return Outcome(dropped or any(statistics.values()), dict(statistics))


class _Canonicalizer:
    def __init__(self, statistics: Counter[str], apart: set[SSAValue], summary: Summary, *, within: bool) -> None:
        """`within` says that a construct somewhere may hold all of it."""
        self.statistics = statistics
        self.summary = summary
        self.within = within
        self.apart = apart
        """The values that are flattened into no other."""
        self.ops: list[Op] = []
        """The operations so far of the block around the current place, as they are to be."""

    def visit_block(self, block: Block) -> None:
        around, self.ops = self.ops, []
        for op in block.ops:
            self.visit(op)
        block.ops, self.ops = self.ops, around

    def visit(self, op: Op) -> None:
        """Puts `op` behind what stands above it, or what is simpler in its place."""
        if op.regions:
            self.construct(op)
            return
        simpler = _SIMPLER.get(type(op))
        replacement = None if simpler is None else simpler(self, op)
        if replacement is None:
            self.ops.append(op)
        else:
            op.results[0].replace_by(replacement)
            op.drop()

    def construct(self, op: Op) -> None:
        region = op.taken()
        if region is None or (self.within and self.hides(op, region)):
            around, self.within = self.within, True
            for inner in op.regions:
                self.visit_block(inner)
            self.within = around
            self.ops.append(op)
            return
        for result, given in zip(op.results, region.gives, strict=True):
            result.replace_by(given)
        *inside, end = region.ops
        region.ops = [end]
        op.drop()
        self.statistics["switches_resolved"] += 1
        for inner in inside:
            self.visit(inner)

    def hides(self, op: Op, region: Block) -> bool:
        """Whether something outside is touched only in a region that is not taken. A construct around that fails counts
        as having perhaps touched it, and what comes behind then does not happen: so it has to stay."""
        touched = {access for inner in region.ops for access in self.summary.accesses(inner)}
        return not touched.issuperset(self.summary.accesses(op))

    # --- text and sums -----------------------------------------------------------------------------------------------

    def text(self, op: TextOp) -> SSAValue | None:
        if isinstance(self.joiner(op), TextOp):
            return None  # which flattens this one
        leaves = self.flattened(op)
        parts = join_literals(map(_part, leaves))
        if not parts or (len(parts) == 1 and isinstance(parts[0], str)):
            text = "".join(part for part in parts if isinstance(part, str))
            return self.folded(op, text) if len(text) <= LARGEST_CONSTANT else None
        if len(parts) == 1 and isinstance(parts[0], SSAValue) and parts[0].type == STR:
            return parts[0]
        if len(parts) < len(leaves):
            op.set_operands(ValueBuilder(self.ops, op).values(parts))
            self.statistics["constants_folded"] += 1
        return None

    def sum(self, op: SumOp) -> SSAValue | None:
        # Only from the left: in another grouping an int may leave its range, or stay in it, and a float be rounded.
        user = self.joiner(op)
        if isinstance(user, SumOp) and user.operands[0] is op.result:
            return None
        leaves = self.flattened(op, leftmost=True)
        known: list[Value] = []
        for leaf in leaves:
            if (found := constant_of(leaf)) is None:
                break
            known.append(found.constant)
        total = _total(known)
        if len(known) == len(leaves):
            return None if total is None else self.folded(op, total)
        first, rest = leaves[: len(known)], leaves[len(known) :]
        if op.result.type == INT:
            rest = [leaf for leaf in rest if not _is_zero(leaf)]
            first = [] if total == 0 else first
        if total is not None and len(first) > 1:
            first = [ValueBuilder(self.ops, op).constant(total, INT if isinstance(total, int) else FLOAT)]
        left = [*first, *rest]
        if len(left) == len(leaves):
            return None
        self.statistics["constants_folded"] += 1
        op.set_operands(left)
        return left[0] if len(left) == 1 else None

    def joiner(self, op: ValueOp) -> Op | None:
        """The one operation that uses the result, if there is no other and it may flatten `op`."""
        uses = op.result.uses
        return next(iter(uses))[0] if len(uses) == 1 and op.result not in self.apart else None

    def flattened(self, op: TextOp | SumOp, *, leftmost: bool = False) -> list[SSAValue]:
        """The operands of `op`, those of its kind that are only there for it replaced by their own operands; only the
        first of all where `leftmost`."""
        leaves: list[SSAValue] = []
        stack = op.operands[::-1]
        inner: list[Op] = []
        while stack:
            value = stack.pop()
            owner = value.owner
            joins = not (leftmost and leaves) and len(value.uses) == 1 and value not in self.apart
            if joins and isinstance(owner, TextOp | SumOp) and type(owner) is type(op):
                inner.append(owner)
                stack += reversed(owner.operands)
            else:
                leaves.append(value)
        if inner:
            for owner in inner:
                owner.set_operands(())
            op.set_operands(leaves)
            self.statistics["operands_flattened"] += len(inner)
        return leaves

    # --- other values ------------------------------------------------------------------------------------------------

    def display(self, op: ListOp | DictOp) -> SSAValue | None:
        values: list[Value] = []
        length = 0
        for operand in op.operands:
            if (found := constant_of(operand)) is None:
                return None
            values.append(found.constant)
            length += size(found.constant)
        value: Value = values if isinstance(op, ListOp) else dict(zip(op.keys, values, strict=True))
        return self.folded(op, value) if length <= LARGEST_CONSTANT and _depth(value) <= DEEPEST_CONSTANT else None

    def field(self, op: FieldOp) -> SSAValue | None:
        found = constant_of(op.operands[0])
        value = None if found is None else found.constant
        if not isinstance(value, dict) or op.field not in value:
            return None
        return self.folded(op, cast(dict[str, Value], value)[op.field])

    def to_float(self, op: ToFloatOp) -> SSAValue | None:
        found = constant_of(op.operands[0])
        return None if found is None else self.folded(op, _to_float(found.constant))

    def cast(self, op: CastOp) -> SSAValue | None:
        if op.operands[0].type == op.result.type:
            return op.operands[0]
        return self.computed(op, lambda value: converted(value, op.result.type))

    def text_form(self, op: TextFormOp) -> SSAValue | None:
        return self.computed(op, text_form_of(op.operands[0].type.name))

    def computed(self, op: CastOp | TextFormOp, compute: Callable[[Value], Value]) -> SSAValue | None:
        found = constant_of(op.operands[0])
        try:
            return None if found is None else self.folded(op, compute(found.constant))
        except OperationError:
            return None  # it is left to fail at run time

    def apply(self, op: ApplyOp) -> SSAValue | None:
        known = [found.constant for operand in op.operands if (found := constant_of(operand)) is not None]
        if len(known) < len(op.operands) or op.function.grows:
            return None
        try:
            value = op.function.of(len(known))(known)
        except OperationError:
            return None  # whatever needs it fails in the run
        fits = size(value) <= LARGEST_CONSTANT and _depth(value) <= DEEPEST_CONSTANT
        return self.folded(op, value) if fits else None

    def logic(self, op: LogicOp) -> SSAValue | None:
        """Without the operands that decide nothing, and what stands behind one that decides."""
        decisive = op.operator == "or"
        needed: list[SSAValue] = []
        for operand in op.operands:
            found = constant_of(operand)
            if found is None or found.constant is decisive:
                needed.append(operand)
            if found is not None and found.constant is decisive:
                break
        if not needed:
            return self.folded(op, not decisive)
        if len(needed) < len(op.operands):
            self.statistics["constants_folded"] += 1
            op.set_operands(needed)
        return needed[0] if len(needed) == 1 else None

    def folded(self, op: ValueOp, value: Value) -> SSAValue:
        self.statistics["constants_folded"] += 1
        return ValueBuilder(self.ops, op).constant(value, op.result.type)


_SIMPLER: Mapping[type[Op], Callable[[_Canonicalizer, Any], SSAValue | None]] = {
    TextOp: _Canonicalizer.text,
    SumOp: _Canonicalizer.sum,
    ListOp: _Canonicalizer.display,
    DictOp: _Canonicalizer.display,
    FieldOp: _Canonicalizer.field,
    ApplyOp: _Canonicalizer.apply,
    LogicOp: _Canonicalizer.logic,
    ToFloatOp: _Canonicalizer.to_float,
    CastOp: _Canonicalizer.cast,
    TextFormOp: _Canonicalizer.text_form,
}


def _part(value: SSAValue) -> Part:
    """The literal text of `value` where that may join its neighbours, else the value itself."""
    text = literal_text(value)
    if text is None or len(text) > (LARGEST_CONSTANT if len(value.uses) == 1 else LARGEST_COPY):
        return value
    return text


def _total(numbers: Sequence[Value]) -> Value | None:
    """The sum; None where there are no numbers, or it cannot be computed and so is left to fail at run time."""
    try:
        return add_up(numbers) if numbers else None  # as a run adds, from the left: else -O would decide what overflows
    except OperationError:
        return None


def _is_zero(value: SSAValue) -> bool:
    found = constant_of(value)
    return found is not None and found.constant == 0


def _to_float(value: Value) -> Value:
    if isinstance(value, list):
        return [_to_float(item) for item in cast(list[Value], value)]
    return None if value is None else float(value)


def _depth(value: Value) -> int:
    if isinstance(value, list):
        return 1 + max(map(_depth, cast(list[Value], value)), default=0)
    if isinstance(value, dict):
        return 1 + max(map(_depth, cast(dict[str, Value], value).values()), default=0)
    return 0
