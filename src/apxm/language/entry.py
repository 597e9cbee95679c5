"""Which flow runs when none is named."""

from __future__ import annotations

from apxm.language.declarations import DeclaredAgent, DeclaredFlow
from apxm.language.report import Report
from apxm.language.syntax import Flow, SyntaxTree
from apxm.source import Span

_MOST_NAMED = 8


def find_entry(tree: SyntaxTree, agents: list[DeclaredAgent], report: Report, *, needed: bool) -> Flow | None:
    """The only `@entry` flow, of several the one named `main`; without any, the only flow or the one named `main`."""
    if not agents:
        report.error("no-agent", "there is no agent here, expected `agent Name { … }`", Span(tree.source, 0, 0))
        return None
    flows = [flow for agent in agents for flow in agent.flows]
    if not flows:
        report.error("no-entry", "this program has no flow", agents[0].agent.name.span)
        return None
    marked = [flow for flow in flows if _is_marked(flow)]
    ambiguous = _reject_second_marks(agents, report)
    candidates = _first_of_each_name(marked or flows)
    if len(candidates) > 1:
        candidates = [flow for flow in candidates if flow.flow.name.text == "main"] or candidates
    if len(candidates) == 1:
        return candidates[0].flow
    if needed and not ambiguous:
        name = candidates[0].flow.name
        names = _names(candidates)
        mark = "leave one of them marked" if marked else "mark one of them `@entry`"
        advice = f"{mark}, name one `main`, or choose one with `--flow`"
        if marked or name.text == "main":
            report.error("ambiguous-entry", f"several flows could be the entry: {names}", name.span, advice)
        else:
            report.error("no-entry", f"no flow is marked `@entry`; there are {names}", name.span, advice)
    return None


def _reject_second_marks(agents: list[DeclaredAgent], report: Report) -> bool:
    found = False
    for agent in agents:
        marked = _first_of_each_name([flow for flow in agent.flows if _is_marked(flow)])
        for other in marked[1:]:
            message = f"agent `{agent.agent.name.text}` has its entry already: `{marked[0].flow.name.text}`"
            mark = next(a for a in other.flow.annotations if a.text == "entry")
            report.error("ambiguous-entry", message, mark.span, "an agent marks one flow")
            found = True
    return found


def _first_of_each_name(flows: list[DeclaredFlow]) -> list[DeclaredFlow]:
    """Two of one name are reported where they are declared; they are no choice that anyone could make."""
    named: dict[tuple[str, str], DeclaredFlow] = {}
    for flow in flows:
        named.setdefault((flow.agent.name.text, flow.flow.name.text), flow)
    return list(named.values())


def _is_marked(flow: DeclaredFlow) -> bool:
    return any(annotation.text == "entry" for annotation in flow.flow.annotations)


def _names(flows: list[DeclaredFlow]) -> str:
    names = [f"`{flow.agent.name.text}.{flow.flow.name.text}`" for flow in flows[:_MOST_NAMED]]
    if len(flows) > _MOST_NAMED:
        names.append(f"{len(flows) - _MOST_NAMED} more")
    return ", ".join(names)
