"""Order edges: what AIS keeps in program order, as edges between the nodes of a plan.

Everything follows from `operations.effects.order_between`; nothing here knows what a resource is. Within a plan, each
access waits for the accesses before it that it must follow and that are not implied by others. Between plans, order
passes through *ports*, one for each resource and mode: an input port stands for all accesses of that kind before the
frame, an output port for all that happened inside it or before. A port passes failures on; the operation behind it
decides, by the rule, whether a failure matters to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from apxm.ir.summary import union
from apxm.operations.effects import Access, Order, order_between, rule_between

_MODES: tuple[Literal["read", "write"], ...] = ("read", "write")


def input_ports(inside: tuple[Access, ...], anywhere: tuple[Access, ...]) -> tuple[Access, ...]:
    """The kinds of earlier access that a frame must be told about, given all that it touches `inside`, and all that
    is touched `anywhere` in the program."""

    def needed(access: Access) -> Iterable[Access]:
        for mode in _MODES:
            earlier = Access(mode, access.resource)
            exists = any(other.mode == mode and other.resource.may_alias(access.resource) for other in anywhere)
            if exists and order_between(earlier, access) is not None:
                yield earlier

    return union(tuple(needed(access)) for access in inside)


def same_kind(access: Access, port: Access) -> bool:
    """Whether `port` stands for `access`, among others."""
    return access.mode == port.mode and access.resource.may_alias(port.resource)


class PendingAccess(Struct, frozen=True):
    """An access that later ones may have to wait for."""

    node: int
    access: Access
    construct: int | None
    """The node to name in explanations: an operation itself, or the opener that an `Exit` belongs to; None for an
    input port, whose access is not of this plan."""


class Edge(Struct, frozen=True):
    """What a new access owes to a pending one."""

    pending: PendingAccess
    order: Order
    rule: str


class OrderTracker:
    """The accesses of one plan, fed in program order; `ports` are the plan's input ports."""

    def __init__(self, ports: Mapping[int, Access]) -> None:
        self.pending = [PendingAccess(node, access, None) for node, access in ports.items()]
        self._before: dict[int, tuple[Edge, ...]] = {}
        """The edges that each node got."""

    def edges_to(self, accesses: tuple[Access, ...]) -> tuple[Edge, ...]:
        """What an operation with `accesses` must wait for, one edge per node: the stronger one where two accesses ask
        for both. What a node behind the same waits for itself is left out."""
        edges: dict[int, Edge] = {}
        for access in accesses:
            for pending in self.pending:
                order = order_between(pending.access, access)
                if order is None or (pending.node in edges and order is Order.SETTLED):
                    continue
                edges[pending.node] = Edge(pending, order, rule_between(pending.access, access))
        if len(edges) < 2:
            return tuple(edges.values())
        return tuple(edge for edge in edges.values() if not self._implied(edge, edges))

    def add(self, accesses: Mapping[Access, int], construct: int, edges: tuple[Edge, ...] = ()) -> None:
        """An operation or a construct makes `accesses`, each at the node given, behind all that it must follow.

        They say nothing about each other: a construct may read what it wrote before, so its exit of the write does not
        stand for that of the read.
        """
        self._before.update(dict.fromkeys(accesses.values(), edges))
        happen = construct in accesses.values()
        kept = [p for p in self.pending if not any(_covers(access, p.access, happen) for access in accesses)]
        self.pending = [*kept, *(PendingAccess(node, access, construct) for access, node in accesses.items())]

    def _implied(self, edge: Edge, edges: dict[int, Edge]) -> bool:
        """Whether another of `edges` comes from a node that itself waits for this one's, as strictly."""
        return any(
            first.pending.node == edge.pending.node and _at_least(first.order, edge.order)
            for second in edges.values()
            if _at_least(second.order, edge.order)
            for first in self._before.get(second.pending.node, ())
        )


def _at_least(order: Order, needed: Order) -> bool:
    return order is Order.SUCCEEDED or needed is Order.SETTLED


def _covers(later: Access, earlier: Access, happens: bool) -> bool:
    """Whether all that must wait for `earlier` waits for `later` anyway, at least as strictly.

    A write orders whatever an earlier access of the same things orders, and comes behind that access itself. Where it
    only perhaps `happens`, inside a construct, it may pass on no failure of an earlier read.
    """
    if not happens and earlier.mode == "read" and order_between(earlier, later) is Order.SUCCEEDED:
        return False
    wide_enough = later.resource == earlier.resource or (
        later.resource.key is None and later.resource.may_alias(earlier.resource)
    )
    return later.mode == "write" and wide_enough
