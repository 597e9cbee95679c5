"""Answers from a file, and how they get there."""

from __future__ import annotations

import asyncio
import fcntl
import json
import multiprocessing
import os
from pathlib import Path

import msgspec
import pytest

import apxm
from apxm.backends import recording
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.recording import Recorded, Recording
from apxm.backends.replay import ReplayBackend
from apxm.backends.settings import OpenAISettings
from apxm.config.selection import Selection, resolve
from apxm.errors import ConfigurationError, UntrustedConfigurationError
from tests.backends.test_chat_stream import SOUND, streamed
from tests.servers import Server, completion

SEVEN = """
agent A {
    @entry flow vote(question: str) -> list[json] {
        answer(question) -> a
        answer(question) -> b
        think("Something else.") -> slow
        answer(question) -> c
        return wait_all(a, b, c, slow)
    }
    flow answer(question: str) -> str { return ask(question) }
}
"""


def counting() -> Server:
    """Each answer is another one."""
    server: Server = Server(lambda _: completion(f"answer {len(server.received)}"))
    return server


def configure(folder: Path, server: Server | None = None) -> Path:
    recorded = '[backends.recorded]\nkind = "replay"\nfile = "answers.jsonl"\n'
    if server is not None:
        recorded += f'of = "real"\n[backends.real]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
    path = folder / "config.toml"
    path.write_text('default_backend = "recorded"\n' + recorded)
    return path


async def run(config: Path, source: str = SEVEN, **values: str) -> apxm.Result:
    return await apxm.run_async(apxm.compile_text(source), values, config=config, journal=False)


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_each_sample_of_a_prompt_is_recorded_once_and_answered_by_its_own(tmp_path: Path) -> None:
    async def go() -> None:
        async with counting() as server:
            first = await run(configure(tmp_path, server), question="Why?")
            assert sorted(first.value) == ["answer 1", "answer 2", "answer 3", "answer 4"]
            again = await run(configure(tmp_path, server), question="Why?")
            assert again.value == first.value
            assert len(server.received) == 4
        alone = await run(configure(tmp_path), question="Why?")
        assert alone.value == first.value, "without network, key or backend"
        assert alone.backend.simulated

    asyncio.run(go())
    assert [line["operation"] for line in lines(tmp_path)] == ["a/ask#1", "b/ask#1", "c/ask#1", "slow"]
    assert (tmp_path / "answers.jsonl").read_text().splitlines()[3] == (
        '{"operation":"slow","request":{"prompt":"Something else.","instruction":'
        f'{json.dumps(lines(tmp_path)[3]["request"]["instruction"])}}},'  # type: ignore[index]
        '"answer":{"text":' + json.dumps(lines(tmp_path)[3]["answer"]["text"])  # type: ignore[index]
        + ',"usage":{"input_tokens":12,"output_tokens":3},"model":"tiny-1"}}'
    )  # fmt: skip


def test_an_answer_comes_in_parts_while_it_is_recorded_and_in_one_from_the_file(tmp_path: Path) -> None:
    program = apxm.compile_text('agent A { @entry flow f() -> str { return ask("Hi") } }')

    async def told(config: Path) -> list[str]:
        parts: list[str] = []
        result = await apxm.run_async(
            program, config=config, journal=False, on_text=lambda part: parts.append(part.text)
        )
        assert result.value == "Hello."
        return parts

    async def go() -> None:
        async with Server(streamed(*SOUND)) as server:
            assert await told(configure(tmp_path, server)) == ["Hel", "lo."]
            assert await told(configure(tmp_path, server)) == ["Hello."]
            assert len(server.received) == 1
        assert await told(configure(tmp_path)) == ["Hello."]

    asyncio.run(go())


