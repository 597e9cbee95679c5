"""Runs that are killed at any moment, and go on: nothing that is finished is paid for again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from apxm.journal.catalog import read
from apxm.journal.rows import Answered
from apxm.journal.runs import list_runs
from tests.servers import HANG, Received, Reply, Server, completion

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

SLOTS = 8
PATIENCE_S = 60
SEEDS = [pytest.param(seed, marks=[pytest.mark.soak] if seed >= 2 else []) for seed in range(50)]


def source(random: Random) -> str:
    """Two hundred calls: each after up to two others, some printed."""
    lines = ["agent Work {", "    @entry flow main() -> str {"]
    for i in range(200):
        before = random.sample(range(i), min(i, random.choice([0, 1, 1, 2])))
        prompt = f"Task {i}." + "".join(f" {{t{j}}}" for j in before if j >= i - 20)
        lines.append(f'        ask(f"{prompt}", max_tokens: 50) -> t{i}')
        if random.random() < 0.1:
            lines.append(f"        print(t{i})")
    lines.append(f"        return merge({', '.join(f't{i}' for i in range(200))})")
    return "\n".join([*lines, "    }", "}"])


def number_of(request: Received) -> str:
    """Which call it is: the first two words of its prompt; the answer names it, and no other."""
    return " ".join(request.json["messages"][-1]["content"].split()[:2])


class Process:
    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        (folder / "config.toml").write_text(
            f'[backends.local]\nkind = "openai"\nmodel = "tiny"\nendpoint = "{endpoint}"\nmax_concurrency = {SLOTS}\n'
        )

    async def run(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "apxm", *arguments, "--journal-dir", "journals"),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ended(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.run(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return process.returncode, out.decode(), err.decode()

    @property
    def journals(self) -> Path:
        return self.folder / "journals"

    @property
    def run_id(self) -> str:
        [run] = list_runs(self.journals)
        return run.id

    @property
    def content(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.journals.iterdir()))


def answer(request: Received) -> Reply:
    return completion(number_of(request) + " is done.")


async def interrupted_and_resumed(folder: Path, seed: int, number: signal.Signals) -> None:
    random = Random(seed)
    (folder / "work.ais").write_text(source(random))
    moment = random.randrange(1, 201)
    running: list[asyncio.subprocess.Process] = []

    def script(request: Received) -> Reply:
        if len(server.received) == moment and running:
            running[0].send_signal(number)
        return answer(request)

    async with Server(answer) as server:
        whole = await Process(folder, server.endpoint).ended(
            "execute", "work.ais", "--config", "config.toml", "--quiet"
        )
        assert whole[0] == 0, whole[2]
        for file in (folder / "journals").iterdir():
            file.unlink()
    async with Server(script) as server:
        process = Process(folder, server.endpoint)
        running.append(await process.run("execute", "work.ais", "--config", "config.toml", "--quiet"))
        _, err = await asyncio.wait_for(running[0].communicate(), PATIENCE_S)
        assert running[0].returncode == (-number if number == signal.SIGKILL else 128 + number), err.decode()
        first = [number_of(request) for request in server.received]
        committed = [
            record.row.value.removesuffix(" is done.")
            for record in read(process.journals, process.run_id).records
            if isinstance(record.row, Answered) and isinstance(record.row.value, str)
        ]
        status, out, err = await process.ended("resume", process.run_id, "--config", "config.toml", "--quiet")
        assert (status, out) == (0, whole[1]), err
        second = [number_of(request) for request in server.received[len(first) :]]
    assert not set(committed) & set(second), "what is committed is never asked for again"
    asked = Counter(first + second)
    assert len(asked) == 200
    assert max(asked.values()) <= 2
    assert sum(count == 2 for count in asked.values()) <= SLOTS, "only what was in flight is asked for again"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_is_killed_goes_on_without_paying_twice(tmp_path: Path, seed: int) -> None:
    asyncio.run(interrupted_and_resumed(tmp_path, seed, signal.SIGKILL))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_so_does_one_that_a_signal_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    asyncio.run(interrupted_and_resumed(tmp_path, 1000 + number, number))


def test_a_second_resume_at_the_same_time_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(HANG) as server:
            process = Process(tmp_path, server.endpoint)
            (tmp_path / "work.ais").write_text('agent A { @entry flow f() -> str { return ask("x") } }')
            first = await process.run("execute", "work.ais", "--config", "config.toml")
            await asyncio.wait_for(server.unanswered.wait(), PATIENCE_S)
            async with asyncio.timeout(PATIENCE_S):
                while not list_runs(process.journals):  # noqa: ASYNC110 — another process writes it
                    await asyncio.sleep(0.01)
            before = process.content
            status, _, err = await process.ended("resume", process.run_id)
            assert status == 1
            assert f"run {process.run_id} is going on in another process" in err
            assert process.content == before
            first.terminate()
            await asyncio.wait_for(first.communicate(), PATIENCE_S)

    asyncio.run(main())


def test_a_folder_that_cannot_be_made_stops_a_run_only_where_its_journal_is_required(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(completion("Fine.")) as server:
            process = Process(tmp_path, server.endpoint)
            (tmp_path / "work.ais").write_text('agent A { @entry flow f() -> str { return ask("x") } }')
            (tmp_path / "journals").write_text("a file is in the way")
            status, out, err = await process.ended("execute", "work.ais", "--config", "config.toml")
            assert (status, out) == (0, "Fine.\n")
            assert "has no journal" in err
            status, out, err = await process.ended(
                "execute", "work.ais", "--config", "config.toml", "--require-journal"
            )
            assert (status, out) == (2, "")
            assert len(server.received) == 1

    asyncio.run(main())
