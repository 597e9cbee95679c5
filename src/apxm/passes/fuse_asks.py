"""``fuse-asks`` (-O2): a straight chain of calls becomes one call that works through the steps.

A call joins the chain of the one before it if its prompt is literal text around that one's answer, or literal text with
the answer as its only context, nothing else uses the answer, and both have the same options and stand in the same
block. The fused call waits for exactly what the first of them waited for. Its prompt numbers the steps; each holds what
the model would have been sent, with ``[the answer to step K]`` where the answer of an earlier step would stand, and
only the last answer is asked for:

    Work through these 2 steps in order. A step may refer to the answer to an earlier one. Reply with the answer to
    step 2 alone.

    Step 1:
    Name a city.

    Step 2:
    What is the best season to visit [the answer to step 1]?

This saves calls, and gives up what a second look at a written answer may add: hence not at -O1.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import NO_FUSE
from apxm.ir.operations import OperateOp
from apxm.ir.structure import SwitchOp, flows_of
from apxm.ir.values import TextOp, constant_of
from apxm.operations.effects import Effect
from apxm.operations.types import STR
from apxm.passes.rewriting import Outcome, drop_unused_values
from apxm.passes.texts import Part, join_literals, literal_text, text_of_parts

MOST_STEPS = 4
MOST_LITERAL = 2_000
"""Characters of literal text in the steps after the first, together."""


@dataclass(frozen=True)
class _Step:
    """One call of a chain."""

    call: OperateOp
    parts: tuple[Part | None, ...]
    """What it sends; None stands for the answer of the step before."""

    @property
    def literal_length(self) -> int:
        return sum(len(part) for part in self.parts if isinstance(part, str))


def fuse_asks(module: ModuleOp) -> Outcome:
    statistics = {"chains_fused": 0, "calls_saved": 0}
    dropped = False
    for flow in flows_of(module).values():
        if flow.may_fuse:
            _fuse_block(flow.body, statistics)
            dropped |= drop_unused_values(flow.body)
    return Outcome(dropped or statistics["chains_fused"] > 0, statistics)


def _fuse_block(block: Block, statistics: dict[str, int]) -> None:
    chains: dict[OperateOp, list[_Step]] = {}
    """By its last call so far."""
    for op in block.ops:
        if isinstance(op, SwitchOp):
            for arm in op.arms:
                _fuse_block(arm, statistics)
        elif isinstance(op, OperateOp) and _is_plain(op):
            earlier, step = _next_step(op) or (None, None)
            chain = chains.get(earlier, []) if earlier is not None else []
            if earlier is not None and step is not None and chain and _fits(chain, step):
                del chains[earlier]
                chains[op] = [*chain, step]
            else:
                chains[op] = [_first_step(op)]
    for chain in chains.values():
        if len(chain) > 1:
            _fuse(chain)
            statistics["chains_fused"] += 1
            statistics["calls_saved"] += len(chain) - 1


# --- what belongs together -----------------------------------------------------------------------------------------


def _is_plain(op: OperateOp) -> bool:
    """Whether it is one call that sends its prompt as it stands and gives the answer as it comes."""
    operation = op.OPERATION
    plain = operation.effect is Effect.MODEL and operation.instruction is None and operation.result == STR
    return plain and NO_FUSE not in op.attributes


def _first_step(op: OperateOp) -> _Step:
    prompt, *contexts = op.arguments
    parts = [*_parts(prompt)]
    for number, context in enumerate(contexts, 1):
        # As the model gets it (AIS, "Operations"): with an empty prompt the context stands alone.
        parts += ["\n\n" if parts != [""] else "", f"Context {number}: ", context]
    return _Step(op, tuple(parts))


def _next_step(op: OperateOp) -> tuple[OperateOp, _Step] | None:
    """The call that `op` could follow in a chain, and `op` as a step behind it."""
    prompt, *contexts = op.arguments
    parts: list[Part]
    match contexts:
        case []:
            parts = _parts(prompt)
        case [context]:
            parts = [*_parts(prompt), "\n\nContext 1: ", context]
        case _:
            return None
    values = [part for part in parts if not isinstance(part, str)]
    if len(values) != 1 or not any(part for part in _parts(prompt) if isinstance(part, str)):
        return None
    answer, earlier = values[0], values[0].owner
    if not isinstance(earlier, OperateOp) or not answer.has_one_use() or not _alike(earlier, op):
        return None
    return earlier, _Step(op, tuple(part if isinstance(part, str) else None for part in parts))


def _parts(value: SSAValue) -> list[Part]:
    """A prompt as literal text and values, as far as it is there for this one use."""
    whole = isinstance(value.owner, TextOp) and value.has_one_use()
    operands = value.owner.operands if whole and isinstance(value.owner, TextOp) else (value,)
    literals = ((operand, literal_text(operand)) for operand in operands)
    return [operand if text is None else text for operand, text in literals]


def _alike(first: OperateOp, second: OperateOp) -> bool:
    """Whether one call can stand for both, as far as all but the prompt goes."""
    return (
        type(first) is type(second)
        and first.parent_block() is second.parent_block()
        and first.literals == second.literals
        and _options(first) == _options(second)
    )


def _options(op: OperateOp) -> dict[str, LiteralAttr | SSAValue]:
    return {name: constant_of(value) or value for name, value in op.named_operands.items()}


def _fits(chain: list[_Step], step: _Step) -> bool:
    literal = sum(other.literal_length for other in chain[1:]) + step.literal_length
    return len(chain) < MOST_STEPS and literal <= MOST_LITERAL


# --- the fused call ------------------------------------------------------------------------------------------------


def _fuse(chain: list[_Step]) -> None:
    """The last call gets the prompt of all, and keeps its name, its place and its options."""
    count = len(chain)
    parts: list[Part] = [
        f"Work through these {count} steps in order. A step may refer to the answer to an earlier one. "
        f"Reply with the answer to step {count} alone."
    ]
    for number, step in enumerate(chain, 1):
        parts.append(f"\n\nStep {number}:\n")
        parts += [f"[the answer to step {number - 1}]" if part is None else part for part in step.parts]
    last = chain[-1].call
    prompt = text_of_parts(join_literals(parts), last)
    old = last.arguments
    last.operands = [prompt, *last.named_operands.values()]
    for step in reversed(chain[:-1]):
        for value in old:
            _erase_unused(value)
        old = step.call.arguments
        _erase(step.call)


def _erase_unused(value: SSAValue) -> None:
    if isinstance(value.owner, TextOp) and not value.uses:
        _erase(value.owner)


def _erase(op: Operation) -> None:
    block = op.parent_block()
    assert block is not None
    block.erase_op(op)
