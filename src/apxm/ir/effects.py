"""What an operation of the IR does besides giving a value: the questions that passes and the lowering ask.

`Effects` is the one interface. Passes ask it, so that a new operation needs no change in any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from xdsl.ir import Operation
from xdsl.traits import OpTrait

from apxm.ir.attributes import LiteralAttr
from apxm.operations.effects import OUTPUT, Access, Effect

_ACCESSES: Mapping[Effect, tuple[Access, ...]] = {
    Effect.NONE: (),
    Effect.MODEL: (),
    Effect.OUTPUT: (Access("write", OUTPUT),),
}


@dataclass(frozen=True)
class Effects(OpTrait):
    """The effects of one kind of operation, those of its regions and callees left out (`ir.summary` adds them)."""

    effect: Effect

    @property
    def accesses(self) -> tuple[Access, ...]:
        """What it touches outside the graph. Order follows from that (`operations.effects.order_between`), and an
        operation that touches anything must stay."""
        return _ACCESSES[self.effect]

    def repeatable(self, op: Operation) -> bool:
        """Whether doing `op` again with equal operands gives the same value, so that once is enough."""
        if self.effect is not Effect.MODEL:
            return self.effect is Effect.NONE
        # A model's answer is a sample, unless the source asks for the most likely one.
        temperature = op.properties.get("temperature")
        return isinstance(temperature, LiteralAttr) and temperature.value == 0


NO_EFFECTS = Effects(Effect.NONE)
"""Of a value computed from values, and of a construct that only holds others."""


def effects_of(op: Operation) -> Effects:
    return _effects_of_kind(type(op))


@cache
def _effects_of_kind(kind: type[Operation]) -> Effects:
    found = kind.get_trait(Effects)
    assert found is not None, f"{kind.name} does not state its effects"
    return found


def union(groups: Iterable[tuple[Access, ...]]) -> tuple[Access, ...]:
    """All accesses once, in order of appearance."""
    return tuple(dict.fromkeys(access for group in groups for access in group))
