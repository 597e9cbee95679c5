"""The lists of capabilities in a program: ``tools: [search, fetch]``, of an `ask` or as the default of an agent."""

from __future__ import annotations

from collections.abc import Iterator

from apxm.language import syntax
from apxm.language.checked import DeclaredCapability
from apxm.language.declarations import Findings
from apxm.language.elsewhere import TOOL_NAMES
from apxm.operations.labels import fold_label

CODE = "bad-tools"


def offered_tools(written: syntax.Expression, findings: Findings) -> tuple[DeclaredCapability, ...]:
    """The capabilities that a list names. What is wrong with it is reported once, however often it is asked for."""
    if written not in findings.tools:
        findings.tools[written] = tuple(_tools(written, findings))
    return findings.tools[written]


def _tools(written: syntax.Expression, findings: Findings) -> Iterator[DeclaredCapability]:
    if not isinstance(written, syntax.ListDisplay):
        message = "`tools` is a list of capabilities, and this is none"
        findings.report.error(CODE, message, written.span, "it is written `tools: [search, fetch]`")
        return
    seen: set[str] = set()
    for item in written.items:
        found = _tool(item, findings)
        if found is None:
            continue
        folded = fold_label(found.callee.name)
        if folded in seen:
            message = f"`{found.callee.name}` is there twice; capital and small letters are equal there"
            findings.report.error(CODE, message, item.span)
        else:
            yield found
        seen.add(folded)


def _tool(item: syntax.Expression, findings: Findings) -> DeclaredCapability | None:
    known = findings.capabilities
    if isinstance(item, syntax.Name) and item.text in known:
        return known[item.text]
    written = item.span.text
    if isinstance(item, syntax.Constant) and isinstance(item.value, str):
        message, advice = "found a text, expected a capability", f"its name stands without quotes: `{item.value}`"
    elif isinstance(item, syntax.Name):
        message = f"there is no capability `{written}`"
        advice = findings.report.near(written, known) or f"declare it: `capability {written}(q: str) -> str`"
    else:
        message, advice = f"found `{written}`, expected the name of a capability", TOOL_NAMES
    findings.report.error(CODE, message, item.span, advice)
    return None
