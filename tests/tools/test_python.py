"""Tools that are functions of Python: how they are called, and what is found out about them before they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import ConfigurationError, OperationError
from apxm.operations.types import FLOAT, INT, JSON, STR, Type, list_of
from apxm.runtime.loops import real_loop
from apxm.tools.python import PythonTool, imported
from apxm.tools.schemas import Declaration


def tool(function: Callable[..., Any], most: int = 16) -> PythonTool:
    return PythonTool("t", lambda: function, most=most)


def call(function: Callable[..., Any], **arguments: Any) -> object:
    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(tool(function).call(arguments)).value


def flaws(function: Callable[..., Any], result: Type = JSON, **parameters: Type) -> list[str]:
    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(tool(function).flaws(Declaration("t", parameters, result)))


def test_an_async_function_runs_in_the_loop_and_any_other_in_a_thread() -> None:
    main = threading.current_thread()
    seen: list[threading.Thread] = []

    async def waits(x: int) -> int:
        seen.append(threading.current_thread())
        return x + 1

    def blocks(x: int) -> int:
        seen.append(threading.current_thread())
        return x + 2

    assert (call(waits, x=1), call(blocks, x=1), call(partial(blocks), x=2)) == (2, 3, 4)
    assert [thread is main for thread in seen] == [True, False, False]
    assert not seen[1].is_alive() or seen[1].daemon


def test_an_object_with_an_async_call_is_called_as_one() -> None:
    class Search:
        async def __call__(self, q: str) -> str:
            return q.upper()

    assert call(Search(), q="a") == "A"


def test_what_it_is_given_is_its_own() -> None:
    given = {"xs": [2, 1]}

    def sorts(xs: list[int]) -> list[int]:
        xs.sort()
        return xs

    assert call(sorts, **given) == [1, 2]
    assert given == {"xs": [2, 1]}


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError("no such page"), "tool 't': ValueError: no such page"),
        (KeyError(), "tool 't': KeyError"),
        (SystemExit(3), "tool 't': SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_what_it_raises_is_the_failure_of_the_call(raised: BaseException, message: str, waits: bool) -> None:
    def fails() -> None:
        raise raised

    async def waits_and_fails() -> None:
        raise raised

    with pytest.raises(OperationError) as caught:
        call(waits_and_fails if waits else fails)
    assert (caught.value.kind, caught.value.message) == ("tool_failed", message)


def test_one_that_finds_nothing_next_has_failed() -> None:
    def first(xs: list[int]) -> int:
        return next(iter(xs))

    with pytest.raises(OperationError) as caught:
        call(first, xs=[])
    assert caught.value.message == "tool 't': RuntimeError: it raised StopIteration()"


def test_no_more_threads_than_it_may_have_work_at_once_also_after_calls_were_given_up() -> None:
    running, most = 0, 0
    lock, go_on, begun = threading.Lock(), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        begun.release()
        go_on.wait(60)
        with lock:
            running -= 1

    async def main() -> None:
        found = tool(work, most=2)
        first = [asyncio.create_task(found.call({})) for _ in range(2)]
        for _ in first:
            await asyncio.to_thread(begun.acquire)
        for task in first:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        others = [asyncio.create_task(found.call({})) for _ in range(4)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert running == 2  # the two that were given up still work
        go_on.set()
        await asyncio.gather(*others)

    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(main())
    assert most == 2


def search(q: str, limit: int = 5, *, strict: bool = False) -> list[str]:
    del limit, strict
    return [q]


def open_ended(q: str, **more: Any) -> Any:
    return q, more


@pytest.mark.parametrize(
    ("function", "result", "parameters", "found"),
    [
        (search, list_of(STR), {"q": STR, "limit": INT}, []),
        (search, JSON, {"q": STR}, []),
        (search, JSON, {}, ["it needs 'q', which is not declared"]),
        (search, JSON, {"q": STR, "k": INT}, ["it has no parameter 'k'; it has 'q', 'limit', 'strict'"]),
        (search, JSON, {"q": INT}, ["its 'q' is string, declared as int"]),
        (search, JSON, {"q": STR, "limit": FLOAT}, ["its 'limit' is integer, declared as float"]),
        (search, STR, {"q": STR}, ["it gives array of string, declared as str"]),
        (search, list_of(INT), {"q": STR}, ["it gives array of string, declared as list[int]"]),
        (open_ended, STR, {"q": STR, "anything": INT}, []),
        (lambda a, /: a, JSON, {"a": STR}, ["it has no parameter 'a'"]),
        (len, INT, {"obj": STR}, ["it has no parameter 'obj'"]),
    ],
)
def test_a_signature_is_held_against_the_declaration(
    function: Callable[..., Any], result: Type, parameters: dict[str, Type], found: list[str]
) -> None:
    assert flaws(function, result, **parameters) == found


def test_a_function_is_found_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_here.py").write_text("class Tools:\n    @staticmethod\n    def double(x): return 2 * x\n")
    monkeypatch.setattr("sys.path", ["nowhere"])
    assert imported("found_here:Tools.double", str(tmp_path), None)(4) == 8


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:f", "python: 'no_such_module:f' cannot be loaded: ModuleNotFoundError"),
        ("json:no_such", "python: 'json:no_such' cannot be loaded: AttributeError"),
        ("json:decoder", "python: 'json:decoder' is no function, but a module"),
        ("cannot_be_loaded:f", "python: 'cannot_be_loaded:f' cannot be loaded: ZeroDivisionError"),
    ],
)
def test_one_that_cannot_be_loaded_says_why(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "cannot_be_loaded.py").write_text("1 / 0\n")
    with pytest.raises(ConfigurationError) as caught:
        imported(spec, str(tmp_path), "here:1")
    assert caught.value.message.startswith(message)
    assert caught.value.where == "here:1"
