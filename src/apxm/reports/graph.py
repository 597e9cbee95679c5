"""The graph of a program as people and other tools see it: rows for a terminal, DOT, Mermaid (``apxm graph``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from apxm.program.frames import in_order
from apxm.program.nodes import Operate
from apxm.program.openers import Opener
from apxm.program.program import Flow, Program
from apxm.program.unfolding import Unfolding, path_of, unfold
from apxm.reports.summary import count
from apxm.reports.tables import aligned
from apxm.source import printable, shortened

MOST_IN_TERMINAL = 40
"""Operations: of more, rows and what each needs are no picture."""
_LONGEST = 60
"""Characters of a label."""
_Open = Callable[[int, str], list[str]]
_Written = Callable[[int], str]


class GraphGroup(Struct, frozen=True):
    """Operations that belong together: an arm, the turns of a loop, a flow that is called, a function."""

    label: str
    parent: int | None
    """The index of the group around it."""


class GraphNode(Struct, frozen=True):
    """An operation."""

    name: str
    """Its path, without the numbers of turns."""
    operation: str
    where: str
    group: int | None = None


class GraphEdge(Struct, frozen=True):
    """The target waits for the source, perhaps through what is no operation itself."""

    source: int
    target: int
    kind: str
    """``data``, or ``order`` where only an effect is waited for."""


class ProgramGraph(Struct, frozen=True):
    """What ``--json`` prints."""

    file: str
    name: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    groups: tuple[GraphGroup, ...]


def program_graph(program: Program, flow: Flow) -> ProgramGraph:
    """The operations of a flow and of all that it opens: each arm, and one turn of each loop. Raises `UsageError` for
    too many."""
    frames = unfold(program, flow)
    graph = Unfolding(program, frames)
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    own: dict[int, int] = {}
    """The operation of a node, by the node's number."""
    behind: list[frozenset[int]] = [frozenset()] * graph.size
    """The operations that a node brings to whoever waits for it."""
    for number in in_order(graph.before):
        frame, index = graph.place(number)
        node = graph.node(frame, index)
        needs = frozenset[int]().union(*(behind[before] for before in graph.before[number]))
        if not isinstance(node, Operate):
            behind[number] = needs
            continue
        ordered = {own.get(graph.number(frame, k)) for k in (*node.after, *node.requires)}
        ordered -= {each for k in node.operands for each in behind[graph.number(frame, k)]}
        own[number] = len(nodes)
        behind[number] = frozenset((len(nodes),))
        edges += (GraphEdge(k, len(nodes), "order" if k in ordered else "data") for k in sorted(needs))
        name = program.names.plans[frames[frame].plan].nodes[index]
        where = f"{program.names.file_of(frames[frame].plan)}:{name.line}:{name.column}"
        path = path_of(program, frames, frame, index).replace("[1]", "")
        nodes.append(GraphNode(path, node.operation, where, frame - 1 if frame else None))
    groups = [
        GraphGroup(_opened(graph, k), frame.parent - 1 if frame.parent else None) for k, frame in enumerate(frames) if k
    ]
    return ProgramGraph(program.names.file, flow.qualified_name, tuple(nodes), tuple(edges), tuple(groups))


def _opened(graph: Unfolding, index: int) -> str:
    """What a frame is of its opener."""
    frame = graph.frames[index]
    opener = graph.node(frame.parent, frame.opener)
    assert isinstance(opener, Opener)
    path = path_of(graph.program, graph.frames, frame.parent, frame.opener).replace("[1]", "")
    if opener.repeats:
        return f"{path}: turns{', each from the one before' if any(opener.carried.values()) else ''}"
    siblings = graph.children[frame.parent, frame.opener]
    cases = opener.cases
    if len(cases) == len(siblings) > 0:
        case = cases[siblings.index(index)]
        return f"{path}: {'default' if case is None else case}"
    return f"{opener.kind} {path}"


# --- drawn -----------------------------------------------------------------------------------------------------------


