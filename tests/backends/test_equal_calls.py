"""Equal calls are made once, and each gets its answer whatever becomes of the others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from apxm.backends import answers
from apxm.backends.answers import Answers
from apxm.backends.equal_calls import EqualCalls
from apxm.backends.protocol import NO_LIMITS, AnyBackend, BackendInfo, ModelAnswer, ModelRequest, Usage
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.operations.attachments import Attachment
from apxm.runtime.loops import clock_of, run_virtually

ZERO = ModelRequest("Hello?", temperature=0.0)
PAID = Usage(10, 3)


class Counting:
    """Answers after a second, by what it is told to do first."""

    info = BackendInfo("counting", "test", "m")
    limits = NO_LIMITS
    can_reason = False

    def __init__(self, *outcomes: Any) -> None:
        self.asked: list[ModelRequest] = []
        self._outcomes = list(outcomes)

    async def call(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append(request)
        outcome = self._outcomes.pop(0) if self._outcomes else None
        await asyncio.sleep(1)
        if isinstance(outcome, Exception):
            raise outcome
        return ModelAnswer(f"answer {len(self.asked)}", PAID)

    async def close(self) -> None: ...


def gathered(backend: EqualCalls, *requests: ModelRequest) -> list[Any]:
    async def all_of() -> list[Any]:
        return await asyncio.gather(*map(backend.call, requests), return_exceptions=True)

    return run_virtually(all_of())


def shared(backend: object, *parts: object) -> EqualCalls:
    return EqualCalls(cast(AnyBackend, backend), Answers(), *parts)


def test_equal_calls_are_made_once_in_flight_and_later() -> None:
    backend = shared(counting := Counting())
    assert gathered(backend, ZERO, ZERO, ZERO) == [
        ModelAnswer("answer 1", PAID), *[ModelAnswer("answer 1", Usage(0, 0))] * 2,
    ]  # fmt: skip
    assert gathered(backend, ZERO) == [ModelAnswer("answer 1", Usage(0, 0))]
    assert (len(counting.asked), backend.shared) == (1, 3)


@pytest.mark.parametrize(
    "other",
    [
        replace(ZERO, prompt="Hello!"),
        replace(ZERO, model="n"),
        replace(ZERO, max_tokens=5),
        replace(ZERO, system=""),
        replace(ZERO, attachments=(Attachment.of("a", b"1"),)),
    ],
)
def test_what_differs_in_anything_is_another_call(other: ModelRequest) -> None:
    backend = shared(counting := Counting())
    gathered(backend, ZERO, other)
    assert (len(counting.asked), backend.shared) == (2, 0)


@pytest.mark.parametrize(
    "request_",
    [
        ModelRequest("Hello?"),
        ModelRequest("Hello?", temperature=0.1),
        replace(ZERO, operation="main/a"),
        replace(ZERO, attachments=(Attachment("", url="http://a/b.png"),)),
    ],
)
def test_whatever_may_have_another_answer_is_made_each_time(request_: ModelRequest) -> None:
    backend = shared(counting := Counting())
    gathered(backend, request_, request_)
    assert (len(counting.asked), backend.shared) == (2, 0)


def test_the_temperature_of_the_backend_counts_where_a_call_says_none() -> None:
    counting = Counting()
    counting.temperature = 0.0  # type: ignore[attr-defined]
    gathered(shared(counting), ModelRequest("a"), ModelRequest("a"), ModelRequest("a", temperature=1.0))
    assert len(counting.asked) == 2


def test_where_a_call_fails_the_next_one_is_made() -> None:
    refused = BackendError("http_status", "no", retryable=True)
    backend = shared(counting := Counting(refused))
    assert gathered(backend, ZERO, ZERO, ZERO) == [
        refused, ModelAnswer("answer 2", PAID), ModelAnswer("answer 2", Usage(0, 0)),
    ]  # fmt: skip
    assert len(counting.asked) == 2


def test_where_a_call_is_given_up_the_next_one_is_made() -> None:
    backend = shared(counting := Counting())

    async def one_is_cancelled() -> list[Any]:
        first, second, third = (asyncio.ensure_future(backend.call(ZERO)) for _ in range(3))
        await asyncio.sleep(0.5)
        first.cancel()
        third.cancel()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    found = run_virtually(one_is_cancelled())
    assert found[1] == ModelAnswer("answer 2", PAID)
    assert len(counting.asked) == 2


def begun(backend: EqualCalls, act: Callable[[list[Any], list[Any]], None], count: int = 3) -> list[Any]:
    """The outcomes of calls that are begun at once; `act` gets their handles after half a second."""
    outcomes: list[Any] = [None] * count

    async def main() -> None:
        clock = clock_of(asyncio.get_running_loop(), lambda _: None)
        handles = [
            backend.begin(ZERO, clock, lambda outcome, k=k: outcomes.__setitem__(k, outcome)) for k in range(count)
        ]
        await asyncio.sleep(0.5)
        act(handles, outcomes)
        await asyncio.sleep(5)

    run_virtually(main())
    return outcomes


def test_a_backend_that_calls_back() -> None:
    backend = shared(SimulatedBackend(latency="constant:1000"))
    first, *others = begun(backend, lambda *_: None)
    assert [each.text for each in others] == [first.text] * 2
    assert [each.usage for each in others] == [Usage(0, 0)] * 2
    assert backend.shared == 2
    (later,) = begun(backend, lambda *_: None, 1)
    assert (later.text, backend.shared) == (first.text, 3)


def test_a_backend_that_calls_back_is_given_up() -> None:
    backend = shared(SimulatedBackend(latency="constant:1000"))

    def give_up(handles: list[Any], _: list[Any]) -> None:
        handles[0].cancel()
        handles[2].cancel()
        handles[0].cancel()

    first, second, third = begun(backend, give_up)
    assert (first, third, backend.shared) == (None, None, 0)
    assert second.usage != Usage(0, 0)
    all_of = begun(shared(SimulatedBackend(latency="constant:1000")), lambda handles, _: [h.cancel() for h in handles])
    assert all_of == [None] * 3


def test_a_backend_that_calls_back_fails() -> None:
    backend = shared(SimulatedBackend(latency="constant:1000", faults="503:@1"))
    first, second, third = begun(backend, lambda *_: None)
    assert isinstance(first, BackendError)
    assert second.text == third.text
    assert backend.shared == 1


def test_answers_are_kept_in_a_file_and_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "answers.sqlite"
    counting = Counting()
    for parts in (("a",), ("a",), ("b",)):
        kept = Answers(path)
        gathered(EqualCalls(cast(AnyBackend, counting), kept, *parts), ZERO)
        kept.close()
    assert len(counting.asked) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"Hello?" not in path.read_bytes()


def test_the_file_is_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr(answers, "time", lambda: next(now))
    path = tmp_path / "answers.sqlite"
    kept = Answers(path, most_bytes=1_000_000)
    for k in range(3000):
        kept.put(f"{k}".encode(), ModelAnswer("x" * 1000))
    assert kept.get(b"0") is None
    assert kept.get(b"2999") == ModelAnswer("x" * 1000)
    kept.close()
    assert path.stat().st_size < 1_500_000


def test_a_file_that_is_of_no_use_is_told_of_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"this is no database, however long it may be" * 100)
    backend = EqualCalls(cast(AnyBackend, counting := Counting()), Answers(path))
    assert [each.text for each in gathered(backend, ZERO, replace(ZERO, prompt="other"))] == ["answer 2", "answer 2"]
    assert len(counting.asked) == 2
    assert [record.message for record in caplog.records] == [
        f"answers in {path} cannot be kept: file is not a database"
    ]


def test_another_process_that_writes_holds_up_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    kept = Answers(path)
    kept.put(b"a", ModelAnswer("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kept.put(b"b", ModelAnswer("b"))
    assert (kept.get(b"a"), kept.get(b"b")) == (ModelAnswer("a"), None)
    other.execute("ROLLBACK")
    other.close()
    kept.put(b"b", ModelAnswer("b"))
    assert kept.get(b"b") == ModelAnswer("b")
    kept.close()


def test_threads_share_the_answers() -> None:
    kept = Answers()
    threads = [threading.Thread(target=kept.put, args=(b"%d" % k, ModelAnswer(f"{k}"))) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kept.get(b"%d" % k) for k in range(8)] == [ModelAnswer(f"{k}") for k in range(8)]
    kept.close()