def test_what_is_not_recorded_is_asked_for_alone(tmp_path: Path) -> None:
    async def go() -> None:
        async with counting() as server:
            config = configure(tmp_path, server)
            await run(config, question="Why?")
            kept = (tmp_path / "answers.jsonl").read_text().splitlines()
            (tmp_path / "answers.jsonl").write_text("\n".join([kept[0], kept[3]]))  # as an editor leaves it
            await run(config, question="Why?")
            assert len(server.received) == 6
            assert {kept[0], kept[3]} <= {*(tmp_path / "answers.jsonl").read_text().splitlines()}
            assert len(lines(tmp_path)) == 4

    asyncio.run(go())


def test_an_unknown_request_shows_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = 'agent A {{ @entry flow f() -> str {{ return ask("""Translate:\n{0}\nInto French.""", temperature: {1}) }} }}'

    async def go() -> None:
        async with counting() as server:
            await run(configure(tmp_path, server), ask.format("The bee", 0))
            monkeypatch.setenv("CI", "true")
            with pytest.raises(apxm.RunFailed) as caught:
                await run(configure(tmp_path, server), ask.format("The wasp", 0.5))
            assert len(server.received) == 1
        (failure,) = caught.value.result.failures
        assert failure.kind == "not_recorded"
        assert failure.message.splitlines() == [
            f"{tmp_path}/answers.jsonl has no answer to this request, and without `of`, or where CI is set, nobody is "
            "asked; the nearest that it has, of ask#1:",
            "- The bee",
            "+ The wasp",
            "temperature:",
            "- 0.0",
            "+ 0.5",
        ]

    asyncio.run(go())


def test_an_operation_that_was_renamed_has_the_only_answer_and_no_guess_at_one_of_several(tmp_path: Path) -> None:
    one = 'agent A { @entry flow f() -> str { ask("Why?") -> {name} return {name} } }'

    async def go() -> None:
        async with counting() as server:
            await run(configure(tmp_path, server), one.replace("{name}", "old"))
        assert (await run(configure(tmp_path), one.replace("{name}", "new"))).value == "answer 1"
        async with counting() as server:
            await run(configure(tmp_path, server), question="Why?")
        with pytest.raises(apxm.RunFailed, match="several answers to this request, of a/ask#1, b/ask#1, c/ask#1, old"):
            await run(configure(tmp_path), one.replace("{name}", "new"))

    asyncio.run(go())


def test_a_failed_call_is_not_recorded(tmp_path: Path) -> None:
    async def go() -> None:
        async with Server(completion(status="?", choices=[])) as server:
            backend = _recording(tmp_path / "a.jsonl", server)
            with pytest.raises(apxm.BackendError):
                await backend.call(ModelRequest("x", operation="o"))
            await backend.close()
        assert (tmp_path / "a.jsonl").read_text() == ""

    asyncio.run(go())


def _recording(path: Path, server: Server) -> ReplayBackend:
    return ReplayBackend("b", str(path), OpenAIBackend("real", OpenAISettings(model="m", endpoint=server.endpoint), {}))


def answered(number: int) -> Recorded:
    return Recorded(f"o{number}", ModelRequest(f"prompt {number} " + "x" * 2000), ModelAnswer("answer", Usage(1, 2)))


def add_many(path: str, first: int) -> None:
    """In a process of its own: adds 50 answers, of which another process adds every second too, and sorts now and
    then."""
    file = Recording(path)
    file.read_or_make()
    for number in range(first, first + 50):
        file.add(answered(number))
        if number % 10 == 0:
            file.sort()


def test_processes_that_record_at_once_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "answers.jsonl")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(path, first)) for first in (0, 25, 50)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(line["operation"] for line in lines(tmp_path)) == sorted(f"o{n}" for n in range(100))
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.jsonl"]


