"""Answers that come in parts: the first part's instant, its time limit, and the text of the result, on virtual time."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from apxm.api import compile_text
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.result_text import TextPart
from apxm.runtime.scheduler import Run
from apxm.runtime.streaming import _Stream
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend

BOTH_LEVELS = pytest.mark.parametrize("level", [0, 1])


def flow(body: str, *, level: int = 1, result: str = "str", others: str = "") -> Program:
    return compile_text(f"agent A {{\n@entry flow main() -> {result} {{\n{body}\n}}\n{others}\n}}", level=level)


class Heard(list[tuple[float, str]]):
    """What a run told of, in ms and in order: lines as they are, parts of the text in quotes."""

    clock: Callable[[], int]

    def line(self, text: str) -> None:
        self.append((self.clock() / 1e6, text))

    def part(self, part: TextPart) -> None:
        self.append((self.clock() / 1e6, f"{'anew ' * part.anew}{part.text!r}"))


def execute(program: Program, backend: Any, *, hears: bool = True, **options: Any) -> tuple[Trace, Heard]:
    heard = Heard()

    async def run() -> Trace:
        heard.clock = asyncio.get_running_loop().now  # type: ignore[attr-defined]  # of the virtual loop
        listeners: dict[str, Any] = {"output": heard.line, "on_text": heard.part} if hears else {}
        told = RunOptions(**{**listeners, **options})
        pool = BackendPool({backend.info.name: backend}, backend.info.name)
        return await Run(LoadedProgram(program), program.flows[program.entry or 0], (), pool, told).execute()

    return run_virtually(run()), heard


def words(text: str = "one two three four", first_ms: float = 200, **says: Any) -> ScriptedBackend:
    """Answers in words, the first after 0.2 s, the others evenly until the answer is whole after a second."""
    return ScriptedBackend(script=lambda _: text, first_token_ms=lambda _: first_ms, **says)


# --- the text ------------------------------------------------------------------------------------------------------


@BOTH_LEVELS
def test_the_result_is_told_in_parts_as_they_come(level: int) -> None:
    trace, heard = execute(flow('return ask("Q")', level=level), words())
    assert heard == [(200, "'one '"), (400, "'two '"), (600, "'three '"), (800, "'four'")]
    assert trace.value == "one two three four"
    assert trace.duration == 1_000_000_000


NESTED = """
    switch ask("Which?") {
        case "a" => "It is a."
        case "b" => { ask("Ideas?") -> ideas  return inner(ideas) }
    } -> answer
    return answer
