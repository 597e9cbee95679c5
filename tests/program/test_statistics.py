"""The shape of a flow's graph in numbers."""

from __future__ import annotations

import pytest
from msgspec import to_builtins

from apxm.compiler.pipeline import compile_source
from apxm.program.statistics import flow_statistics
from apxm.source import SourceFile


def shape(body: str, more: str = "", level: int = 0) -> tuple[int, int, int, int, int, int]:
    """Nodes, entries, exits, edges, critical path, width of the flow `main` with this body."""
    text = f"agent A {{ @entry flow main(t: str) -> str {{\n{body}\n}}\n{more} }}"
    found = flow_statistics(compile_source(SourceFile("test.ais", text), level=level).program)["A.main"]
    assert list(to_builtins(found)) == [
        "total_nodes",
        "entry_nodes",
        "exit_nodes",
        "total_edges",
        "critical_path_length",
        "max_width",
    ]
    return (
        found.total_nodes,
        found.entry_nodes,
        found.exit_nodes,
        found.total_edges,
        found.critical_path_length,
        found.max_width,
    )


def test_nothing() -> None:
    assert shape("return t") == (0, 0, 0, 0, 0, 0)


def test_a_chain() -> None:
    assert shape("ask(t) -> a  ask(a) -> b  return ask(b)") == (3, 1, 1, 2, 3, 1)


def test_an_edge_goes_through_values_and_counts_once() -> None:
    many = " + ".join(['x + "y"'] * 70)
    assert shape(f"ask(t) -> a  let x = f'{{a}}{{a}}'  let l = {many}  return ask(l, l, a)".replace("'", '"')) == (
        (2, 1, 1, 1, 2, 1)
    )


def test_order_is_an_edge() -> None:
    assert shape('print("a")  print("b")  return t') == (2, 1, 1, 1, 2, 1)


def test_a_value_between_many_and_many_joins_each_with_each() -> None:
    asks = "\n".join(f"ask(t) -> a{i}" for i in range(100))
    joined = " + ".join(f"a{i}" for i in range(100))
    users = "\n".join(f"ask(l, t) -> b{i}" for i in range(50))
    merged = ", ".join(f"b{i}" for i in range(50))
    body = f"{asks}\nlet l = {joined}\n{users}\nreturn merge({merged})"
    assert shape(body) == (151, 100, 1, 100 * 50 + 50, 3, 100)


HELPER = 'flow twice(x: str) -> str { ask(x) -> a  print("asked")  return ask(a) }'


@pytest.mark.parametrize("level", [0, 1])
def test_a_call_is_unfolded_in_place(level: int) -> None:
    body = "twice(t) -> x  twice(t) -> y  return merge(x, y)"
    assert shape(body, HELPER, level) == (7, 3, 2, 2 + 2 + 1, 3, 3)


def test_all_arms_are_counted_and_start_behind_the_selector() -> None:
    body = """
        ask(t) -> kind
        ask(t) -> late
        switch kind {
            case "a" => { ask("one") -> x  return ask(x, late) }
            default  => ask("other")
        } -> r
        return ask(r)
    """
    # kind -> one, kind -> other, one -> two, kind and late -> two, and both results -> the last.
    assert shape(body) == (6, 2, 1, 2 + 1 + 2 + 2, 4, 2)