def test_half_of_a_line_is_dropped_and_what_others_added_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = Recording(str(path))
    first.read_or_make()
    first.add(answered(1))
    with path.open("a") as file:
        file.write('{"operation": "o2", "requ')  # its process was killed
    second = Recording(str(path))
    second.read()
    assert [key[1] for key in second.answers] == ["o1"]
    second.read_or_make()
    second.add(answered(3))
    other = Recorded("o3", answered(3).request, ModelAnswer("later"))
    assert first.add(other).answer.text == "answer", "the first that was written down counts"
    assert [line["operation"] for line in lines(tmp_path)] == ["o1", "o3"]


def test_lines_that_others_put_in_another_order_are_read_anew_in_the_same_inode(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    mine = Recording(str(path))
    mine.read_or_make()
    mine.add(answered(2))
    other = Recorded("o1", ModelRequest("a longer prompt"), ModelAnswer("longer"))
    path.write_bytes(msgspec.json.encode(other) + b"\n" + path.read_bytes())
    mine.add(answered(3))
    assert [line["operation"] for line in lines(tmp_path)] == ["o1", "o2", "o3"]
    assert {operation for _, operation in mine.answers} == {"o1", "o2", "o3"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"operation": "o"}\n', "answers.jsonl:1: this line is no recorded answer: Object missing required field"),
        ("\n<<<<<<< HEAD\n", "answers.jsonl:2: this line is no recorded answer: JSON is malformed"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "answers.jsonl").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        ReplayBackend("b", str(tmp_path / "answers.jsonl"))
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def test_a_file_that_cannot_be_used_is_an_error_before_any_call(tmp_path: Path) -> None:
    config = configure(tmp_path)
    with pytest.raises(ConfigurationError, match=r"answers\.jsonl: there is no such file"):
        asyncio.run(run(config, question="Why?"))
    os.mkdir(tmp_path / "answers.jsonl")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        asyncio.run(run(config, question="Why?"))


@pytest.mark.parametrize(
    ("of", "message"),
    [("nobody", "'nobody' cannot be recorded: there is no such backend"), ("simulated", "it is of kind simulated")],
)
def test_only_a_backend_over_the_network_is_recorded(tmp_path: Path, of: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[backends.r]\nkind = "replay"\nfile = "a"\nof = "{of}"\n')
    with pytest.raises(ConfigurationError, match=message):
        asyncio.run(run(path, question="Why?"))


def test_a_file_that_is_replaced_while_its_lock_is_waited_for_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.jsonl"
    other = Recording(str(path))
    other.read_or_make()
    other.add(answered(1))
    sorting = iter([other.sort])

    class Locks:
        LOCK_EX = fcntl.LOCK_EX

        @staticmethod
        def flock(descriptor: int, kind: int) -> None:
            for sort in sorting:  # another run is at its end
                sort()
            fcntl.flock(descriptor, kind)

    mine = Recording(str(path))
    monkeypatch.setattr(recording, "_locks", lambda _: Locks)
    mine.add(answered(2))
    assert [line["operation"] for line in lines(tmp_path)] == ["o1", "o2"]


def test_a_project_that_was_cloned_may_answer_and_not_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".apxm"
    folder.mkdir()
    configure(folder)
    (folder / "answers.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert resolve(Selection()).default == "recorded"
    of = '[backends.real]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:9/v1"\n'
    (folder / "config.toml").write_text((folder / "config.toml").read_text() + f'of = "real"\n{of}')
    with pytest.raises(UntrustedConfigurationError, match=r"would record the answers of real in .*answers\.jsonl"):
        resolve(Selection())


def test_turns_of_a_loop_are_in_their_order(tmp_path: Path) -> None:
    file = Recording(str(tmp_path / "answers.jsonl"))
    file.read_or_make()
    for path in ("b", "a[10]/x", "a[2]/x", "a[2]/ask#1", "a"):
        file.add(Recorded(path, ModelRequest("p"), ModelAnswer("x")))
    file.sort()
    assert [line["operation"] for line in lines(tmp_path)] == ["a", "a[2]/ask#1", "a[2]/x", "a[10]/x", "b"]
