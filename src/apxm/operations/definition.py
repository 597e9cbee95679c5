"""The shape in which every operation of AIS is described."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from apxm.frozen import FrozenRecord
from apxm.operations.effects import Effect
from apxm.operations.types import JSON, NONE, Type


class Family(Enum):
    """Which handler an operation belongs to; the runtime has one module per family."""

    VALUE = "value"
    """What computes a value alone: no node of a plan, and of no handler (`operations.functions`)."""
    MODEL = "model"
    DATAFLOW = "dataflow"
    OUTPUT = "output"
    MEMORY = "memory"
    TOOL = "tool"
    AGENT = "agent"
    CONTENT = "content"
    """What may only stand among the context of a model call, and is part of that."""


class Parameter(NamedTuple):
    """One argument of an operation."""

    name: str
    type: Type
    doc: str
    required: bool = False
    by_position: bool = False
    """Whether it may be given without its name; such parameters come first, in this order."""
    literal: bool = False
    """Whether it must be written out in the source, so that it is known before the run."""
    minimum: float | None = None
    """Smallest legal number, for literals."""
    maximum: float | None = None
    above: float | None = None
    """A bound that the number must exceed, for literals."""
    choices: tuple[str, ...] = ()
    """The legal texts, for literals; empty where any will do."""
    is_pattern: bool = False
    """Whether it is a regular expression, which is looked at before the run where it is written out."""
    noted: bool = False
    """Whether the compiler adds it, from a declaration: no call gives it."""

    def limit_passed_by(self, value: Any) -> str | None:
        """What `value`, a literal of the parameter's type, should have been; None where it may be given."""
        low, high, above = self.minimum, self.maximum, self.above
        if not value and self.name in ("backend", "model"):
            return "is a name"
        if self.choices and value not in self.choices:
            return "is one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if low is not None and high is not None and not low <= value <= high:
            return f"goes from {low} to {high}"
        if low is not None and value < low:
            return f"is at least {low}"
        return f"is more than {above}" if above is not None and value <= above else None


class Variadic(NamedTuple):
    """The positional arguments after the named ones, any number of them."""

    name: str
    doc: str
    minimum: int = 0
    type: Type = JSON
    content: bool = False
    """Whether images and files may be among them."""


class Callee(FrozenRecord):
    """What can be called, and how: an operation, a flow or a capability."""

    name: str
    parameters: tuple[Parameter, ...] = ()
    variadic: Variadic | None = None
    result: Type = NONE
    alternatives: tuple[str, ...] = ()
    """Parameters of which a call gives exactly one."""
    open_arguments: bool = False
    """Whether further named arguments are allowed (those of a tool)."""
    declaration: str = ""
    """How it is called, as the source declares it; empty for what no source declares."""

    @cached_property
    def positional(self) -> tuple[Parameter, ...]:
        """The parameters that may be given without their names."""
        return tuple(p for p in self.parameters if p.by_position)

    @cached_property
    def operands(self) -> tuple[Parameter, ...]:
        """Those of them whose values are only there in a run."""
        return tuple(p for p in self.positional if not p.literal)

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The names of all other parameters."""
        return tuple(p.name for p in self.parameters if p not in self.operands)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of those that every call gives."""
        return tuple(p.name for p in self.parameters if p.required)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """All parameters."""
        return {p.name: p for p in self.parameters}

    @property
    def signature(self) -> str:
        """How it is called, as help texts show it: ``ask(prompt, context…, system: str, …)``."""
        if self.declaration:
            return self.declaration
        parts = [p.name if p.required else f"{p.name}?" for p in self.positional]
        if self.variadic:
            parts.append(f"{self.variadic.name}…")
        parts += [f"{p.name}: {p.type}" for p in self.parameters if not p.by_position and not p.noted]
        if self.open_arguments:
            parts.append("name: value…")
        return f"{self.name}({', '.join(parts)})"


class Operation(Callee):
    """One operation of AIS, as data.

    The checker, the dialect, the lowering, the table of handlers and docs/operations.md are made from it.
    """

    summary: str
    family: Family
    effect: Effect
    result_of_text: Type | None = None
    """The result instead of `result` when every variadic operand is a str."""
    result_by_key: Type | None = None
    """The result instead of `result` where `key` is given."""
    available: bool = True
    """False for an operation that the language knows and checks, and this version refuses by name."""
    result_declared: bool = False
    """Whether a declaration may give a call another result than `result`."""
    instruction: str | None = None
    """What a model operation adds to the system text, if anything."""
    reasons: bool = False
    """Whether a backend's own reasoning setting, where it has one, replaces `instruction`. Any operation uses that
    setting, beside its instruction, where a call gives it a `budget`."""
    typical_ms: int = 0
    """Expected duration where nothing better is known: it only ranks paths against each other."""
    example: str = ""
    """A complete statement that shows it in use."""

    @cached_property
    def least_operands(self) -> int:
        """How many positional operands it needs at least, those left out that must be literals."""
        return sum(p.required for p in self.operands) + (self.variadic.minimum if self.variadic else 0)

    @cached_property
    def takes_schema(self) -> bool:
        """Whether a call may say what type its result has."""
        return "schema" in self.by_name

    def result_for(self, operands: list[Type], *, by_key: bool = False) -> Type:
        """The result type, given the types of the variadic operands."""
        if self.result_by_key is not None and by_key:
            return self.result_by_key
        if self.result_of_text is not None and all(t.name == "str" for t in operands):
            return self.result_of_text
        return self.result
