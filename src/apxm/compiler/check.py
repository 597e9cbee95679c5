"""AIS text → all that can be said about it before it runs: the checker's findings, and calls that nothing needs.

What nobody needs is found on the module as it is built, by the pass that leaves it out from -O1 on. So that pass leaves
out what was warned of and nothing else, but for what inlining lets it see: model calls that only serve the result of a
flow, where that result is not used.
"""

from __future__ import annotations

from apxm.garbage import without_collector
from apxm.ir.build import build_module
from apxm.ir.structure import Module
from apxm.language.checker import check
from apxm.language.parser import parse
from apxm.language.syntax import CallExpression, CheckedTree
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
    return tuple(sorted(found, key=lambda warning: warning.span.start))
