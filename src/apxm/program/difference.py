"""What one program has that another has not, in words for whoever changed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from apxm.program.model import AnyNode, Compute, NodeName, Operate, Output, PlanNames, Program, Switch

_encode = msgspec.msgpack.Encoder().encode
"""What is compared is compared as bytes: to Python objects are equal whatever the order of their keys, and 1 == 1.0."""


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
    for path, what in operations.items():
        if what != new_operations[path]:
            return f"{path} does something else"
    cases, new_cases = _cases(before), _cases(after)
    for path in cases.keys() & new_cases.keys():
        if cases[path] != new_cases[path]:
            return f"{path} has other cases, or chooses by something else"
    results, new_results = _results(before), _results(after)
    for path in results.keys() & new_results.keys():
        if results[path] != new_results[path]:
            return f"{path} gives something else"
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


def _nodes(program: Program) -> Iterator[tuple[str, PlanNames, AnyNode, str]]:
    """Each with the names of its plan and its own path in the program."""
    for plan, names in zip(program.plans, program.names.plans, strict=True):
        for node, name in zip(plan.nodes, names.nodes, strict=True):
            yield names.path, names, node, f"{names.path}/{name.path}"


def _paths(names: PlanNames, nodes: Iterable[int]) -> tuple[str, ...]:
    return tuple(names.nodes[i].path for i in nodes)


def _cases(program: Program) -> dict[str, bytes]:
    """By path, of each `switch`."""
    return {
        path: _encode((node.selector, _paths(names, node.operands), node.labels, node.default is None))
        for _, names, node, path in _nodes(program)
        if isinstance(node, Switch)
    }


def _results(program: Program) -> dict[str, bytes]:
    """By the path of each plan: what leaves it, and the values that are computed for that."""
    found: dict[str, list[object]] = {}
    for plan, names, node, _ in _nodes(program):
        if isinstance(node, Output | Compute):
            found.setdefault(plan, []).append((node.value, _paths(names, node.operands)))
    return {plan: _encode(values) for plan, values in found.items()}


def _order(program: Program) -> dict[str, object]:
    return {
        path: (sorted(_paths(names, node.after)), sorted(_paths(names, node.requires)))
        for _, names, node, path in _nodes(program)
        if isinstance(node, Operate)
    }


def _operations(program: Program) -> dict[str, bytes]:
    """By plan and path: all about an operation but where its operands stand."""
    return {
        path: _encode((node.operation, node.arguments, sorted(node.options.items()), _paths(names, node.operands)))
        for _, names, node, path in _nodes(program)
        if isinstance(node, Operate)
    }
