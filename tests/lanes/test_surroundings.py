"""What Python has around code is right in lanes, too: contexts, logs, tracebacks, debuggers, coverage, what is open."""

from __future__ import annotations

import asyncio
import bdb
import contextlib
import gc
import io
import logging
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apxm.errors import OperationError
from apxm.explaining.explanation import Given
from apxm.explaining.files import explained_flow
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from apxm.flows.twins import TWINS
from apxm.lanes import lane
from apxm.lanes.run import LaneRun
from tests.lanes.comparing import ran

SECOND = 1_000_000_000
SIMULATED: dict[str, Any] = {"backend": "simulated", "latency": "constant:1", "journal": False}


# --- contexts --------------------------------------------------------------------------------------------------------

USER: ContextVar[str] = ContextVar("user", default="nobody")


def test_a_lane_begins_with_the_flow_s_context_and_keeps_its_own() -> None:
    found: list[tuple[str, str]] = []

    @flow
    def main(rows: list[str]) -> str:
        USER.set("flow")
        for row in each(rows):
            before = copy_context()[USER]
            USER.set(row)
            ask(row)
            found.append((before, USER.get()))
        return USER.get()

    seen, trace = ran(lambda: main.lanes(["a", "b", "c"]), lambda: SECOND)
    assert found == [("flow", "a"), ("flow", "b"), ("flow", "c")]
    assert (seen.value, trace.duration, USER.get()) == ("flow", SECOND, "nobody")


def test_the_current_span_of_a_tracer_is_the_lane_s() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def answered(text: str) -> str:
        with tracer.start_as_current_span(f"call {text}"):
            return ask(text)

    @flow
    def main(rows: list[str]) -> None:
        with tracer.start_as_current_span("flow"):
            for row in each(rows):
                with tracer.start_as_current_span(row):
                    answered(answered(row))

    _, trace = ran(lambda: main.lanes(["a", "b", "c"]), lambda: SECOND)
    assert trace.duration == 2 * SECOND
    spans = {span.name: span for span in exporter.get_finished_spans()}
    names = {span.context.span_id: span.name for span in spans.values() if span.context is not None}
    parents = {name: names[span.parent.span_id] for name, span in spans.items() if span.parent is not None}
    assert len(spans) == 10
    assert {name: parent for name, parent in parents.items() if name in "abc"} == dict.fromkeys("abc", "flow")
    assert [parents[f"call {row}"] for row in "abc"] == ["a", "b", "c"]


# --- logs and standard error -----------------------------------------------------------------------------------------


