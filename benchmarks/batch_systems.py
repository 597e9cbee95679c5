"""The systems that `benchmarks.batches` compares. Each is the main program of a process:

    python -m benchmarks.batch_systems NAME ENDPOINT INPUTS.jsonl OUTPUT.jsonl AT_ONCE

It asks two things of each input, the second with the answer to the first, writes a line of JSON for each, and prints
one `Measured`. What comes before the first call (imports, clients) does not count.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import IO, Any, TypedDict

import msgspec
from msgspec import Struct

PROGRAM = """agent Label { @entry flow main(text: str) -> str {
    ask("Label it.", text) -> label
    ask("Are you sure?", label, text) -> sure
    return sure
} }"""


class Measured(Struct, frozen=True):
    wall_s: float
    peak_mb: float
    """Of the process that does it, the most memory at one moment."""


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def first(text: str) -> str:
    return f"Label it.\n\n{text}"


def second(text: str, label: str) -> str:
    return f"Are you sure?\n\n{label}\n\n{text}"


# --- ours: the command as it is ---------------------------------------------------------------------------------------


def apxm_batch(*options: str) -> Callable[[str, Path, Path, int], Measured]:
    def run(endpoint: str, inputs: Path, output: Path, at_once: int) -> Measured:
        with TemporaryDirectory(dir=output.parent) as folder:
            program, config = Path(folder, "label.ais"), Path(folder, "config.toml")
            program.write_text(PROGRAM)
            config.write_text(
                f'[backends.b]\nkind = "openai"\nmodel = "simulated"\nendpoint = "{endpoint}"\n'
                f"max_concurrency = {at_once}\n"
            )
            command = [
                sys.executable, "-m", "apxm", "batch", str(program), "--input", str(inputs), "--output", str(output),
                "--config", str(config), "--json", "--quiet", *options,
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return Measured(json.loads(done.stdout)["seconds"], peak)

    return run


# --- peers, each as its documentation would have it -------------------------------------------------------------------


def gather(endpoint: str, inputs: Path, output: Path, at_once: int) -> Measured:
    """`asyncio.gather` over the openai SDK, with a semaphore. A line is written when its input is done."""
    from openai import AsyncOpenAI

    async def main(file: IO[str]) -> float:
        slots = asyncio.Semaphore(at_once)
        async with AsyncOpenAI(base_url=endpoint, api_key="none", max_retries=0) as client:

            async def ask(prompt: str) -> str:
                messages: Any = [{"role": "user", "content": prompt}]
                answer = await client.chat.completions.create(model="simulated", messages=messages)
                return answer.choices[0].message.content or ""

            async def one(text: str) -> None:
                async with slots:
                    label = await ask(first(text))
                    sure = await ask(second(text, label))
                file.write(json.dumps({"text": text, "sure": sure}) + "\n")

            begun = perf_counter()
            await asyncio.gather(*map(one, texts(inputs)))
            file.flush()
            os.fsync(file.fileno())
            return perf_counter() - begun

    with open(output, "w") as file:
        return measured(asyncio.run(main(file)))


class State(TypedDict):
    text: str
    label: str
    sure: str


def abatch(endpoint: str, inputs: Path, output: Path, at_once: int) -> Measured:
    """`abatch` of a graph of LangGraph with `ChatOpenAI`, which gives all results at the end."""
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]

    model: Any = ChatOpenAI(model="simulated", base_url=endpoint, api_key="none", max_retries=0)  # pyright: ignore

    async def label(state: State) -> dict[str, str]:
        return {"label": (await model.ainvoke(first(state["text"]))).content}

    async def sure(state: State) -> dict[str, str]:
        return {"sure": (await model.ainvoke(second(state["text"], state["label"]))).content}

    builder = StateGraph(State)
    builder.add_node("first", label)  # pyright: ignore[reportUnknownMemberType]
    builder.add_node("second", sure)  # pyright: ignore[reportUnknownMemberType]
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", END)
    graph: Any = builder.compile()  # pyright: ignore[reportUnknownMemberType]

    async def main() -> float:
        begun = perf_counter()
        given = [{"text": text, "label": "", "sure": ""} for text in texts(inputs)]
        found = await graph.abatch(given, config={"max_concurrency": at_once})
        write(output, found)
        return perf_counter() - begun

    return measured(asyncio.run(main()))


def bare(endpoint: str, inputs: Path, output: Path, at_once: int) -> Measured:
    """The floor: `AT_ONCE` connections of `asyncio.Protocol`, which know nothing but where an answer ends."""
    from apxm.runtime.loops import real_loop
    from benchmarks.fan_out_systems import Answer

    port = int(endpoint.partition("127.0.0.1:")[2].partition("/")[0])

    async def main() -> float:
        loop, left, found = asyncio.get_running_loop(), iter(texts(inputs)), list[dict[str, str]]()

        async def ask(connection: Answer, prompt: str) -> str:
            body = {"model": "simulated", "messages": [{"role": "user", "content": prompt}]}
            await connection.ask(json.dumps(body).encode())
            return "an answer"

        async def worker() -> None:
            _, connection = await loop.create_connection(Answer, "127.0.0.1", port)
            for text in left:
                label = await ask(connection, first(text))
                found.append({"text": text, "sure": await ask(connection, second(text, label))})
            connection.transport.close()

        begun = perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        write(output, found)
        return perf_counter() - begun

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return measured(runner.run(main()))


def curator(endpoint: str, inputs: Path, output: Path, at_once: int) -> Measured:
    """bespokelabs-curator: two stages, each over all inputs. It has packages of its own."""
    from bespokelabs import curator as library  # type: ignore[import-not-found]

    told = {
        "base_url": endpoint, "max_concurrent_requests": at_once, "max_requests_per_minute": 10**7,
        "max_tokens_per_minute": 10**10, "max_retries": 0,
    }  # fmt: skip

    class Label(library.LLM):  # type: ignore[misc]
        def prompt(self, input: dict[str, str]) -> str:
            return first(input["text"])

        def parse(self, input: dict[str, str], response: str) -> dict[str, str]:
            return {"text": input["text"], "label": response}

    class Sure(library.LLM):  # type: ignore[misc]
        def prompt(self, input: dict[str, str]) -> str:
            return second(input["text"], input["label"])

        def parse(self, input: dict[str, str], response: str) -> dict[str, str]:
            return {"text": input["text"], "sure": response}

    def stage(kind: Any, given: Any) -> Any:
        done = kind(model_name="openai/simulated", backend="litellm", backend_params=told)(given)
        return getattr(done, "dataset", done)

    begun = perf_counter()
    found = stage(Sure, stage(Label, [{"text": text} for text in texts(inputs)]))
    write(output, [dict(each) for each in found])
    return measured(perf_counter() - begun)


def write(output: Path, found: list[Any]) -> None:
    with open(output, "w") as file:
        file.writelines(json.dumps(each) + "\n" for each in found)
        file.flush()
        os.fsync(file.fileno())


def output_lines(output: Path) -> int:
    return output.read_bytes().count(b"\n")


def measured(wall_s: float) -> Measured:
    return Measured(wall_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


SYSTEMS: dict[str, Callable[[str, Path, Path, int], Measured]] = {
    "bare": bare,
    "apxm": apxm_batch(),
    "apxm-no-journal": apxm_batch("--no-journal"),
    "gather": gather,
    "abatch": abatch,
    "curator": curator,
}


def main() -> None:
    name, endpoint, inputs, output, at_once = sys.argv[1:]
    found = SYSTEMS[name](endpoint, Path(inputs), Path(output), int(at_once))
    written = output_lines(Path(output))
    wanted = len(texts(Path(inputs)))
    if written != wanted:
        raise SystemExit(f"{name} wrote {written} lines of {wanted}")
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main()
