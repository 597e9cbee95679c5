"""The systems that `benchmarks.lanes` compares over HTTP, each the main program of a process, as in
`benchmarks.fan_out_systems`.

Two rows of two calls for each call that may be in flight, by hand and as a flow; and rows of three calls that are in
flight all at once, as a flow and as a program in AIS.
"""

from __future__ import annotations

import asyncio
import os
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from apxm import ask, compile_text, each, flow, run_async
from benchmarks.fan_out_systems import Where, main

if TYPE_CHECKING:
    from openai import AsyncOpenAI

THREE = """
agent Three {
    @entry flow main(rows: list[str]) -> list[str] {
        for row in rows {
            ask(f"Outline {row}.") -> outline
            ask(f"Write this: {outline}") -> draft
            return ask(f"Make it shorter: {draft}")
        } -> texts
        return texts
    }
}
"""


@flow
def labelled(rows: list[str]) -> list[str]:
    answers: list[str] = []
    for row in each(rows):
        first = ask(f"Label this: {row}")
        answers.append(ask(f"Check this label: {first}"))
    return answers


@flow
def three(rows: list[str]) -> list[str]:
    texts: list[str] = []
    for row in each(rows):
        outline = ask(f"Outline {row}.")
        draft = ask(f"Write this: {outline}")
        texts.append(ask(f"Make it shorter: {draft}"))
    return texts


def rows(count: int) -> list[str]:
    return [f"row {number}" for number in range(count)]


class _Ours:
    """With a journal, as every run has one whose backend is real."""

    def __init__(self, where: Where) -> None:
        os.environ |= {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": where.base, "OPENAI_MODEL": "simulated"}
        self._folder = TemporaryDirectory(prefix="apxm-journals-")

    def prepare(self, width: int) -> None: ...

    async def close(self) -> None:
        self._folder.cleanup()


class Lanes(_Ours):
    async def run(self, width: int) -> None:
        limited = labelled.using(max_concurrency=width, journal_dir=self._folder.name)
        await limited.run_async(rows(2 * width))


class ThreeInLanes(_Ours):
    async def run(self, width: int) -> None:
        await three.using(journal_dir=self._folder.name).run_async(rows(width))


class ThreeInAIS(_Ours):
    def prepare(self, width: int) -> None:  # noqa: ARG002
        self._program = compile_text(THREE)

    async def run(self, width: int) -> None:
        await run_async(self._program, rows=rows(width), journal_dir=self._folder.name)


class Gathered:
    """As an expert writes it: one client, a semaphore, `gather`."""

    def __init__(self, where: Where) -> None:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(base_url=where.base, api_key="none")

    def prepare(self, width: int) -> None: ...

    async def run(self, width: int) -> None:
        slots = asyncio.Semaphore(width)
        await asyncio.gather(*(_label(self._client, slots, row) for row in rows(2 * width)))

    async def close(self) -> None:
        await self._client.close()


async def _label(client: AsyncOpenAI, slots: asyncio.Semaphore, row: str) -> str:
    first = await _asked(client, slots, f"Label this: {row}")
    return await _asked(client, slots, f"Check this label: {first}")


async def _asked(client: AsyncOpenAI, slots: asyncio.Semaphore, prompt: str) -> str:
    async with slots:
        answer = await client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": prompt}])
    return answer.choices[0].message.content or ""


if __name__ == "__main__":
    main({"lanes": Lanes, "gathered": Gathered, "three-lanes": ThreeInLanes, "three-ais": ThreeInAIS})
