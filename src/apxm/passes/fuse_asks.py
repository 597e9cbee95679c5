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

from collections.abc import Hashable
from typing import NamedTuple

from apxm.ir.core import NO_FUSE, Block, Op, SSAValue
from apxm.ir.literals import identity
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.ir.values import TextOp, constant_of
from apxm.operations.effects import Effect
from apxm.operations.types import STR
from apxm.passes.rewriting import Outcome, Part, ValueBuilder, drop_unused, join_literals, literal_text, taken_again

MOST_STEPS = 4
MOST_LITERAL = 2_000
"""The most characters of literal text that the steps after the first may have together."""


class _Step(NamedTuple):
    """One call of a chain."""

    call: OperateOp
    parts: tuple[Part | None, ...]
    """What it sends; None stands for the answer of the step before."""

    @property
    def literal_length(self) -> int:
        return sum(len(part) for part in self.parts if isinstance(part, str))


def fuse_asks(module: Module) -> Outcome:
    statistics = {"chains_fused": 0, "calls_saved": 0}
    dropped = False
    for flow in module.flows.values():
        if flow.may_fuse:
            _fuse_block(flow.body, statistics, taken_again(flow.body))
            dropped |= drop_unused(flow.body)
    return Outcome(dropped or statistics["chains_fused"] > 0, statistics)


def _fuse_block(block: Block, statistics: dict[str, int], apart: set[SSAValue]) -> None:
    """`apart` are the texts that are taken as they are."""
    chains: dict[OperateOp, list[_Step]] = {}
    """The chains so far, each by its last call."""
    for op in block.ops:
        for region in op.regions:
            _fuse_block(region, statistics, apart)
        if isinstance(op, OperateOp) and _is_plain(op):
            earlier, step = _next_step(op) or (None, None)
            chain = chains.get(earlier, []) if earlier is not None else []
            if earlier is not None and step is not None and chain and _fits(chain, step):
                del chains[earlier]
                chains[op] = [*chain, step]
            else:
                chains[op] = [_first_step(op, apart)]
    fused = {op: chain for op, chain in chains.items() if len(chain) > 1}
    if not fused:
        return
    dropped = {step.call for chain in fused.values() for step in chain[:-1]}
    ops: list[Op] = []
    for op in block.ops:
        if isinstance(op, OperateOp) and op in fused:
            _fuse(fused[op], ValueBuilder(ops, op))
        if op not in dropped:
            ops.append(op)
    block.ops = ops
    statistics["chains_fused"] += len(fused)
    statistics["calls_saved"] += len(dropped)


# --- what belongs together -----------------------------------------------------------------------------------------


def _is_plain(op: OperateOp) -> bool:
    """Whether it is one call that sends its prompt as it stands and gives the answer as it comes."""
    operation = op.OPERATION
    plain = operation.effect is Effect.MODEL and operation.instruction is None and "choices" not in op.literals
    plain = plain and not op.has_content
    return plain and op.value is not None and op.value.type == STR and NO_FUSE not in op.attributes


def _first_step(op: OperateOp, apart: set[SSAValue]) -> _Step:
    prompt, *contexts = op.arguments
    parts = [prompt] if prompt in apart else _parts(prompt)
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
    if not isinstance(earlier, OperateOp) or len(answer.uses) != 1:
        return None
    if type(earlier) is not type(op) or _options(earlier) != _options(op):
        return None  # one call cannot stand for both
    return earlier, _Step(op, tuple(part if isinstance(part, str) else None for part in parts))


def _parts(value: SSAValue) -> list[Part]:
    """A prompt as literal text and values, as far as it is there for this one use."""
    owner = value.owner
    operands = owner.operands if isinstance(owner, TextOp) and len(value.uses) == 1 else [value]
    literals = ((operand, literal_text(operand)) for operand in operands)
    return [operand if text is None else text for operand, text in literals]


def _options(op: OperateOp) -> dict[str, Hashable]:
    options: dict[str, Hashable] = {name: identity(value) for name, value in op.literals.items()}
    for name, value in op.options.items():
        found = constant_of(value)
        options[name] = value if found is None else identity(found.constant)
    return options


def _fits(chain: list[_Step], step: _Step) -> bool:
    literal = sum(other.literal_length for other in chain[1:]) + step.literal_length
    return len(chain) < MOST_STEPS and literal <= MOST_LITERAL


# --- the fused call ------------------------------------------------------------------------------------------------


def _fuse(chain: list[_Step], above: ValueBuilder) -> None:
    """The last call gets the prompt of all, and keeps its name, its place and its options; the others end."""
    count = len(chain)
    parts: list[Part] = [
        f"Work through these {count} steps in order. A step may refer to the answer to an earlier one. "
        f"Reply with the answer to step {count} alone."
    ]
    for number, step in enumerate(chain, 1):
        parts.append(f"\n\nStep {number}:\n")
        parts += [f"[the answer to step {number - 1}]" if part is None else part for part in step.parts]
    last = chain[-1].call
    prompts = [step.call.operands[0] for step in chain]
    last.set_operands([above.text(join_literals(parts)), *last.options.values()])
    for step in chain[:-1]:
        step.call.drop()
    for prompt in prompts:
        if isinstance(prompt.owner, TextOp) and not prompt.uses:
            prompt.owner.set_operands(())  # `drop_unused` takes it out