def graph_text(graph: ProgramGraph) -> list[str]:
    """A row for each operation, by level: what stands in one level may all happen at once."""
    levels = _levels(graph)
    needs: list[list[str]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        name = graph.nodes[edge.source].name
        needs[edge.target].append(f"({name})" if edge.kind == "order" else name)
    rows: list[list[str]] = []
    shown = 0
    for k in sorted(range(len(graph.nodes)), key=lambda k: (levels[k], k)):
        node = graph.nodes[k]
        arrow = f"← {', '.join(needs[k])}" if needs[k] else ""
        around = "" if node.group is None else f"({graph.groups[node.group].label})"
        rows.append([f"{levels[k]}" if levels[k] > shown else "", node.name, node.operation, node.where, around, arrow])
        shown = levels[k]
    deep = max(levels, default=0)
    head = f"{graph.name.lstrip('.')}: {count(len(graph.nodes), 'operation')} in {count(deep, 'level')}"
    return [printable(head), *(aligned(rows) if rows else [])]


def _levels(graph: ProgramGraph) -> list[int]:
    """How many operations the longest path to each has, itself included. Sources stand before their targets."""
    levels = [1] * len(graph.nodes)
    for edge in graph.edges:
        levels[edge.target] = max(levels[edge.target], levels[edge.source] + 1)
    return levels


def graph_dot(graph: ProgramGraph) -> str:
    """For Graphviz."""
    lines = [
        f"digraph {_quoted(graph.name.lstrip('.'))} {{",
        '  node [shape=box, style="rounded,filled", fillcolor="#eef3fa", color="#4c78a8", fontname="sans-serif"];',
        '  edge [color="#666666"]; graph [fontname="sans-serif", color="#999999", style="rounded"];',
        *_nested(graph, None, 1, _dot_group, lambda k: f"n{k} [label={_quoted(_label(graph.nodes[k]))}];", "}"),
    ]
    for edge in graph.edges:
        lines.append(f"  n{edge.source} -> n{edge.target}{' [style=dashed]' if edge.kind == 'order' else ''};")
    return "\n".join([*lines, "}", ""])


def _dot_group(number: int, label: str) -> list[str]:
    return [f"subgraph cluster_{number} {{", f"  label={_quoted(label)};"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def graph_mermaid(graph: ProgramGraph) -> str:
    """For Markdown, where Mermaid is drawn."""
    lines = [
        "flowchart TD",
        *_nested(graph, None, 1, _mermaid_group, lambda k: f'n{k}["{_entities(_label(graph.nodes[k]))}"]', "end"),
    ]
    for edge in graph.edges:
        lines.append(f"  n{edge.source} {'-.->' if edge.kind == 'order' else '-->'} n{edge.target}")
    return "\n".join([*lines, ""])


def _mermaid_group(number: int, label: str) -> list[str]:
    return [f'subgraph g{number}["{_entities(label)}"]']


def _entities(text: str) -> str:
    """A text as Mermaid takes it between quotes: whatever could mean something there is written by its number."""
    lines = ("".join(c if c.isalnum() or c in " _-/.,:" else f"#{ord(c)};" for c in line) for line in text.split("\n"))
    return "<br/>".join(lines)


def _nested(
    graph: ProgramGraph, group: int | None, depth: int, open_group: _Open, node: _Written, close: str
) -> Iterator[str]:
    """The operations of a group, and the groups in it that have any."""
    pad = "  " * depth
    for k, each in enumerate(graph.nodes):
        if each.group == group:
            yield pad + node(k)
    for number, inner in enumerate(graph.groups):
        if inner.parent != group:
            continue
        lines = list(_nested(graph, number, depth + 1, open_group, node, close))
        if lines:
            label = printable(shortened(inner.label, _LONGEST))
            yield from (pad + line for line in open_group(number, label))
            yield from lines
            yield pad + close


def _label(node: GraphNode) -> str:
    return f"{printable(shortened(node.name, _LONGEST))}\n{node.operation}"
