"""`--stream`: what goes to standard output, and when."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apxm.simulator.options import SimulatorOptions
from apxm.simulator.server import simulator
from tests.backends.test_chat_stream import DONE, chunk, streamed
from tests.cli.conftest import Apxm
from tests.servers import Received, Reply, Server

PATIENCE_S = 60
SOURCE = """\
agent A {
    @entry flow main() -> str {
        ask("A title") -> title
        print("title:", title)
        return text(title)
    }
    flow text(title: str) -> str { return ask("A text", title) }
    flow both() -> str { return merge(ask("One"), ask("Two")) }
    flow data() -> json { return {"a": ask("One")} }
    flow silent() { print("only this") }
}
"""


@pytest.fixture(autouse=True)
def source(tmp_path: Path) -> None:
    (tmp_path / "a.ais").write_text(SOURCE)


@pytest.mark.parametrize("flow", ["main", "text", "both", "data", "silent"])
@pytest.mark.parametrize("level", ["-O0", "-O1"])
def test_what_is_printed_is_the_same_in_the_end(apxm: Apxm, flow: str, level: str) -> None:
    arguments = (
        "execute",
        "a.ais",
        "--flow",
        flow,
        level,
        "--latency",
        "constant:1",
        "-q",
        *["bees"] * (flow == "text"),
    )
    assert apxm(*arguments, "--stream") == apxm(*arguments)


def test_a_result_that_is_no_answer_is_told_of_once(apxm: Apxm) -> None:
    line = "the result is not the answer of one call, so --stream shows it whole at the end"
    for flow in ("both", "data", "silent"):
        assert apxm("execute", "a.ais", "--flow", flow, "--latency", "constant:1", "--stream").err.count(line) == 1
    assert line not in apxm("execute", "a.ais", "--latency", "constant:1", "--stream").err


def test_one_json_object_and_a_text_as_it_comes_exclude_each_other(apxm: Apxm) -> None:
    ended = apxm("execute", "a.ais", "--stream", "--json")
    assert (ended.status, ended.out) == (2, "")
    assert "--stream" in ended.err


Script = Callable[[Received], Reply]


async def served(folder: Path, script: Script | Reply, *arguments: str) -> tuple[int | None, str, str]:
    async with Server(script) as server:
        return await ended(folder, server.endpoint, *arguments)


async def ended(folder: Path, endpoint: str, *arguments: str) -> tuple[int | None, str, str]:
    (folder / "config.toml").write_text(
        f'[backends.local]\nkind = "openai"\nmodel = "tiny"\nendpoint = "{endpoint}"\nretries = 1\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "apxm", *arguments, "--config", "config.toml", "--journal-dir", "journals"),
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "APXM_TRUST": "1"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, out.decode(), err.decode()


def test_an_attempt_that_breaks_off_and_says_the_same_again_leaves_no_trace(tmp_path: Path) -> None:
    replies = iter([streamed(chunk("Once up")), streamed(chunk("Once "), chunk("upon.", reason="stop"), DONE)])
    status, out, err = asyncio.run(
        served(tmp_path, lambda _: next(replies), "execute", "a.ais", "--flow", "text", "x", "--stream")
    )
    assert (status, out) == (0, "Once upon.\n"), err
    assert "broke off" not in err


def test_an_attempt_that_says_something_else_begins_a_line(tmp_path: Path) -> None:
    replies = iter([streamed(chunk("Once up")), streamed(chunk("Never."), chunk(reason="stop"), DONE)])
    status, out, err = asyncio.run(
        served(tmp_path, lambda _: next(replies), "execute", "a.ais", "--flow", "text", "x", "--stream")
    )
    assert (status, out) == (0, "Once up\nNever.\n"), err
    assert "warning: the answer above broke off and was asked for again: it begins anew" in err


def test_an_answer_that_fails_for_good_ends_its_line(tmp_path: Path) -> None:
    reply = streamed(chunk("No", reason="content_filter"), DONE)
    status, out, err = asyncio.run(served(tmp_path, reply, "execute", "a.ais", "--flow", "text", "x", "--stream"))
    assert (status, out) == (1, "No\n")
    assert "content filter" in err


def test_an_answer_of_the_journal_is_shown_whole(tmp_path: Path) -> None:
    async def run() -> None:
        async with Server(streamed(chunk("Once "), chunk("upon.", reason="stop"), DONE)) as server:
            arguments = ("--flow", "text", "x", "--stream")
            first = await ended(tmp_path, server.endpoint, "execute", "a.ais", *arguments)
            again = await ended(tmp_path, server.endpoint, "resume", "last", "--stream")
            assert first[:2] == again[:2] == (0, "Once upon.\n"), again
            assert len(server.received) == 1

    asyncio.run(run())


def test_the_simulator_streams_and_metrics_tell_the_time_to_the_first_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(SimulatorOptions(latency="constant:20", tokens_per_second=500)) as address:
            whole = await ended(tmp_path, address.endpoint, "execute", "a.ais", "-q")
            parts = await ended(
                tmp_path, address.endpoint, "execute", "a.ais", "-q", "--stream", "--emit-metrics", "m.json"
            )
            assert parts == whole
            assert whole[1].startswith("title: Simulated answer ")

    asyncio.run(run())
    llm = json.loads((tmp_path / "m.json").read_text())["llm"]
    assert (llm["total_requests"], llm["streamed_requests"]) == (2, 1)
    assert 20 <= llm["p50_first_token_ms"] < llm["max_latency_ms"]
