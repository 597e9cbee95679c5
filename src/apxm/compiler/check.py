"""AIS text → all that can be said about it before it runs: the checker's findings, and calls that nothing needs.

What nobody needs is found on the module as it is built, by the pass that leaves it out from -O1 on. So that pass leaves
out what was warned of and nothing else, but for what inlining lets it see: model calls that only serve the result of a
flow, where that result is not used.
"""

from __future__ import annotations

from collections.abc import Iterator

from apxm.errors import InternalError
from apxm.garbage import without_collector
from apxm.ir.build import build_module
from apxm.ir.core import Op
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.ir.summary import Summary
from apxm.language.checked import CheckedTree
from apxm.language.checker import check
from apxm.language.parser import parse
from apxm.language.syntax import CallExpression, For
from apxm.operations.effects import TOOL, Access
from apxm.passes.remove_unused import UnusedOperations
from apxm.source import Diagnostic, SourceFile

_REASON = "its result reaches no `return`, no `print` and no other effect"
_REMOVED = (
    f"this call will not be made: {_REASON}",
    "use the result, or leave the call out; only at -O0 is it made",
)
_KEPT = (
    f"this call is made in vain: {_REASON}",
    "use the result, or leave the call out; from -O1 on it is not made",
)


@without_collector()
def check_source(source: SourceFile) -> tuple[Diagnostic, ...]:
    """The warnings about a source, in the order of its text. Raises `SourceError` with what is wrong with it."""
    checked = check(parse(source))
    return warnings_of(checked, build_module(checked))


def warnings_of(checked: CheckedTree, module: Module, *, removed: bool = True) -> tuple[Diagnostic, ...]:
    """The checker's warnings and those of unused calls, in the order of the text. `module` is as it was built, and
    `removed` says whether what compiles it leaves unused calls out."""
    message, help = _REMOVED if removed else _KEPT
    found = list(checked.warnings)
    calls = [op.origin for op in UnusedOperations(module).walk() if op.path and isinstance(op.origin, CallExpression)]
    end = 0
    for call in sorted(calls, key=lambda call: call.span.start):
        if call.span.start >= end:  # one inside the arguments of another goes with that one
            found.append(Diagnostic("warning", "unused-result", message, call.callee[-1].span, help))
            end = call.span.end
    return tuple(sorted((*found, *_ordered_turns(module)), key=lambda warning: warning.span.start))


def _ordered_turns(module: Module) -> Iterator[Diagnostic]:
    """A warning for each `for` whose turns would run at once, and do not because of a tool."""
    summary = Summary(module)
    for op in (op for flow in module.flows.values() for op in flow.body.walk()):
        if isinstance(op.origin, For) and op.loops and Access("write", TOOL) in summary.accesses(op):
            tool = _writing_tool(op, module)
            message = f"the turns of this `for` wait for each other: each may call `{tool}`, which is not `readonly`"
            advice = f"where it changes nothing, declare that: `capability {tool}(…) readonly`"
            yield Diagnostic("warning", "ordered-turns", message, op.origin.span.first(len(For.keyword)), advice)


def _writing_tool(op: Op, module: Module) -> str:
    """The first tool inside that may change something; there is one."""
    opened = [op]
    for each in opened:  # it grows while it is read
        for inner in each.walk():
            if isinstance(inner, OperateOp) and Access("write", TOOL) in inner.touches:
                return str(inner.literals["tool"])
            if inner.callee is not None:
                opened.append(module.flows[inner.callee])
    raise InternalError("a tool that changes something is in no operation")
