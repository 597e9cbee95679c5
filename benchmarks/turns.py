"""What does a turn of a loop cost, and a `switch`, beyond the operations in it?

    python -m benchmarks.turns [--quick]

Programs whose operations never wait, run on the dataflow state alone: what is left is our own work. From each time that
of the same operations without the construct is subtracted. Beside it LangGraph maps over a list with `Send`, and goes
around a loop by a conditional edge; its node, which does nothing, is not subtracted, as it cannot be told apart.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns
from typing import Annotated, Any, TypedDict

from apxm.compiler.pipeline import compile_source
from apxm.operations.types import Value
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.state import State
from apxm.source import SourceFile
from benchmarks.floors import bare_task_us
from benchmarks.report import Claim, Section, caveats, spread, standalone, tell

MOST = 1.2
"""Bare tasks that a turn or a switch may cost."""
FLAT = "agent A {{ flow main(xs: list[str]) -> json {{ let x = xs[0]  {0}  return y0 }} }}"
TURNS = {
    "a turn of a for": "for x in xs (max: 100000) { merge(x) -> y  return y } -> r",
    "a turn of a for that carries a value": 'for x in xs (max: 100000, n: "") { merge(x, n) -> y  next n: y } -> r',
    "a turn of a loop with until": """
        loop (max: 100000, n: 0, last: "") { until n == len(xs)  merge("x") -> y  next n: n + 1, last: y } -> s
        let r = s.last
    """,
    "a turn of a for with a switch in it": """
        for x in xs (max: 100000) {
            switch x { case "a" => merge(x)  default => merge("b", x) } -> y
            return y
        } -> r
    """,
}


def per_turn(text: str, items: int) -> Callable[[], float]:
    """A function that runs the program over so many items, and gives µs for each."""
    program = compile_source(SourceFile("turns.ais", text), level=1).program
    loaded = LoadedProgram(program)
    arguments: Sequence[Value] = [["a"] * items]

    def run() -> float:
        state = State(program, loaded.plans)
        gc.collect()
        begun = perf_counter_ns()
        state.start(program.flows[0].plan, arguments)
        left = state.take()
        elapsed = perf_counter_ns() - begun
        assert (left, state.open_frames, state.failures) == (None, 0, [])
        return elapsed / items / 1e3

    return run


def langgraph_map(items: int) -> Callable[[], float]:
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    class Found(TypedDict):
        found: Annotated[list[str], operator.add]

    graph: Any = StateGraph(Found)
    graph.add_node("node", lambda item: {"found": [item["x"]]})
    graph.add_conditional_edges(START, lambda _: [Send("node", {"x": "a"}) for _ in range(items)], ["node"])
    graph.add_edge("node", END)
    return _timed(graph.compile(), {"found": []}, items)


def langgraph_loop(turns: int) -> Callable[[], float]:
    from langgraph.graph import END, START, StateGraph

    class Count(TypedDict):
        n: int

    graph: Any = StateGraph(Count)
    graph.add_node("node", lambda state: {"n": state["n"] + 1})
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda state: END if state["n"] >= turns else "node", ["node", END])
    return _timed(graph.compile(), {"n": 0}, turns)


def _timed(graph: Any, state: dict[str, Any], count: int) -> Callable[[], float]:
    def run() -> float:
        gc.collect()
        begun = perf_counter_ns()
        graph.invoke(state, {"recursion_limit": count + 5})
        return (perf_counter_ns() - begun) / count / 1e3

    return run


def turns(quick: bool) -> Section:
    section = Section("Turns", caveats(__doc__))
    items, peers, times = (200, 20, 1) if quick else (4_000, 500, 9)
    flat = " ".join(f"merge(x, {n}) -> y{n}" for n in range(200))
    runs = {
        name: per_turn(f"agent A {{ flow main(xs: list[str]) -> json {{ {body} return r }} }}", items)
        for name, body in TURNS.items()
    }
    runs["an operation without a construct"] = _flat(flat)
    runs["LangGraph: an item of a Send map"] = langgraph_map(peers)
    runs["LangGraph: a turn by a conditional edge"] = langgraph_loop(peers)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for time in range(times + 1):
        tell(f"turns, {time} of {times}")
        for name, run in runs.items():
            measured = run()
            if time:
                found[name].append(measured)
    section.tables.append(
        (
            "µs each, its operation included.",
            ("What", "Median [range]"),
            [(name, spread(all_)) for name, all_ in found.items()],
        )
    )
    section.samples |= {f"us, {name}": all_ for name, all_ in found.items()}
    if not quick:
        middle = {name: median(all_) for name, all_ in found.items()}
        operation = middle["an operation without a construct"]
        turn = middle["a turn of a for"]
        for name in TURNS:
            less = operation if "switch" not in name else turn
            what = name.replace("a turn of a for with a switch in it", "a switch")
            beyond = (middle[name] - less) / bare_task_us()
            section.claims.append(Claim(f"{what}, beyond its operation: × a bare task", beyond, MOST))
        send, edge = middle["LangGraph: an item of a Send map"], middle["LangGraph: a turn by a conditional edge"]
        section.claims.append(Claim("LangGraph's Send map over a for", send / turn, 25, at_least=True))
        loop = middle["a turn of a loop with until"]
        section.claims.append(Claim("LangGraph's conditional edge over a loop", edge / loop, 25, at_least=True))
    return section


def _flat(operations: str) -> Callable[[], float]:
    program = compile_source(SourceFile("flat.ais", FLAT.format(operations)), level=0).program
    loaded = LoadedProgram(program)

    def run() -> float:
        gc.collect()
        begun = perf_counter_ns()
        for _ in range(20):
            state = State(program, loaded.plans)
            state.start(program.flows[0].plan, [["a"]])
            state.take()
        return (perf_counter_ns() - begun) / 20 / 200 / 1e3

    return run


if __name__ == "__main__":
    standalone(turns, __doc__)
