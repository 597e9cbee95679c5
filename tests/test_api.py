"""The Python API."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import pytest

import apxm
from apxm import journaling
from apxm.backends.protocol import ModelRequest
from apxm.cli.main import main
from apxm.errors import BackendError, JournalError, UsageError
from apxm.testing import ScriptedBackend, run_virtually

RESEARCH = """
agent A {
    @entry flow research(topic: str, depth: int = 2) -> str {
        ask(f"{topic} to depth {depth}") -> findings
        print("found:", findings)
        return findings
    }
    flow options(seed: str) -> str { return seed }
    flow halves(ratio: float) -> json { return [ratio] }
    flow echo(value: json) -> json { return value }
}
"""

ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@pytest.fixture(scope="module")
def program() -> apxm.Program:
    return apxm.compile_text(RESEARCH, name="research.ais")


def answering(script: object = None) -> apxm.BackendPool:
    backend = ScriptedBackend(latency_ms=lambda _: 0) if script is None else script
    assert isinstance(backend, ScriptedBackend)
    return apxm.BackendPool({backend.name: backend}, backend.name)


def test_a_run_gives_value_lines_and_numbers(program: apxm.Program) -> None:
    result = apxm.run(program, topic="bees", backends=answering())
    assert result.value == "[bees to depth 2]"
    assert result.printed == ["found: [bees to depth 2]"]
    assert (result.status, result.failures) == (apxm.Status.SUCCEEDED, [])
    assert result.metrics.llm.total_requests == 1
    assert result.metrics.backend.kind == "scripted"
    assert result.metrics is result.metrics
    assert result.trace.executed == 2


def test_output_gets_each_line_when_it_is_printed(program: apxm.Program) -> None:
    lines: list[str] = []
    apxm.run(program, topic="bees", depth=1, backends=answering(), output=lines.append)
    assert lines == ["found: [bees to depth 1]"]


def test_a_parameter_called_like_an_option_goes_into_the_mapping(program: apxm.Program) -> None:
    assert apxm.run(program, {"seed": "north"}, flow="options", backends=answering()).value == "north"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"research needs a value for topic: str .*research\(topic: str, depth: int = 2\) -> str"),
        ({"topic": "x", "deph": 1}, r"no parameter called 'deph' \(hint: did you mean depth\?"),
        ({"topic": 5}, "topic must be a str, not 5"),
        ({"topic": "x", "depth": True}, "depth must be an int, not True"),
        ({"topic": "x", "depth": 2**63}, "depth must be an int, not a number that is too large"),
        ({"flow": "halves", "ratio": float("nan")}, "ratio must be a float, not nan"),
        ({"flow": "halves", "ratio": 10**400}, "ratio must be a float, not a number that is too large"),
        ({"flow": "echo", "value": {"deep": [float("inf")]}}, "value must be a JSON value"),
        ({"flow": "echo", "value": ENDLESS}, "value must be a JSON value of at most 200 levels"),
        ({"flow": "echo", "value": ENDLESS}, r"and value\[0\] is a value that contains itself"),
        ({"flow": "echo", "value": ["\ud800"]}, r"and value\[0\] is text with half of a surrogate pair"),
        ({"topic": "x", "flow": "reserch"}, r"no flow called 'reserch' \(hint: did you mean research\?\)"),
        ({"topic": "x", "timeout_s": 0}, "the timeout must be"),
        ({"topic": "x", "max_concurrency": 0}, "the concurrency must be"),
    ],
)
def test_wrong_arguments_are_refused_before_any_call(
    program: apxm.Program, arguments: dict[str, object], message: str
) -> None:
    backend = ScriptedBackend()
    with pytest.raises(apxm.UsageError, match=message):
        apxm.run(program, backends=answering(backend), **arguments)  # type: ignore[arg-type]
    assert backend.calls == []


def test_numbers_and_texts_of_subclasses_are_plain_in_a_run_and_in_its_journal(
    program: apxm.Program, tmp_path: Path
) -> None:
    class Topic(str):
        __slots__ = ()

    given = {"topic": Topic("bees"), "depth": HTTPStatus.OK}
    result = apxm.run(program, given, backends=answering(), journal=True, journal_dir=tmp_path)
    assert result.value == "[bees to depth 200]"
    assert apxm.resume("last", backends=answering(), journal_dir=tmp_path).value == result.value


def test_a_value_that_shares_its_parts_is_run_with_and_only_writing_it_out_fails(program: apxm.Program) -> None:
    shared: object = {"n": 1}
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(apxm.RunFailed, match="longer than 67,108,864 characters when written out"):
        apxm.run(program, flow="echo", value=shared, backends=answering())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("research.ais",), "a program is expected, not a str .*apxm.compile"),
        ((None, {"topic": "x"}), "a program is expected, not a NoneType"),
    ],
)
def test_what_is_no_program_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(apxm.UsageError, match=message):
        apxm.run(*arguments, backends=answering())  # type: ignore[arg-type]


@pytest.mark.parametrize("backends", [{}, [], "simulated"])
def test_backends_that_are_no_pool_are_refused(backends: Any) -> None:
    program = apxm.compile_text("agent A { flow main() { } }")
    with pytest.raises(apxm.UsageError, match=f"`backends` is a BackendPool, not a {type(backends).__name__}"):
        apxm.run(program, backends=backends)
    with pytest.raises(apxm.UsageError, match="is a BackendPool"):
        apxm.resume("last", backends=backends)
    with pytest.raises(apxm.UsageError, match="is a BackendPool"):
        apxm.preview_resume("last", backends=backends)


def test_values_without_names_are_refused(program: apxm.Program) -> None:
    with pytest.raises(apxm.UsageError, match=r"given by name, not as a str .*run\(program, topic=…\)"):
        apxm.run(program, "bees", backends=answering())  # type: ignore[arg-type]


def test_an_argument_given_twice_is_refused(program: apxm.Program) -> None:
    with pytest.raises(apxm.UsageError, match="topic is given twice"):
        apxm.run(program, {"topic": "a"}, topic="b", backends=answering())


def test_an_int_becomes_a_float_where_the_flow_wants_one(program: apxm.Program) -> None:
    (value,) = apxm.run(program, flow="halves", ratio=2, backends=answering()).value
    assert isinstance(value, float)


def test_a_failed_run_raises_with_everything_that_finished(program: apxm.Program) -> None:
    down = ScriptedBackend(script=lambda _: BackendError("refused", "no such model", retryable=False))
    with pytest.raises(apxm.RunFailed, match=r"research.ais:4:9: findings failed \(refused\): no such model") as caught:
        run_virtually(apxm.run_async(program, topic="bees", backends=answering(down)))
    result = caught.value.result
    assert result.status is apxm.Status.FAILED
    assert [failure.operation for failure in result.failures] == ["findings"]
    assert result.metrics.execution.nodes_failed == 1
    assert result.trace.duration == 1_000_000_000


def test_errors_cross_from_one_process_to_another(program: apxm.Program) -> None:
    down = ScriptedBackend(script=lambda _: BackendError("refused", "no such model", retryable=False))
    with pytest.raises(apxm.RunFailed) as failed:
        apxm.run(program, topic="bees", backends=answering(down))
    with pytest.raises(apxm.SourceError) as refused:
        apxm.compile_text("agent A { flow f() -> str { return missing } }")
    for error in (failed.value, refused.value, BackendError("timeout", "too late", retryable=True, hint="wait")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))
        assert vars(copy).keys() == vars(error).keys()


def test_without_other_backends_the_environment_decides(
    program: apxm.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = apxm.run(program, topic="bees", latency="constant:0")
    assert result.metrics.backend.simulated
    assert result.value.endswith(": bees to depth 2")
    once = apxm.compile_text('agent A { @entry flow f() -> str { ask("a", retries: 0) -> a return a } }')
    with pytest.raises(apxm.RunFailed, match="redirect"):
        apxm.run(once, faults="redirect:1", latency="constant:0")


def test_backends_and_a_configuration_exclude_each_other(program: apxm.Program) -> None:
    with pytest.raises(apxm.UsageError, match="give none beside it"):
        apxm.run(program, topic="bees", model="other", backends=answering())


def test_a_run_over_its_time_is_stopped(program: apxm.Program) -> None:
    slow = ScriptedBackend(latency_ms=lambda _: 5000)
    with pytest.raises(apxm.RunFailed, match="the run ended as stopped") as caught:
        run_virtually(apxm.run_async(program, topic="bees", timeout_s=2, backends=answering(slow)))
    assert caught.value.result.trace.duration == 2_000_000_000
    assert [call.cancelled for call in slow.calls] == [True]


def test_run_inside_a_running_loop_points_at_run_async(program: apxm.Program) -> None:
    async def main() -> None:
        with pytest.raises(apxm.UsageError, match="run_async"):
            apxm.run(program, topic="bees")
        assert (await apxm.run_async(program, topic="bees", backends=answering())).value == "[bees to depth 2]"

    asyncio.run(main())


def test_what_is_saved_loads_as_the_same_program(program: apxm.Program, tmp_path: Path) -> None:
    apxm.save(program, tmp_path / "research.apxmobj")
    assert apxm.load(tmp_path / "research.apxmobj") == program


def test_loading_what_is_no_artifact_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(apxm.ArtifactError, match=r"notes\.txt: this is not an A-PXM artifact"):
        apxm.load(tmp_path / "notes.txt")
    with pytest.raises(apxm.UsageError, match="missing: the artifact cannot be read"):
        apxm.load(tmp_path / "missing")


def test_compiling_reads_a_path_and_raises_all_errors(tmp_path: Path) -> None:
    path = tmp_path / "bad.ais"
    path.write_text("agent A { @entry flow f() -> str { return x } flow g() -> str { return y } }")
    with pytest.raises(apxm.SourceError) as caught:
        apxm.compile(path)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics][:2] == ["undefined-name"] * 2


def test_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="apxm"):
        apxm.compile_text('agent A { flow f() -> str { ask("x") -> unused return "y" } }')
    assert "<text>:1:" in caplog.text


def test_every_exported_name_is_there() -> None:
    assert all(getattr(apxm, name) is not None for name in apxm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'complie'"):
        apxm.complie  # noqa: B018


def test_the_first_failure_ends_the_run_where_asked_to() -> None:
    program = apxm.compile_text('agent A { @entry flow f() { ask("bad") -> a print(a) ask("good") -> b print(b) } }')

    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("broken", "it broke", retryable=False) if request.prompt == "bad" else "good"

    def printed(on_error: Literal["finish", "cancel"]) -> list[str]:
        backend = ScriptedBackend(script, latency_ms=lambda request: 0 if request.prompt == "bad" else 10)
        with pytest.raises(apxm.RunFailed, match="it broke") as raised:
            apxm.run(program, backends=answering(backend), on_error=on_error)
        return raised.value.result.printed

    assert (printed("finish"), printed("cancel")) == (["good"], [])


def test_a_wrong_word_for_what_to_do_on_an_error_is_refused(program: apxm.Program) -> None:
    with pytest.raises(UsageError, match="on an error a run can finish or cancel, not 'stop'"):
        apxm.run(program, topic="bees", on_error="stop")  # type: ignore[arg-type]


def test_a_run_in_another_thread_touches_no_handler_of_signals(program: apxm.Program) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    during: dict[int, object] = {}

    def look(_line: str) -> None:
        during.update({number: signal.getsignal(number) for number in signal.valid_signals()})

    def work() -> str:
        return apxm.run(program, topic="bees", backends=answering(), output=look).printed[0]

    with ThreadPoolExecutor() as threads:
        assert threads.submit(work).result() == "found: [bees to depth 2]"
    assert during == before


def test_a_run_that_failed_goes_on_from_its_journal(tmp_path: Path) -> None:
    program = apxm.compile_text(
        'agent A { @entry flow f() -> str { ask("one") -> a ask(f"two {a}") -> b print(b) return b } }'
    )
    backend = ScriptedBackend(latency_ms=lambda _: 0)
    backend.script = lambda request: (
        BackendError("connection", "lost", retryable=False) if len(backend.calls) == 2 else f"[{request.prompt}]"
    )
    pool = answering(backend)
    with pytest.raises(apxm.RunFailed) as failed:
        apxm.run(program, journal=True, journal_dir=tmp_path, backends=pool)
    run_id = failed.value.result.run_id
    lines: list[str] = []
    result = apxm.resume(run_id, journal_dir=tmp_path, backends=pool, output=lines.append)
    assert (result.run_id, result.value, lines) == (run_id, "[two [one]]", ["[two [one]]"])
    assert backend.prompts == ["one", "two [one]", "two [one]"]
    assert (result.metrics.execution.nodes_reused, result.metrics.llm.total_requests) == (1, 1)
    with pytest.raises(UsageError, match="there is no run"):
        apxm.resume("nothing", journal_dir=tmp_path)


def test_a_journaled_run_says_where_once_in_the_log(
    program: apxm.Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "apxm")
    result = apxm.run(program, topic="bees", backends=answering(), journal=True, journal_dir=tmp_path)
    (message,) = caplog.messages
    [path] = tmp_path.glob("*.apxmlog")
    again = f"apxm.resume({result.run_id!r}, journal_dir={str(tmp_path)!r})"
    assert message == f"run {result.run_id} is journaled in {path}; {again} goes on with it"
    caplog.clear()
    apxm.resume(result.run_id, journal_dir=tmp_path, backends=answering())
    assert caplog.messages == [f"run {result.run_id} goes on, journaled in {path}; finished calls: 1"]
    caplog.clear()
    apxm.run(program, topic="bees", backends=answering())
    assert caplog.messages == []


def test_each_call_is_logged_at_debug_without_any_text(program: apxm.Program, caplog: pytest.LogCaptureFixture) -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 0, retries=1)
    lost = BackendError("connection", "lost with a sk-secret", retryable=True)
    backend.script = lambda _: lost if len(backend.calls) == 1 else "an answer"
    caplog.set_level(logging.DEBUG, "apxm")
    result = apxm.run(program, topic="bees", backends=answering(backend))
    lines = [re.sub(r"[0-9.]+ m?s\b", "TIME", message) for message in caplog.messages]
    assert lines == [
        f"run {result.run_id}: findings asks scripted (backend scripted)",
        f"run {result.run_id}: findings fails after TIME: connection",
        f"run {result.run_id}: findings is tried again after TIME at the earliest",
        f"run {result.run_id}: findings asks scripted (backend scripted), attempt 2",
        f"run {result.run_id}: findings is answered after TIME, 4 tokens in, 2 out, attempt 2",
    ]


@pytest.fixture
def never_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journaling, "_pruned", {})


@pytest.mark.usefixtures("never_pruned")
def test_a_run_removes_old_ones_now_and_then(program: apxm.Program, tmp_path: Path) -> None:
    def left_after_a_run() -> bool:
        old = tmp_path / "20200101-000000-aaaa.journal"
        old.touch()
        os.utime(old, (0, 0))
        apxm.run(program, topic="bees", backends=answering(), journal=True, journal_dir=tmp_path)
        return old.exists()

    assert [left_after_a_run() for _ in range(2)] == [False, True]


@pytest.mark.usefixtures("never_pruned")
def test_old_runs_that_cannot_be_removed_cost_nobody_a_result(
    program: apxm.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: Path, **_: object) -> None:
        raise JournalError("not yours", where=str(folder))

    monkeypatch.setattr(journaling, "prune", fail)
    result = apxm.run(program, topic="bees", backends=answering(), journal=True, journal_dir=tmp_path)
    assert result.status is apxm.Status.SUCCEEDED
    assert f"old runs were not removed: {tmp_path}: not yours" in caplog.text


def test_a_run_that_has_an_owner_is_not_resumed(tmp_path: Path) -> None:
    program = apxm.compile_text('agent A { @entry flow f() -> str { return ask("one") } }')
    pool = answering(ScriptedBackend(latency_ms=lambda _: 60_000))

    async def main() -> None:
        running = asyncio.create_task(
            apxm.run_async(program, journal=True, journal_dir=tmp_path, backends=pool, timeout_s=60)
        )
        await asyncio.sleep(0)  # in its first step it takes the run
        with pytest.raises(apxm.JournalBusyError):
            await apxm.resume_async("last", journal_dir=tmp_path, backends=pool)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


WIDE = {f"key {i}": {"deep": ["x" * 10_000] * 5} for i in range(500)}


@pytest.mark.parametrize("value", ["bees\n" * 10_000, WIDE, ["x" * 1000] * 1000, 2**62, None, 1.5])
def test_what_a_run_gives_is_shown_on_one_line(value: object) -> None:
    name = "f" * 300
    text = f"agent {'A' * 300} {{ @entry flow {name}(value: json) -> json {{ ask(value) -> a return value }} }}"
    program = apxm.compile_text(text, name="/" * 300 + "\n.ais")
    pool = apxm.BackendPool({f"b{i}": ScriptedBackend(name=f"b{i}", latency_ms=lambda _: 0) for i in range(50)}, "b0")
    result = apxm.run(program, {"value": value}, backends=pool)  # type: ignore[dict-item]
    assert result.value == value
    for shown in map(repr, (result, program, pool, result.trace, result.metrics, result.metrics.work_span)):
        assert len(shown) <= 100, shown
        assert "\n" not in shown
    assert repr(result).startswith(f"Result('{result.run_id}', succeeded, value=")


def test_a_result_and_a_program_say_what_they_are(program: apxm.Program) -> None:
    assert repr(program) == "Program('research.ais', entry='A.research', flows=4, level=1)"
    result = apxm.run(program, topic="bees", backends=answering())
    assert repr(result) == f"Result('{result.run_id}', succeeded, value='[bees to depth 2]')"
    assert repr(result.trace) == "Trace('A.research', succeeded, executed=2, failed=0)"
    assert repr(answering()) == "BackendPool(default='scripted', backends='scripted')"
    assert repr(apxm.compile_text("agent A { flow a() {} flow b() {} }")).startswith("Program('<text>', entry='none'")


def test_metrics_are_json_in_one_call_as_the_command_line_writes_them(
    program: apxm.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = apxm.run(program, topic="bees", backends=answering()).metrics
    assert json.loads(metrics.to_json())["llm"]["total_requests"] == 1
    seen: list[str] = []
    to_json = apxm.Metrics.to_json
    monkeypatch.setattr(apxm.Metrics, "to_json", lambda self, **_: (seen.append(to_json(self)), seen[0])[1])
    (tmp_path / "research.ais").write_text(RESEARCH)
    argv = ["apxm", "execute", str(tmp_path / "research.ais"), "bees", "-q", "--latency", "constant:1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--emit-metrics", str(tmp_path / "m.json")])
    with pytest.raises(SystemExit):
        main()
    assert (tmp_path / "m.json").read_bytes() == seen[0].encode()


def test_the_text_of_the_result_is_told_as_it_comes_behind_all_lines() -> None:
    source = 'agent A { flow main() -> str { ask("One", max_tokens: 9) -> a  print(a)  return ask("Two") } }'
    told: list[str] = []
    result = apxm.run(
        apxm.compile_text(source),
        backends=answering(ScriptedBackend(latency_ms=lambda _: 1, first_token_ms=lambda _: 0)),
        output=told.append,
        on_text=lambda part: told.append(part.text),
    )
    assert told == ["[One]", "[Two]"]
    assert result.metrics.llm.streamed_requests == 1


TOOLS = """
agent A {
    capability search(q: str) -> list[str] readonly
    capability shout(text: str) -> str
    @entry flow main(q: str) -> str { search(q) -> hits  return shout("" + hits) }
}
"""


async def search(q: str) -> list[str]:
    return [q, q]


def shout(text: str) -> str:
    return text.upper()


def test_functions_can_be_given_as_tools_for_one_run() -> None:
    program = apxm.compile_text(TOOLS)
    pool = apxm.BackendPool({"s": ScriptedBackend()}, "s")
    for backends in ({"backends": pool}, {"tool_latency": ["0"]}):
        result = apxm.run(program, tools={"search": search, "shout": shout}, q="a", journal=False, **backends)
        assert result.value == '["A","A"]'
    # What is not given is simulated where the model is.
    assert apxm.run(program, tools={"search": search}, q="a", tool_latency=["0"]).value != '["A","A"]'
    assert apxm.run(program, tools={"shout": shout}, q="a", simulate_tools=True, tool_latency=["0"]).value.islower()


def test_functions_that_do_not_fit_are_told_before_the_first_call() -> None:
    program = apxm.compile_text(TOOLS)
    pool = apxm.BackendPool({"s": ScriptedBackend()}, "s")
    with pytest.raises(apxm.LinkError) as caught:
        apxm.run(program, tools={"search": shout}, q="a", backends=pool)
    assert [error.message for error in caught.value.missing] == [
        "tool 'search': it has no parameter 'q'; it has 'text'",
        "tool 'search': it needs 'text', which is not declared",
        "tool 'search': it gives string, declared as list[str]",
        "tool 'shout': it is not configured (configured: search)",
    ]


def test_a_run_has_the_id_that_it_is_told_and_a_journal(tmp_path: Path) -> None:
    program, run_id = apxm.compile_text(RESEARCH), apxm.new_run_id()
    told: dict[str, Any] = {"flow": "research", "run_id": run_id, "journal_dir": tmp_path}
    result = apxm.run(program, {"topic": "bees"}, backend="simulated", latency="constant:1", **told)
    assert result.run_id == run_id
    assert apxm.resume(run_id, journal_dir=tmp_path).value == result.value
    with pytest.raises(UsageError, match=r"'\.\./x' is no id of a run"):
        apxm.run(program, topic="bees", **{**told, "run_id": "../x"})
    with pytest.raises(UsageError, match="a batch has no option 'run_id'"):
        program.batch(["bees"], run_id=run_id)
