"""The nodes of a plan, but those that open frames of other plans (`program.openers`)."""

from __future__ import annotations

from msgspec import Struct

from apxm.program.expressions import Expression


class Node(Struct, frozen=True, array_like=True, kw_only=True):
    """What all nodes share; `program.program` says what its edges mean."""

    operands: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    requires: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """What readers call it, and artifacts."""
        return str(self.__struct_config__.tag)

    @property
    def computes(self) -> Expression | None:
        """The expression whose value it needs before it does anything; None where it has none, or is an operation."""
        return getattr(self, "value", None)


class Input(Node, frozen=True, array_like=True, tag="input"):
    """A port through which a token enters the frame. It has no predecessors."""


class Operate(Node, frozen=True, array_like=True, tag="operate", kw_only=True):
    """An operation that the source wrote: the only kind that counts as one, takes time and can hold a slot."""

    operation: str
    """The operation's name in `apxm.operations`."""
    arguments: tuple[Expression, ...] = ()
    """The arguments by position: the operation's positional parameters, then the variadic ones."""
    options: dict[str, Expression] = {}
    """The arguments by name, absent ones left out; those the operation calls literal hold a `Literal`."""
    result: str = "none"
    """The result's type: what `merge` does follows from the types of its operands, not from their values."""
    priority: int = 0
    """Longest path from here to the end of the plan, in ms of `Operation.typical_ms`; higher runs first."""


class Compute(Node, frozen=True, array_like=True, tag="compute", kw_only=True):
    """A value too large, or used too often, to be folded into its users. Not an operation."""

    value: Expression


class Output(Node, frozen=True, array_like=True, tag="output", kw_only=True):
    """A port through which a token leaves the frame. An order port has no value, and passes a failure on."""

    port: int
    value: Expression | None = None


class Enter(Node, frozen=True, array_like=True, tag="enter", kw_only=True):
    """Delivers a value, or an order token where `value` is None, into input `port` of the frame that `opener` opens."""

    opener: int
    port: int
    value: Expression | None = None


class Exit(Node, frozen=True, array_like=True, tag="exit", kw_only=True):
    """Output `port` of the frame that `opener` opens. An order port also names the `Enter` of its resource, if any, in
    `after`: where the frame was never opened, order still passes through."""

    opener: int
    port: int
