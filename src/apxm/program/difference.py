"""What one program has that another has not, in words for whoever changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from apxm.program.model import AnyNode, Compute, NodeName, Opener, Operate, Output, PlanNames, Program

_encode = msgspec.msgpack.Encoder().encode
"""What is compared is compared as bytes: to Python objects are equal whatever the order of their keys, and 1 == 1.0."""

Paths = Callable[[Iterable[int]], tuple[str, ...]]


def same_meaning(before: Program, after: Program) -> bool:
    """Whether two programs do the same, operation by operation and under the same names, wherever they stand in their
    files: comments and layout move them, and mean nothing."""
    return _encode(_placeless(before)) == _encode(_placeless(after))


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
    operations, new_operations = _operations(before), _operations(after)
    if operations.keys() != new_operations.keys():
        return _named("operation", operations, new_operations)
    for of, change in (
        (_operations, "does something else"),
        (_cases, "has other cases, or chooses by something else"),
        (_results, "gives something else"),
    ):
        found, new = of(before), of(after)
        for path, what in found.items():  # in the order of the source
            if new.get(path, what) != what:
                return f"{path} {change}"
    if _order(before) != _order(after):
        return "the order of its operations is another one"
    return "its operations are the same, and the graph of them is another one"


def _named(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    if gone := before.keys() - after.keys():
        return f"{kind} {min(gone)} is gone"
    if new := after.keys() - before.keys():
        return f"{kind} {min(new)} is new"
    changed = min(name for name in before if before[name] != after[name])
    return f"{kind} {changed} was {before[changed]} and is {after[changed]}"


def _nodes(program: Program) -> Iterator[tuple[str, Paths, AnyNode, str]]:
    """Each with the path of its plan, the paths of nodes in there by their indices, and its own in the program."""
    for plan, names in zip(program.plans, program.names.plans, strict=True):
        paths = partial(_paths, names)
        for node, name in zip(plan.nodes, names.nodes, strict=True):
            yield names.path, paths, node, f"{names.path}/{name.path}"


def _paths(names: PlanNames, nodes: Iterable[int]) -> tuple[str, ...]:
    return tuple(names.nodes[i].path for i in nodes)


def _cases(program: Program) -> dict[str, bytes]:
    """What each opener chooses by, by its path."""
    return {
        path: _encode((node.computes, paths(node.operands), node.cases))
        for _, paths, node, path in _nodes(program)
        if isinstance(node, Opener) and node.cases
    }


def _results(program: Program) -> dict[str, bytes]:
    """What leaves each plan, and the values that are computed for that, by its path."""
    found: dict[str, list[object]] = {}
    for plan, paths, node, _ in _nodes(program):
        if isinstance(node, Output | Compute):
            found.setdefault(plan, []).append((node.value, paths(node.operands)))
    return {plan: _encode(values) for plan, values in found.items()}


def _order(program: Program) -> dict[str, object]:
    return {
        path: (sorted(paths(node.after)), sorted(paths(node.requires)))
        for _, paths, node, path in _nodes(program)
        if isinstance(node, Operate)
    }


def _operations(program: Program) -> dict[str, bytes]:
    """All about each operation but where its operands stand, by its path."""
    return {
        path: _encode((node.operation, node.arguments, sorted(node.options.items()), paths(node.operands)))
        for _, paths, node, path in _nodes(program)
        if isinstance(node, Operate)
    }
