"""Whatever a backend gives or raises, and whatever the caller's own functions raise: the run ends, and says so."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import apxm
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.errors import BackendError, ConfigurationError, OperationError
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually, run_virtually
from tests.plans import ask, give, plan, program, show

PATIENCE_S = 30
Act = Callable[[], Any]


class Mine:
    """A backend of the caller's own, of both styles at once: `ready` chooses one."""

    limits = Limits(retries=0)
    can_reason = False
    info = BackendInfo("b", "mine", "m", simulated=True)

    def __init__(self, act: Act) -> None:
        self.act = act

    async def close(self) -> None: ...


class Coroutine(Mine):
    async def call(self, _request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(0.001)
        return self.act()


class Callback(Mine):
    def begin(self, _request: ModelRequest, clock: Clock, done: Callable[[Any], None]) -> Handle:
        return clock.call_at(clock.now() + 1_000_000, lambda: done(self.act()))


class Begin(Mine):
    def begin(self, *_: object) -> Any:
        return self.act()


ONE = program(plan(ask("x"), give(0)))
TWO = program(plan(ask("x"), show(0), ask(0), give(2)))


def virtually(p: Program, backend: Any, options: RunOptions | None = None) -> Trace:
    run = Run(LoadedProgram(p), p.flows[0], (), BackendPool({"b": backend}, "b"), options)
    return run_virtually(run.execute())


def really(
    p: Program, backend: Any, options: RunOptions | None = None, *, folder: Path | None = None, required: bool = False
) -> apxm.Result:
    """As a caller of the API does; with a journal where a folder is given."""
    options = options or RunOptions()
    journal: dict[str, Any] = {"journal": False}
    if folder is not None:
        journal = {"journal": True, "journal_dir": folder, "require_journal": required}
    return apxm.run(
        p, backends=apxm.BackendPool({"b": backend}, "b"), output=options.output, timeout_s=PATIENCE_S,
        max_total_tokens=options.max_total_tokens, **journal,
    )  # fmt: skip


class Words(str):
    __slots__ = ()


class Number(int):
    pass


def gives(value: object) -> Act:
    return lambda: value


FLAWS = {
    "nothing": (gives(None), "gave a NoneType, expected a ModelAnswer"),
    "a text": (gives("text"), "gave a str, expected a ModelAnswer"),
    "a dict": (gives({"text": "x"}), "gave a dict"),
    "the class": (gives(ModelAnswer), "gave a StructMeta"),
    "a number as text": (lambda: ModelAnswer(5), "whose text is a int"),  # type: ignore[arg-type]
    "bytes as text": (lambda: ModelAnswer(b"x"), "whose text is a bytes"),  # type: ignore[arg-type]
    "no text": (lambda: ModelAnswer(None), "whose text is a NoneType"),  # type: ignore[arg-type]
    "no usage": (lambda: ModelAnswer("x", None), "whose usage is a NoneType, expected a Usage"),  # type: ignore[arg-type]
    "usage as a dict": (lambda: ModelAnswer("x", {"input_tokens": 1}), "whose usage is a dict"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("style", [Coroutine, Callback])
@pytest.mark.parametrize("flaw", FLAWS)
def test_what_is_no_answer_is_a_defect_of_the_backend(style: type[Mine], flaw: str) -> None:
    act, message = FLAWS[flaw]
    [failure] = virtually(ONE, style(act)).failures
    assert failure.kind == "backend_defect"
    assert "backend 'b'" in failure.message
    assert message in failure.message


@pytest.mark.parametrize("flaw", FLAWS)
def test_it_is_one_in_real_time_with_a_journal_and_a_budget_too(tmp_path: Path, flaw: str) -> None:
    with pytest.raises(apxm.RunFailed, match="backend_defect"):
        really(ONE, Coroutine(FLAWS[flaw][0]), RunOptions(max_total_tokens=100_000), folder=tmp_path, required=True)


NUMBERS = {
    "tokens as text": lambda: ModelAnswer("x", Usage("1", 2)),  # type: ignore[arg-type]
    "half a token": lambda: ModelAnswer("x", Usage(1, 2.5)),  # type: ignore[arg-type]
    "a truth as tokens": lambda: ModelAnswer("x", Usage(1, True)),
    "seconds of service": lambda: ModelAnswer("x", Usage(), 0.5),  # type: ignore[arg-type]
    "service before the call": lambda: ModelAnswer("x", Usage(), -1),
}


@pytest.mark.parametrize("style", [Coroutine, Callback])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_cannot_be_is_not_said_and_the_answer_is_kept(style: type[Mine], number: str) -> None:
    trace = virtually(ONE, style(NUMBERS[number]))
    assert trace.failures == []
    [attempt] = trace.operations[0].attempts
    assert (attempt.outcome, attempt.service_ns) == ("ok", None)


@pytest.mark.parametrize("style", [Coroutine, Callback])
def test_texts_and_numbers_of_subclasses_are_answers(style: type[Mine], tmp_path: Path) -> None:
    backend = style(lambda: ModelAnswer(Words("words"), Usage(Number(1), Number(2)), Number(3)))
    result = really(ONE, backend, folder=tmp_path, required=True)
    assert result.value == "words"
    assert type(result.value) is str


class Odd(BaseException):
    pass


class UnspeakableError(Exception):
    def __repr__(self) -> str:
        raise ValueError

    __str__ = __repr__


def raising(error: BaseException) -> Act:
    def act() -> None:
        raise error

    return act


ODD = [ZeroDivisionError("oops"), StopIteration(5), StopAsyncIteration(), Odd("odd"), GeneratorExit(),
       UnspeakableError(), BaseExceptionGroup("several", [Odd()])]  # fmt: skip


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("style", [Coroutine, Begin])
@pytest.mark.parametrize("journaled", [False, True])
def test_what_a_backend_raises_is_its_defect(
    style: type[Mine], error: BaseException, journaled: bool, tmp_path: Path
) -> None:
    with pytest.raises(apxm.RunFailed) as failed:
        really(ONE, style(raising(error)), folder=tmp_path if journaled else None)
    [failure] = failed.value.result.failures
    assert failure.kind == "backend_defect"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("style", [Coroutine, Begin])
def test_an_interruption_that_a_backend_meets_ends_the_run(style: type[Mine], error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        really(ONE, style(raising(error)))
    assert raised.value is error


ERRORS = [*ODD[:2], StopAsyncIteration(), Odd(), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(),
          OperationError("kind", "mine"), apxm.UsageError("mine")]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("style", [Coroutine, Callback])
@pytest.mark.parametrize("journaled", [False, True])
def test_what_output_raises_is_raised_to_the_caller(
    style: type[Mine], error: BaseException, journaled: bool, tmp_path: Path
) -> None:
    backend = style(gives(ModelAnswer("t")))
    with pytest.raises(type(error)) as raised:
        really(TWO, backend, RunOptions(output=lambda _: raising(error)()), folder=tmp_path if journaled else None)
    assert raised.value is error


def test_a_runtime_error_of_the_callers_own_stays_one() -> None:
    def lines() -> Any:
        yield from ()
        raise StopIteration

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        really(TWO, Coroutine(gives(ModelAnswer("t"))), RunOptions(output=lambda _: next(lines())))


def test_what_warn_raises_is_raised_to_the_caller() -> None:
    backend = ScriptedBackend(lambda _: BackendError("http_status", "busy", retryable=True), retries=5)
    with pytest.raises(LookupError):
        execute_virtually(ONE, backend, options=RunOptions(warn=lambda _: raising(LookupError())()))


def test_after_an_error_of_the_caller_nothing_more_is_asked() -> None:
    backend = ScriptedBackend()
    p = program(plan(ask("x"), show(0), ask(0), ask("y"), give(2)))
    with pytest.raises(LookupError):
        execute_virtually(p, backend, options=RunOptions(output=lambda _: raising(LookupError())()))
    assert backend.prompts == ["x", "y"]


def test_what_a_timer_of_a_backend_raises_is_raised_to_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        virtually(ONE, Callback(lambda: 1 // 0))
    with pytest.raises(ZeroDivisionError):
        really(ONE, Callback(lambda: 1 // 0))


class Told(Mine):
    """Ends its calls as `tell` does with what it is given."""

    def __init__(self, tell: Callable[[Callable[[Any], None]], Any], limits: Limits = Mine.limits) -> None:
        self.tell = tell
        self.limits = limits

    def begin(self, _request: ModelRequest, _clock: Clock, done: Callable[[Any], None]) -> Any:
        return self.tell(done)


def chain(length: int) -> Program:
    return program(plan(ask("x"), *[ask(i) for i in range(length - 1)], give(length - 1)))


def test_an_answer_from_inside_begin_is_one() -> None:
    assert virtually(chain(2000), Told(lambda done: done(ModelAnswer("t")))).value == "t"


def test_of_two_answers_the_first_counts() -> None:
    def twice(done: Callable[[Any], None]) -> None:
        done(ModelAnswer("first"))
        done(ModelAnswer("second"))

    trace = virtually(chain(3), Told(twice))
    assert (trace.value, trace.executed) == ("first", 3)


def test_a_late_answer_to_an_attempt_that_failed_is_not_one_to_the_next() -> None:
    dones: list[Callable[[Any], None]] = []

    def tell(done: Callable[[Any], None]) -> None:
        dones.append(done)
        if len(dones) == 1:
            done(BackendError("connection", "lost", retryable=True))
        else:
            dones[0](ModelAnswer("late"))
            done(ModelAnswer("right"))

    assert virtually(ONE, Told(tell, Limits(retries=1))).value == "right"


def test_an_answer_that_another_thread_brings_is_one() -> None:
    def tell(done: Callable[[Any], None]) -> None:
        threading.Thread(target=done, args=(ModelAnswer("t"),)).start()

    assert really(chain(20), Told(tell)).value == "t"


class BrokenHandle:
    def cancel(self) -> None:
        raise ValueError


@pytest.mark.parametrize("handle", [None, BrokenHandle(), object()])
def test_a_call_that_is_never_answered_ends_with_its_time_whatever_its_handle(handle: object) -> None:
    trace = virtually(ONE, Told(lambda _: handle, Limits(timeout_s=1, retries=1)))
    assert [failure.kind for failure in trace.failures] == ["timeout"]
    assert virtually(ONE, Told(lambda _: handle), RunOptions(timeout_s=1)).status is Status.STOPPED


@pytest.mark.parametrize(
    "error",
    [OperationError(None, "x"), BackendError("busy", "x", retryable=True, retry_after_s="5")],  # type: ignore[arg-type]
)
@pytest.mark.parametrize("style", [Coroutine, Callback])
def test_an_error_that_is_not_as_it_should_be_is_a_defect(style: type[Mine], error: BaseException) -> None:
    act = raising(error) if style is Coroutine else gives(error)
    [failure] = virtually(ONE, style(act)).failures
    assert failure.kind == "backend_defect"


def test_other_operations_go_on() -> None:
    answers = iter([None, ModelAnswer("t")])
    trace = virtually(program(plan(ask("x"), ask("y"), give(1))), Callback(partial(next, answers)))
    assert [failure.operation for failure in trace.failures] == ["n0"]
    assert trace.executed == 2


@pytest.mark.parametrize("patience", ["x", float("nan"), float("inf")])
def test_an_error_that_hopes_in_vain_is_a_defect(patience: Any) -> None:
    def act() -> Any:
        raise BackendError("u", "x", retryable=True, patience_s=patience)

    [failure] = virtually(ONE, Coroutine(act)).failures
    assert failure.kind == "backend_defect"
    assert "patience_s" in failure.message


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"limits": Limits(max_concurrency=0)}, "limits.max_concurrency must be at least 1, not 0"),
        ({"limits": Limits(tokens_per_minute="many")}, "limits.tokens_per_minute must be"),  # type: ignore[arg-type]
        ({"limits": Limits(timeout_s=float("nan"))}, "limits.timeout_s must be a number"),
        ({"limits": None}, "its limits are a NoneType"),
        ({"info": None}, "its info is a NoneType"),
        ({"info": BackendInfo("b", "k", "m", simulated="http://h")}, "its info.simulated is a str"),  # type: ignore[arg-type]
        ({"call": None}, "neither a method begin nor a method call"),
    ],
)
def test_what_no_run_could_use_is_refused_before_there_is_one(attributes: dict[str, Any], message: str) -> None:
    backend = Coroutine(gives(ModelAnswer("x")))
    for name, value in attributes.items():
        setattr(backend, name, value)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        BackendPool({"b": backend}, "b")


def test_a_begin_that_nobody_would_await_is_refused() -> None:
    class Awaited(Mine):
        async def begin(self, *_: object) -> None: ...

    with pytest.raises(ConfigurationError, match="its begin is an async function"):
        BackendPool({"b": Awaited(gives(ModelAnswer("x")))}, "b")  # type: ignore[dict-item]
