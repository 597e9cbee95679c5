"""What one program has that another has not, in words for whoever changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from apxm.program.nodes import Compute, Enter, Operate, Output
from apxm.program.openers import Opener
from apxm.program.program import AnyNode, NodeName, PlanNames, Program

_encode = msgspec.msgpack.Encoder().encode
"""What is compared is compared as bytes: to Python objects are equal whatever the order of their keys, and 1 == 1.0."""


def same_meaning(before: Program, after: Program) -> bool:
    """Whether two programs do the same, operation by operation and under the same names, wherever they stand in their
    files: comments and layout move them, and mean nothing."""
    return _encode(_placeless(before)) == _encode(_placeless(after))


def meaning_digest(program: Program) -> str:
    """Equal, over processes, for programs that have the `same_meaning`; in hexadecimal."""
    return blake2b(_encode(_placeless(program)), digest_size=16).hexdigest()


def _placeless(program: Program) -> Program:
    plans = tuple(
        replace(plan, nodes=tuple(NodeName(path=node.path) for node in plan.nodes)) for plan in program.names.plans
    )
    return replace(program, names=replace(program.names, file="", plans=plans))


def difference(before: Program, after: Program) -> str:
    """The first difference that a reader of the source would look for: a flow, an operation, what an operation does."""
    flows = {flow.qualified_name: flow.signature for flow in before.flows}
    new_flows = {flow.qualified_name: flow.signature for flow in after.flows}
    if flows != new_flows:
        return _named("flow", flows, new_flows)
    operations, new_operations = _by_path(before, _operation), _by_path(after, _operation)
    if operations.keys() != new_operations.keys():
        return _named("operation", operations, new_operations)
    for describe, change in (
        (_operation, "does something else"),
        (_choice, "decides by something else, or between other cases"),
        (_given, "is given something else to begin with"),
        (_result, "gives something else"),
    ):
        found, new = _by_path(before, describe), _by_path(after, describe)
        for path, what in found.items():  # in the order of the source
            if new.get(path, what) != what:
                return f"{path} {change}"
    if _by_path(before, _order) != _by_path(after, _order):
        return "the order of its operations is another one"
    return "its operations are the same, and the graph of them is another one"


def _named(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    if gone := before.keys() - after.keys():
        return f"{kind} {min(gone)} is gone"
    if new := after.keys() - before.keys():
        return f"{kind} {min(new)} is new"
    changed = min(name for name in before if before[name] != after[name])
    return f"{kind} {changed} was {before[changed]} and is {after[changed]}"


# --- nodes by their paths ------------------------------------------------------------------------------------------

Paths = Callable[[Iterable[int]], tuple[str, ...]]
"""The paths of nodes of a plan, by their indices."""


def _by_path(program: Program, describe: Callable[[AnyNode, Paths], object]) -> dict[str, bytes]:
    """What `describe` says of the nodes, but None, by their paths in the program; what enters a construct goes by that
    one's, others without a name of their own by their plan's."""
    found: dict[str, list[object]] = {}
    for plan, names in zip(program.plans, program.names.plans, strict=True):
        paths = partial(_paths, names)
        for node, name in zip(plan.nodes, names.nodes, strict=True):
            if (what := describe(node, paths)) is not None:
                named = names.nodes[node.opener] if isinstance(node, Enter) else name
                found.setdefault(f"{names.path}/{named.path}".removesuffix("/"), []).append(what)
    return {path: _encode(whats) for path, whats in found.items()}


def _paths(names: PlanNames, nodes: Iterable[int]) -> tuple[str, ...]:
    return tuple(names.nodes[i].path for i in nodes)


def _operation(node: AnyNode, paths: Paths) -> object:
    """All about it but where its operands stand."""
    if not isinstance(node, Operate):
        return None
    return node.operation, node.arguments, sorted(node.options.items()), paths(node.operands)


def _choice(node: AnyNode, paths: Paths) -> object:
    if not isinstance(node, Opener) or (node.computes is None and not node.cases):
        return None
    return node.kind, node.computes, paths(node.operands), node.cases


def _given(node: AnyNode, paths: Paths) -> object:
    """What a construct takes from around it: what a loop carries first, and what a flow is called with."""
    return (node.port, node.value, paths(node.operands)) if isinstance(node, Enter) else None


def _result(node: AnyNode, paths: Paths) -> object:
    """What leaves a plan, and the values that are computed for that."""
    return (node.value, paths(node.operands)) if isinstance(node, Output | Compute) else None


def _order(node: AnyNode, paths: Paths) -> object:
    return (sorted(paths(node.after)), sorted(paths(node.requires))) if isinstance(node, Operate) else None
