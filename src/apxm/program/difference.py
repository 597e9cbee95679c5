"""What one program has that another has not, in words for whoever changed it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from apxm.program.model import Operate, Program

_encode = msgspec.msgpack.Encoder().encode


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
    return "the order of its operations is another one"


def _named(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    if gone := before.keys() - after.keys():
        return f"{kind} {min(gone)} is gone"
    if new := after.keys() - before.keys():
        return f"{kind} {min(new)} is new"
    changed = min(name for name in before if before[name] != after[name])
    return f"{kind} {changed} was {before[changed]} and is {after[changed]}"


def _operations(program: Program) -> dict[str, bytes]:
    """By plan and path: all about an operation but where its operands stand."""
    found: dict[str, bytes] = {}
    for plan, names in zip(program.plans, program.names.plans, strict=True):
        for node, name in zip(plan.nodes, names.nodes, strict=True):
            if isinstance(node, Operate):
                operands = tuple(names.nodes[i].path for i in node.operands)
                # As bytes: in Python objects are equal whatever the order of their keys, and 1 == 1.0 == True.
                what = _encode((node.operation, node.arguments, node.options, operands))
                found[f"{names.path}/{name.path}"] = what
    return found
