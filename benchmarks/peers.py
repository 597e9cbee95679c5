"""The same graphs in LangGraph and in Hamilton, each as its documentation would have it: nodes are async functions."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from hamilton import ad_hoc_utils, async_driver
from langgraph.graph import END, START, StateGraph

Once = Callable[[], Awaitable[object]]


class State(TypedDict):
    answers: Annotated[list[str], operator.add]


async def node(_: State) -> dict[str, Any]:
    return {"answers": ["answer"]}


async def last(_: State) -> dict[str, Any]:
    return {}


def langgraph_builder(shape: str, count: int) -> StateGraph[State]:
    builder = StateGraph(State)
    names = [f"n{i}" for i in range(count)]
    for i, name in enumerate(names):
        builder.add_node(name, node)
        builder.add_edge(names[i - 1] if shape == "chain" and i else START, name)
    builder.add_node("last", last)
    if shape == "chain":
        builder.add_edge(names[-1], "last")
    else:
        builder.add_edge(names, "last")
    builder.add_edge("last", END)
    return builder


def langgraph_graph(shape: str, count: int) -> Once:
    graph = langgraph_builder(shape, count).compile()
    config = {"recursion_limit": count + 10}
    return lambda: graph.ainvoke({"answers": []}, config)


def hamilton_graph(shape: str, count: int) -> Once:
    lines: list[str] = []
    for i in range(count):
        argument = f"n{i - 1}: str" if shape == "chain" and i else ""
        lines.append(f"async def n{i}({argument}) -> str:\n    return 'answer'\n")
    waited = [f"n{count - 1}"] if shape == "chain" else [f"n{i}" for i in range(count)]
    lines.append(f"async def last({', '.join(f'{name}: str' for name in waited)}) -> str:\n    return 'end'\n")
    module = ad_hoc_utils.create_module("\n".join(lines), f"{shape.replace('-', '_')}_{count}")
    driver: list[async_driver.AsyncDriver] = []

    async def once() -> object:
        if not driver:  # building it needs the running loop; the first round is not counted
            driver.append(await async_driver.Builder().with_modules(module).build())
        return await driver[0].execute(["last"])

    return once


def skewed_langgraph(scale: float) -> Once:
    """Two branches of two sleeps each, in s times `scale`."""

    def sleeper(seconds: float) -> Callable[[State], Awaitable[dict[str, Any]]]:
        async def sleep(_: State) -> dict[str, Any]:
            await asyncio.sleep(seconds * scale)
            return {"answers": ["answer"]}

        return sleep

    builder = StateGraph(State)
    for name, seconds in (("a", 0.2), ("b", 1.0), ("c", 1.0), ("d", 0.2)):
        builder.add_node(name, sleeper(seconds))
    builder.add_node("last", last)
    for first, second in ((START, "a"), ("a", "b"), (START, "c"), ("c", "d")):
        builder.add_edge(first, second)
    builder.add_edge(["b", "d"], "last")
    builder.add_edge("last", END)
    graph = builder.compile()
    return lambda: graph.ainvoke({"answers": []})