"""
INNER = 'flow inner(text: str) -> str { ask("Check " + text) -> checked  return ask("Write.", checked) }'


@BOTH_LEVELS
def test_the_result_may_be_the_answer_of_a_call_in_a_frame_in_a_frame(level: int) -> None:
    backend = ScriptedBackend(
        script=lambda request: "b" if request.prompt == "Which?" else "so it is", first_token_ms=lambda _: 500
    )
    trace, heard = execute(flow(NESTED, level=level, others=INNER), backend)
    assert [text for _, text in heard] == ["'so '", "'it '", "'is'"]
    assert heard[0][0] == 3500
    assert trace.status is Status.SUCCEEDED


@BOTH_LEVELS
def test_a_flow_that_is_called_twice_gives_the_result_once(level: int) -> None:
    source = 'inner("1") -> one  return inner(one)'
    _, heard = execute(flow(source, level=level, others="flow inner(q: str) -> str { return ask(q) }"), words("a b"))
    assert heard == [(1200, "'a '"), (1600, "'b'")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('ask("Q") -> a  return a + "!"', "one two three four!"),
        ('ask("Q") -> a  ask("R") -> b  return merge(a, b)', "one two three four\none two three four"),
        ('switch "a" { case "a" => "as it is"  default => ask("Q") } -> a  return a', "as it is"),
        ('return ""', ""),
    ],
)
def test_a_result_that_no_single_call_gives_is_told_whole_at_the_end(body: str, told: str) -> None:
    trace, heard = execute(flow(body), words())
    assert heard == ([(trace.duration / 1e6, repr(told))] if told else [])


def test_a_result_that_is_no_text_is_told_in_its_text_form() -> None:
    _, heard = execute(flow('ask("Q") -> a  return {"a": a}', result="json"), words("x"))
    assert heard == [(1000, """'{"a":"x"}'""")]


@BOTH_LEVELS
def test_the_text_comes_behind_all_that_is_printed(level: int) -> None:
    """The last line is printed after 0.7 s; what came of the answer until then was held back."""
    body = 'ask("Q") -> a  ask("line") -> l  switch l { case "no" => {} default => { print("got", l) } }  return a'
    backend = words()
    backend.latency_ms = lambda request: 700 if request.prompt == "line" else 1000
    _, heard = execute(flow(body, level=level), backend)
    assert heard == [(700, "got one two three four"), (800, "'one two three four'")]


def test_what_is_printed_of_the_answer_itself_stands_before_it() -> None:
    _, heard = execute(flow('ask("Q") -> a  print(a)  return a'), words("a b"))
    assert heard == [(1000, "a b"), (1000, "'a b'")]


def test_a_line_that_is_not_printed_as_its_call_failed_holds_nothing_up() -> None:
    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("http_status", "no", retryable=False) if request.prompt == "bad" else "a b"

    backend = ScriptedBackend(script=script, latency_ms=lambda r: 100 if r.prompt == "bad" else 1000)
    backend.first_token_ms = lambda request: 100 if request.prompt == "bad" else 200
    trace, heard = execute(flow('ask("bad") -> x  print(x)  return ask("Q")'), backend)
    assert heard == [(200, "'a '"), (600, "'b'")]
    assert trace.status is Status.FAILED


def test_a_simulated_backend_tells_its_tokens_when_its_latency_is_over() -> None:
    trace, heard = execute(flow('return ask("Hi")'), SimulatedBackend(latency="constant:250"))
    assert {at for at, _ in heard} == {250}
    assert "".join(text[1:-1] for _, text in heard) == trace.value
    assert len(heard) == 8
    assert trace.operations[0].attempts[0].first == 250_000_000


# --- attempts that fail --------------------------------------------------------------------------------------------


class Breaking:
    """Tells some of its words each second, then breaks off, or is done where a line of them ends in a full stop."""

    info = BackendInfo(name="b", kind="test", model="m", simulated=True)
    limits = Limits(retries=3)
    can_reason = False

    def __init__(self, *attempts: str, retryable: bool = True) -> None:
        self.attempts = list(attempts)
        self.retryable = retryable

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        return self.begin_stream(request, clock, lambda _: None, done)

    def begin_stream(
        self, _request: ModelRequest, clock: Clock, tell: Callable[[str], None], done: Callable[..., None]
    ) -> Handle:
        text = self.attempts.pop(0)

        def end() -> None:
            for word in text.split(" "):
                tell(word)
            if text.endswith("."):
                done(ModelAnswer(text.replace(" ", "")))
            else:
                done(BackendError("connection", "lost", retryable=self.retryable))

        return clock.call_at(clock.now() + 1_000_000_000, end)

    async def close(self) -> None: ...


def told(*attempts: str, **says: Any) -> list[str]:
    return [text for _, text in execute(flow('return ask("Q")'), Breaking(*attempts, **says))[1]]


def test_an_attempt_that_says_the_same_again_goes_on_where_the_one_before_broke_off() -> None:
    assert told("a b c", "a bc", "ab c d e.") == ["'a'", "'b'", "'c'", "'d'", "'e.'"]


def test_an_attempt_that_says_something_else_begins_the_text_anew() -> None:
    assert told("a b c", "a b x y.") == ["'a'", "'b'", "'c'", "anew 'abx'", "'y.'"]
    assert told("a b c", "a b.") == ["'a'", "'b'", "'c'", "anew 'ab.'"]
    assert told("a b c", "x", "a b c d.") == ["'a'", "'b'", "'c'", "anew 'x'", "anew 'a'", "'b'", "'c'", "'d.'"]


def test_an_answer_that_is_shorter_than_what_was_told_begins_anew() -> None:
    assert told("a. b c", "a.") == ["'a.'", "'b'", "'c'", "anew 'a.'"]


def test_what_was_told_of_an_answer_that_fails_for_good_stands() -> None:
    trace, heard = execute(flow('return ask("Q")'), Breaking("a b", retryable=False))
    assert [text for _, text in heard] == ["'a'", "'b'"]
    assert [failure.kind for failure in trace.failures] == ["connection"]


def test_what_the_listener_raises_ends_the_run() -> None:
    class MyError(Exception):
        pass

    def listen(part: TextPart) -> None:
        raise MyError(part.text)

    with pytest.raises(MyError, match="one"):
        execute(flow('return ask("Q")'), words(), on_text=listen)
    with pytest.raises(MyError, match="whole"):
        execute(flow('return "whole"'), words(), on_text=listen)


def test_a_part_that_is_no_text_is_a_defect_of_the_backend() -> None:
    class Wrong(Breaking):
        def begin_stream(self, _request: Any, clock: Any, tell: Any, done: Any) -> Handle:
            tell(b"bytes")
            return super().begin_stream(_request, clock, tell, done)

    trace, _ = execute(flow('return ask("Q")'), Wrong("whole."))
    assert "a part of an answer that is a bytes, expected a str" in trace.failures[0].message


def test_parts_after_the_end_or_from_an_attempt_before_are_nobodys() -> None:
    class Late(Breaking):
        tells: tuple[Callable[[str], None], ...] = ()

        def begin_stream(self, _request: Any, clock: Any, tell: Any, done: Any) -> Handle:
            self.tells = (*self.tells, tell)
            handle = super().begin_stream(_request, clock, tell, done)
            if len(self.tells) == 2:
                self.tells[0]("early")
            return handle

    backend = Late("a", "a b.")
    trace, heard = execute(flow('return ask("Q")'), backend)
    backend.tells[1]("late")
    assert [text for _, text in heard] == ["'a'", "'b.'"]
    assert trace.value == "ab."


# --- time limits ---------------------------------------------------------------------------------------------------


def test_an_attempt_whose_first_part_comes_too_late_fails_and_is_tried_again() -> None:
    latencies = iter([900, 300])
    backend = words(retries=1)
    backend.first_token_ms = lambda _: next(latencies)
    trace, heard = execute(flow('return ask("Q", timeout_first_token: 0.5)'), backend)
    first, second = trace.operations[0].attempts
    assert (first.outcome, first.received - first.sent, first.first) == ("timeout", 500_000_000, None)
    assert second.outcome == "ok"
    assert second.first == second.sent + 300_000_000
    assert [call.cancelled for call in backend.calls] == [True, False]
    assert heard[0][0] == (second.sent + 300_000_000) / 1e6


def test_a_first_part_at_the_very_instant_is_in_time() -> None:
    trace, _ = execute(flow('return ask("Q", timeout_first_token: 0.2)'), words(), hears=False)
    assert trace.status is Status.SUCCEEDED


def test_the_limit_of_the_backend_holds_for_all_its_calls_and_that_of_a_call_goes_before_it() -> None:
    body = 'ask("Q") -> a  ask("R", timeout_first_token: 1) -> b  return merge(a, b)'
    trace, _ = execute(flow(body), words(timeout_first_token_s=0.1), hears=False)
    assert [record.attempts[-1].outcome for record in trace.operations] == ["timeout", "ok"]
    assert trace.failures[0].message == "no first part of an answer from backend 'scripted' within 0.1 s"


def test_an_answer_that_comes_whole_is_its_own_first_part() -> None:
    class Whole(ScriptedBackend):
        begin_stream = None  # type: ignore[assignment]

    for limit, outcome in ((0.9, "timeout"), (1.1, "ok")):
        source = flow(f'return ask("Q", timeout_first_token: {limit})')
        trace, heard = execute(source, Whole(script=lambda _: "whole"))
        assert trace.operations[0].attempts[0].outcome == outcome
        assert trace.operations[0].attempts[0].first is None
    assert heard == [(1000, "'whole'")]


def test_the_limit_of_the_whole_answer_holds_all_the_same() -> None:
    trace, heard = execute(flow('return ask("Q", timeout: 0.5, timeout_first_token: 0.3)'), words())
    assert [text for _, text in heard] == ["'one '", "'two '"]
    assert trace.failures[0].message == "no answer from backend 'scripted' within 0.5 s"
    assert trace.operations[0].attempts[0].first == 200_000_000


class InTask:
    """As `words`, in a task."""

    info = BackendInfo(name="b", kind="test", model="m", simulated=True)
    limits = Limits(retries=0)
    can_reason = False

    def __init__(self, *, thread: bool = False) -> None:
        self.thread = thread

    async def call(self, request: ModelRequest) -> ModelAnswer:
        return await self.call_stream(request, lambda _: None)

    async def call_stream(self, _request: ModelRequest, tell: Callable[[str], None]) -> ModelAnswer:
        await asyncio.sleep(0.2)
        tell("")
        for word in ("one", "two"):
            await asyncio.sleep(0.4)
            if self.thread:
                other = threading.Thread(target=tell, args=(word,))
                other.start()
                other.join()
            else:
                tell(word)
        return ModelAnswer("onetwo")

    async def close(self) -> None: ...


@pytest.mark.parametrize("thread", [False, True])
def test_a_backend_in_a_task_tells_parts_likewise(thread: bool) -> None:
    trace, heard = execute(flow('return ask("Q", timeout_first_token: 0.3)'), InTask(thread=thread))
    assert heard == [(600, "'one'"), (1000, "'two'")]
    assert trace.operations[0].attempts[0].first == 200_000_000


def test_a_task_whose_first_part_comes_too_late_is_ended() -> None:
    trace, heard = execute(flow('return ask("Q", timeout_first_token: 0.1)'), InTask())
    assert trace.failures[0].message == "no first part of an answer from backend 'b' within 0.1 s"
    assert (trace.duration, heard) == (100_000_000, [])


def test_without_a_listener_and_a_limit_no_answer_comes_in_parts() -> None:
    trace, _ = execute(flow('return ask("Q")'), words(), hears=False)
    assert trace.operations[0].attempts[0].first is None


def test_nothing_keeps_a_streamed_call_that_is_over() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, _Stream) for each in gc.get_objects())

    before = alive()
    execute(flow('return ask("Q", timeout_first_token: 9)'), words())
    assert alive() == before
