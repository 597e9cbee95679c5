"""What an operation does to the world, and what order that imposes (AIS, "Dataflow: what runs when").

An operation *accesses* resources. Two accesses of resources that can be the same thing are kept in program order as the
table of AIS says; everything else may overlap.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple


class Order(Enum):
    """How the second of two ordered operations depends on the first."""

    SETTLED = "settled"
    """It waits until the first is over, however that ended."""
    SUCCEEDED = "succeeded"
    """It waits, and does not happen if the first failed."""


class Resource(NamedTuple):
    """Something outside the dataflow graph. `key` None is "any key": a search may match every entry."""

    kind: Literal["output", "tool", "memory"]
    agent: str = ""
    tier: str = ""
    key: str | None = None

    def may_alias(self, other: Resource) -> bool:
        if (self.kind, self.agent, self.tier) != (other.kind, other.agent, other.tier):
            return False
        return self.key is None or other.key is None or self.key == other.key

    def __str__(self) -> str:
        if self.kind != "memory":
            return self.kind
        return f"memory of {self.agent}, {self.tier}, {self.key or 'any key'}"


class Access(NamedTuple):
    """One resource, and what is done to it. A line of output is a write."""

    mode: Literal["read", "write"]
    resource: Resource

    def __str__(self) -> str:
        return "output" if self.resource.kind == "output" else f"{self.mode} {self.resource}"


class Effect(Enum):
    """The effect column of AIS's table of operations."""

    NONE = "none"
    MODEL = "model"
    """A call of a model: paid and sampled, but it changes nothing, so it is never ordered and may be left out."""
    OUTPUT = "output"
    READ = "read"
    WRITE = "write"
    TOOL = "tool"
    ALL_MEMORY = "all memory"
    OTHER = "other"
    """Between agents and with people; defined by the issue that brings the operation."""


OUTPUT = Resource("output")
TOOL = Resource("tool")
"""All tools: nobody knows what one of them changes for another."""


def order_between(first: Access, second: Access) -> Order | None:
    """What the second access, later in program order, owes to the first; None where the two may overlap."""
    if not first.resource.may_alias(second.resource):
        return None
    if first.mode == "read" and second.mode == "read":
        return None
    if first.resource.kind == "output":
        return Order.SETTLED
    if first.resource.kind == "memory" and first.mode == "read":
        return Order.SETTLED
    return Order.SUCCEEDED


def rule_between(first: Access, second: Access) -> str:
    """The row of AIS's table behind `order_between`, in words, for ``apxm inspect``."""
    order = order_between(first, second)
    kind = first.resource.kind
    pair = f"{kind} then {kind}" if kind != "memory" else f"{first.mode} then {second.mode} of the same memory"
    fate = "does not happen" if order is Order.SUCCEEDED else "still happens"
    return f"{pair}: program order; if the first fails the second {fate}"
