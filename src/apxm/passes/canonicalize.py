"""``canonicalize``: what is known before the run is computed, and each value takes its simplest form.

Texts and sums that only feed others of their kind are flattened into them, neighbouring literals join, and a `switch`
on a constant becomes its arm. Operations that the source wrote stay, also a `merge` of one text.

Work is proportional to the module: a chain of texts is flattened once, at its end, and what folds is bounded in size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from apxm.errors import OperationError
from apxm.ir.base import type_of
from apxm.ir.structure import SwitchOp, YieldOp, flows_of
from apxm.ir.values import ConstantOp, DictOp, FieldOp, ListOp, SumOp, TextOp, ToFloatOp, ValueOp, constant_of
from apxm.operations.types import FLOAT, INT, STR, Type, Value, add_up
from apxm.passes.rewriting import Outcome, Replacements, drop_unused_values
from apxm.passes.texts import Part, constants_for, join_literals, literal_text

LARGEST_CONSTANT = 64 * 1024
"""Characters of a constant that folding makes: a value that doubles at every step stays computed at run time."""
DEEPEST_CONSTANT = 16
LARGEST_COPY = 256
"""Characters of a constant with several users that may join its neighbours: each user gets a copy."""
AnyValueOp = TypeVar("AnyValueOp", bound=ValueOp)


def canonicalize(module: ModuleOp) -> Outcome:
    statistics: Counter[str] = Counter(constants_folded=0, operands_flattened=0, switches_resolved=0)
    dropped = False
    for flow in flows_of(module).values():
        _Canonicalizer(statistics).run(flow.body)
        dropped |= drop_unused_values(flow.body)
    return Outcome(dropped or any(statistics.values()), dict(statistics))


class _Canonicalizer:
    def __init__(self, statistics: Counter[str]) -> None:
        self.statistics = statistics
        self.replacements = Replacements()

    def run(self, body: Block) -> None:
        self.visit_block(body)
        self.replacements.finish()

    def visit_block(self, block: Block) -> None:
        op = block.first_op
        while op is not None:
            op = self.visit(op)

    def visit(self, op: Operation) -> Operation | None:
        """Simplifies `op`, and gives the operation to go on with."""
        self.replacements.refresh(op)
        following = op.next_op
        if not isinstance(op, ValueOp | SwitchOp):
            return following
        match op:
            case SwitchOp():
                return self.visit_switch(op)
            case TextOp():
                self.visit_text(op)
            case SumOp():
                self.visit_sum(op)
            case ListOp() | DictOp():
                self.visit_display(op)
            case FieldOp():
                self.visit_field(op)
            case ToFloatOp():
                if (constant := constant_of(op.operands[0])) is not None:
                    self.fold(op, _to_float(constant.value))
            case _:
                pass
        return following

    # --- switch ----------------------------------------------------------------------------------------------------

    def visit_switch(self, op: SwitchOp) -> Operation | None:
        following = op.next_op
        selector = constant_of(op.selector)
        arm = None if selector is None else op.arm_for(str(selector.value))
        if arm is None:
            # Also with a constant that no arm matches: that fails at run time, at the switch.
            for block in op.arms:
                self.visit_block(block)
            return following
        first = arm.first_op
        around = op.parent_block()
        assert around is not None
        for inner in list(arm.ops):
            if isinstance(inner, YieldOp):
                if op.value is not None and inner.given is not None:
                    self.replacements.add(op.value, inner.given)
                break
            inner.detach()
            around.insert_op_before(inner, op)
        self.replacements.retire(op)
        self.statistics["switches_resolved"] += 1
        return following if isinstance(first, YieldOp) else first

    # --- text and sums ---------------------------------------------------------------------------------------------

    def visit_text(self, op: TextOp) -> None:
        if self.feeds_one(op, TextOp):
            return
        leaves = self.flattened(op, lambda inner, _: isinstance(inner, TextOp))
        parts = join_literals(self.part(leaf) for leaf in leaves)
        if not parts or (len(parts) == 1 and isinstance(parts[0], str)):
            text = "".join(part for part in parts if isinstance(part, str))
            if len(text) <= LARGEST_CONSTANT:
                self.fold(op, text)
        elif len(parts) == 1 and isinstance(parts[0], SSAValue) and type_of(parts[0]) == STR:
            self.replace(op, parts[0])
        elif len(parts) < len(leaves):
            op.operands = constants_for(parts, op)
            self.statistics["constants_folded"] += 1

    def part(self, value: SSAValue) -> Part:
        """Its literal text where that may join its neighbours, else the value itself."""
        text = literal_text(value)
        if text is None or len(text) > (LARGEST_CONSTANT if value.has_one_use() else LARGEST_COPY):
            return value
        return text

    def visit_sum(self, op: SumOp) -> None:
        # Only from the left: in another grouping an int may leave its range, or stay in it, and a float be rounded.
        user = self.feeds_one(op, SumOp)
        if user is not None and user.operands[0] is op.result:
            return
        leaves = self.flattened(op, lambda inner, first: first and isinstance(inner, SumOp))
        known: list[Value] = []
        for leaf in leaves:
            if (constant := constant_of(leaf)) is None:
                break
            known.append(constant.value)
        total = _total(known)
        if len(known) == len(leaves):
            if total is not None:
                self.fold(op, total)
            return
        first, rest = leaves[: len(known)], leaves[len(known) :]
        if type_of(op.result) == INT:
            rest = [leaf for leaf in rest if not _is_zero(leaf)]
            first = [] if total == 0 else first
        if total is not None and len(first) > 1:
            first = [self.constant(total, INT if isinstance(total, int) else FLOAT, op)]
        if len(first) + len(rest) == len(leaves):
            return
        self.statistics["constants_folded"] += 1
        op.operands = [*first, *rest]
        if len(op.operands) == 1:
            self.replace(op, op.operands[0])

    def flattened(self, op: ValueOp, joins: Callable[[Operation, bool], bool]) -> list[SSAValue]:
        """The operands of `op`, those that are only there for it replaced by their own operands. `joins` says whether
        that is right for an operation, and gets to know whether it comes first of all."""
        leaves: list[SSAValue] = []
        stack = list(reversed(op.operands))
        inner: list[Operation] = []
        while stack:
            value = stack.pop()
            owner = value.owner
            if isinstance(owner, ValueOp) and self.replacements.used_once(value) and joins(owner, not leaves):
                inner.append(owner)
                stack += reversed(owner.operands)
            else:
                leaves.append(value)
        if inner:
            op.operands = leaves
            for owner in inner:
                owner.operands = ()
            self.statistics["operands_flattened"] += len(inner)
        return leaves

    def feeds_one(self, op: ValueOp, kind: type[AnyValueOp]) -> AnyValueOp | None:
        """The one operation of this kind that the result goes to, if nothing else uses it: that one flattens it."""
        user = op.result.get_user_of_unique_use()
        return user if isinstance(user, kind) and self.replacements.used_once(op.result) else None

    # --- other values ----------------------------------------------------------------------------------------------

    def visit_display(self, op: ListOp | DictOp) -> None:
        constants = [constant_of(operand) for operand in op.operands]
        values = [constant.value for constant in constants if constant is not None]
        if len(values) < len(constants) or sum(len(c.data) for c in constants if c is not None) > LARGEST_CONSTANT:
            return
        value: Value = values if isinstance(op, ListOp) else dict(zip(op.keys, values, strict=True))
        if _depth(value) <= DEEPEST_CONSTANT:
            self.fold(op, value)

    def visit_field(self, op: FieldOp) -> None:
        constant = constant_of(op.operands[0])
        value = None if constant is None else constant.value
        if isinstance(value, dict):
            entries = cast(dict[str, Value], value)
            if op.field in entries:
                self.fold(op, entries[op.field])

    # --- rewriting -------------------------------------------------------------------------------------------------

    def fold(self, op: ValueOp, value: Value) -> None:
        self.statistics["constants_folded"] += 1
        self.replace(op, self.constant(value, type_of(op.result), op))

    def constant(self, value: Value, type_: Type, place: ValueOp) -> SSAValue:
        made = ConstantOp.of(value, type_)
        made.location = place.location
        block = place.parent_block()
        assert block is not None
        block.insert_op_before(made, place)
        return made.result

    def replace(self, op: ValueOp, value: SSAValue) -> None:
        self.replacements.add(op.result, value)
        self.replacements.retire(op)


def _total(numbers: Sequence[Value]) -> Value | None:
    """Their sum; None where there are none, or it cannot be computed: then it fails at run time, and is left to."""
    try:
        return add_up(numbers) if numbers else None
    except OperationError:
        return None


def _is_zero(value: SSAValue) -> bool:
    constant = constant_of(value)
    return constant is not None and constant.value == 0


def _to_float(value: Value) -> Value:
    return [_to_float(item) for item in cast(list[Value], value)] if isinstance(value, list) else float(value)


def _depth(value: Value) -> int:
    if isinstance(value, list):
        return 1 + max(map(_depth, cast(list[Value], value)), default=0)
    if isinstance(value, dict):
        return 1 + max(map(_depth, cast(dict[str, Value], value).values()), default=0)
    return 0