def test_logs_and_standard_error_pass_at_once_with_the_name_of_the_iteration(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("user")

    @flow
    def main(rows: list[int]) -> None:
        log.warning("begun")
        print("flow", file=sys.stderr)
        for row in each(rows):
            log.warning("head %d", row)
            answer = ask(f"{row}")
            log.warning("done %d", row)
            print(row, bool(answer), file=sys.stderr)

    times = iter([3 * SECOND, 2 * SECOND, SECOND])
    _, trace = ran(lambda: main.lanes([0, 1, 2]), lambda: next(times))
    place = f"{main.function.__qualname__}:{main.function.__code__.co_firstlineno + 4}"
    told = [(record.getMessage(), record.threadName) for record in caplog.records]
    assert trace.duration == 3 * SECOND
    assert told[1:] == [
        *((f"head {row}", f"{place}[{row}]") for row in (0, 1, 2)),
        *((f"done {row}", f"{place}[{row}]") for row in (2, 1, 0)),
    ]
    assert told[0] == ("begun", threading.current_thread().name)
    assert capsys.readouterr().err == f"flow\n[{place}[2]] 2 True\n[{place}[1]] 1 True\n[{place}[0]] 0 True\n"
    assert not isinstance(sys.stderr, type(sys.stdout)) or sys.stderr is not None


# --- tracebacks, debuggers, coverage ---------------------------------------------------------------------------------


def checked(text: str) -> int:
    return int(text)


@flow
def failing(rows: list[str]) -> None:
    for row in each(rows):
        number = ask(row)
        checked(number)


def test_a_traceback_shows_the_user_s_own_lines_and_no_others() -> None:
    with pytest.raises(ValueError, match="invalid literal") as raised:
        failing.using(**SIMULATED).run(["a", "b"])
    assert not any("_apxm" in frame.name for frame in traceback.extract_tb(raised.value.__traceback__))
    frames = [frame for frame in traceback.extract_tb(raised.value.__traceback__) if frame.filename == __file__]
    first = failing.function.__code__.co_firstlineno
    assert [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames[1:]] == [
        (__file__, first + 2, "failing", "for row in each(rows):"),
        (__file__, first + 4, "failing", "checked(number)"),
        (__file__, first - 3, "checked", "return int(text)"),
    ]


class Debugger(bdb.Bdb):
    """Notes where it stops at a breakpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.stops: list[tuple[int, str, object]] = []

    def user_line(self, frame: FrameType) -> None:
        if self.break_here(frame):
            self.stops.append((frame.f_lineno, frame.f_code.co_name, frame.f_locals.get("row")))
        self.set_continue()


@flow
def debugged(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        answer = ask(row)
        found.append(answer)
    return found


def test_a_debugger_stops_at_the_line_in_each_lane() -> None:
    line = debugged.function.__code__.co_firstlineno + 5
    debugger = Debugger()
    assert debugger.set_break(__file__, line) is None
    traced = sys.gettrace()
    try:
        debugger.runcall(lambda: ran(lambda: debugged.lanes(["a", "b", "c"]), lambda: SECOND))
    finally:
        debugger.clear_all_breaks()
        sys.settrace(traced)
    assert debugger.stops == [(line, "debugged", row) for row in "abc"]


SCRIPT = """\
from apxm import ask, each, flow

def helper(text):
    if text.startswith("never"):
        return 1
    return 2

@flow
def main(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        if answer == "never":
            found.append(3)
        found.append(helper(answer))
    return found

print(main.using(backend="simulated", latency="constant:1", journal=False)(["a", "b"]))
"""


def test_coverage_counts_the_lines_that_lanes_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "coverage"]
    begin = [*command, "run", "--concurrency=greenlet", "script.py"]
    run = subprocess.run(begin, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[2, 2]\n", "")
    report = subprocess.run([*command, "report", "-m"], cwd=tmp_path, capture_output=True, text=True, check=True)
    line = next(line for line in report.stdout.splitlines() if line.startswith("script.py"))
    assert line.split()[-2:] == ["5,", "14"]


# --- what is open is closed ------------------------------------------------------------------------------------------


def test_a_run_that_is_cancelled_ends_its_lanes_and_closes_what_they_opened() -> None:
    closed: list[str] = []
    begun = asyncio.Event()

    @contextlib.contextmanager
    def opened(name: str) -> Generator[None]:
        try:
            yield
        finally:
            closed.append(f"manager {name}")

    def lines(name: str) -> Iterator[str]:
        try:
            yield name
            yield ask(f"more of {name}")
        finally:
            closed.append(f"generator {name}")

    @flow
    def main(rows: list[str]) -> None:
        for row in each(rows):
            with opened(row):
                try:
                    for line in lines(row):
                        begun.set()
                        ask(line)
                finally:
                    closed.append(f"finally {row}")
                    with contextlib.suppress(Exception):
                        ask("never")
                    closed.append("never")

    async def cancelled() -> None:
        endless = main.using(**{**SIMULATED, "latency": "constant:600000"})
        task = asyncio.create_task(endless.run_async(["a", "b"]))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert sorted(closed) == sorted(f"{kind} {row}" for kind in ("manager", "generator", "finally") for row in "ab")


# --- several at once -------------------------------------------------------------------------------------------------


@flow
def labelled(rows: list[str]) -> list[str]:
    found = [ask(row) for row in each(rows)]
    for row in each(rows):
        print(row, ask(f"again {row}")[:9])
    return found


@flow
def nested(rows: list[str]) -> list[list[str]]:
    return [labelled([row, row + "!"]) for row in each(rows)]


def test_flows_run_in_threads_and_under_one_loop_and_in_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    program: Flow[..., list[str]] = labelled.using(**SIMULATED)
    alone = {row: program([row, row + "!"]) for row in "abcdef"}
    shown = capsys.readouterr().out
    found: dict[str, list[str]] = {}
    threads = [threading.Thread(target=lambda row=row: found.update({row: program([row, row + "!"])})) for row in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def together() -> None:
        results = await asyncio.gather(*(program.run_async([row, row + "!"]) for row in "cd"))
        found.update(zip("cd", (result.value for result in results), strict=True))

    asyncio.run(together())
    found.update(zip("ef", nested.using(**SIMULATED)(["e", "f"]), strict=True))
    assert found == alone
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(shown.splitlines())
    assert not hasattr(sys.stdout, "stream")
    assert not hasattr(sys.stderr, "in_line")


# --- code that blocks ------------------------------------------------------------------------------------------------


def test_code_that_lets_nothing_else_go_on_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def blocks() -> None:
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    @flow
    def main(rows: list[str]) -> None:
        for row in each(rows):
            if row == "b":
                blocks()
            ask(row)
        blocks()  # nobody waits

    with caplog.at_level(logging.WARNING, "apxm"):
        main.using(**SIMULATED).run(["a", "b"])
    (told,) = [record.getMessage() for record in caplog.records]
    line = blocks.__code__.co_firstlineno
    assert f"{blocks.__qualname__}:" in told
    assert "let nothing else go on for at least" in told
    assert any(f"(at {__file__}:{line + k})" in told for k in (1, 2, 3))
    assert told.endswith("apxm.thread(function, …) is the place for code that blocks")


def test_lanes_that_go_on_wake_whoever_looks_for_such_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asleep:
        asleep = True
        woken = 0

        def wake(self) -> None:
            self.woken += 1

    @flow
    def main() -> None:
        ask("a")
        ask("b")

    watch = Asleep()
    monkeypatch.setattr(lane, "WATCH", watch)
    ran(main.lanes, lambda: SECOND)
    assert watch.woken == 3


def test_what_is_written_to_standard_streams_holds_no_iteration_back(capsys: pytest.CaptureFixture[str]) -> None:
    @flow
    def main(rows: list[str]) -> None:
        for row in each(rows):
            answer = ask(row)
            sys.stdout.write(f"out {row}\n")
            sys.stderr.write(f"err {row}\n")
            print("more", file=sys.stderr)
            print("and more", file=sys.stdout)
            ask(answer)

    left = iter([3 * SECOND, 2 * SECOND, SECOND, SECOND, SECOND, SECOND])
    _, trace = ran(lambda: main.lanes(["a", "b", "c"]), lambda: next(left))
    assert trace.duration == 4 * SECOND
    caught = capsys.readouterr()
    assert [line for line in caught.err.splitlines() if "err" in line] == [
        f"[{main.function.__qualname__}:{main.function.__code__.co_firstlineno + 2}[{k}]] err {row}"
        for k, row in ((2, "c"), (1, "b"), (0, "a"))
    ]
    (explained,) = explained_flow(main.function, TWINS, Given()).functions
    assert explained.loops[0].verdict == "independent"


def test_code_before_the_first_calls_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def main(rows: list[str]) -> None:
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end:
            pass
        for row in each(rows):
            ask(row)  # in the same step

    with caplog.at_level(logging.WARNING, "apxm"):
        main.using(**SIMULATED).run(["a", "b"])
    assert not caplog.records


def test_output_that_is_caught_in_a_flow_is_the_flow_s() -> None:
    @flow
    def main(rows: list[str]) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            for row in each(rows):
                print(row, bool(ask(row)))
        return caught.getvalue()

    assert main.using(**SIMULATED)(["a", "b"]) == "a True\nb True\n"


def test_nothing_of_a_run_whose_calls_failed_outlives_it() -> None:
    def runs() -> int:
        gc.collect()
        return sum(isinstance(found, LaneRun) for found in gc.get_objects())

    @flow
    def caught(rows: list[str]) -> list[str]:
        kinds: list[str] = []
        for row in each(rows):
            try:
                ask(row, schema=int, retries=0)  # text, and a repair that is text again
            except OperationError as error:
                kinds.append(error.kind)
        return kinds

    before = runs()
    for _ in range(10):
        seen, _ = ran(lambda: caught.lanes(["a", "b"]), lambda: SECOND)
        assert len(cast("list[str]", seen.value)) == 2
    assert runs() <= before
