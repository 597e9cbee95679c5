"""Workload 4 in LangGraph: N independent questions, asked at the same time, and their answers joined.

    python workflow.py [--n 8]

It calls OpenAI if OPENAI_API_KEY is set, or the endpoint that OPENAI_BASE_URL names, which may need no key;
OPENAI_MODEL chooses the model. With neither it starts the simulator that comes with apxm, for as long as it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import operator
import os
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph


class State(TypedDict):
    # Updates of parallel nodes come in no stated order, so each answer carries its place.
    answers: Annotated[list[tuple[int, str]], operator.add]
    result: str


def build_graph(model: ChatOpenAI, prompts: Sequence[str]) -> CompiledStateGraph:
    """The compiled graph: one node per prompt, all of them after START, and then one that joins their answers."""
    builder = StateGraph(State)
    builder.add_node("join", join)
    builder.add_edge("join", END)
    for place, prompt in enumerate(prompts):
        builder.add_node(prompt, ask(model, place, prompt))
        builder.add_edge(START, prompt)
        builder.add_edge(prompt, "join")
    return builder.compile()


def ask(model: ChatOpenAI, place: int, prompt: str) -> Callable[[State], Awaitable[dict[str, Any]]]:
    async def node(_: State) -> dict[str, Any]:
        message = await model.ainvoke(prompt)
        return {"answers": [(place, message.content)]}

    return node


def join(state: State) -> dict[str, Any]:
    return {"result": "\n".join(answer for _, answer in sorted(state["answers"]))}


def main() -> None:
    from apxm.workloads.endpoints import simulated
    from apxm.workloads.scalability import prompts

    parser = argparse.ArgumentParser(description="Ask N independent questions at the same time.")
    parser.add_argument("--n", type=_count, default=8, help="how many questions, at least 1 (default: 8)")
    n = parser.parse_args().n
    # Each call is made once, as the program in AIS makes it: a retry would be work that only one of the two does.
    key = os.environ.get("OPENAI_API_KEY")
    if key or os.environ.get("OPENAI_BASE_URL"):
        model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), api_key=key or "none", max_retries=0)
        measure(build_graph(model, prompts(n)), n)
    else:
        with simulated() as simulator:
            model = ChatOpenAI(model="simulated", base_url=simulator.settings.endpoint, api_key="none", max_retries=0)
            measure(build_graph(model, prompts(n)), n)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text!r}")
    return int(text)


def measure(graph: CompiledStateGraph, n: int) -> None:
    begun = perf_counter()
    asyncio.run(graph.ainvoke({"answers": []}))
    print(f"N = {n}: {(perf_counter() - begun) * 1000:,.0f} ms")


if __name__ == "__main__":
    main()
