"""What `flow`, `step`, `tool` and `pure` are put above: a function, or an error which says what to do."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.flow import flow
from apxm.lanes.marks import PURE, pure, step, tool
from apxm.tools.functions import mark_of

MARKS: dict[str, Callable[[Any], Any]] = {"flow": flow, "step": step, "tool": tool, "pure": pure}


def double(text: str) -> str:
    return text * 2


class Counter:
    def __call__(self, text: str) -> str:
        return text

    def method(self, text: str) -> str:
        return f"{ask(text)}"

    @classmethod
    def built(cls, text: str) -> str:
        return text

    @staticmethod
    def alone(text: str) -> str:
        return text


def generator(text: str) -> Iterator[str]:
    yield text


async def coroutine(text: str) -> str:
    return text


async def async_generator(text: str) -> AsyncIterator[str]:
    yield text


REFUSED: list[tuple[str, Any, str, str]] = [
    ("flow step tool", functools.partial(double, "x"), "this is a functools.partial of double", "a `def` that calls"),
    ("flow", functools.lru_cache(double), "double is a lru_cache_wrapper", "right above the `def`"),
    ("flow", flow(double), "double is a Flow", "right above the `def`"),
    ("flow", step(double), "double is a Step", "right above the `def`"),
    ("flow step tool pure", 5, "this is 5", "above a `def`"),
    ("flow step tool pure", "x", "'x' is a str", "above a `def`"),
    ("flow step tool pure", [double], "is a list", "above a `def`"),
    ("flow", None, "this is None", "above a `def`"),
    ("flow step tool pure", Counter, "Counter is a class", "above its methods"),
    ("flow step tool", Counter(), "this is an object of Counter", "above a `def`"),
    ("flow step", staticmethod(double), "this is a staticmethod already", "put `@staticmethod` above `@"),
    ("flow step", vars(Counter)["built"], "this is a classmethod already", "put `@classmethod` above `@"),
    ("flow step tool pure", property(double), "this is a property already", "put `@property` above `@"),
    ("flow step tool pure", len, "len is built in", "a `def` that calls it"),
    ("flow step", coroutine, "coroutine is `async`", "write `def`"),
    ("flow step", async_generator, "async_generator is `async`", "write `def`"),
    ("flow step tool", generator, "generator is a generator, by its `yield`", "collect what it yields"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mark", "given", "said", "hint"),
    [(mark, *told) for marks, *told in REFUSED for mark in marks.split()],
)
def test_what_is_no_function_is_refused_where_it_is_marked(mark: str, given: Any, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        MARKS[mark](given)
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")
    assert mark in str(refused.value)


def test_methods_are_marked_however_they_are_had() -> None:
    class Tools:
        @tool(readonly=True)
        @staticmethod
        def first(text: str) -> str:
            return text

        @pure
        @classmethod
        def second(cls, text: str) -> str:
            return text

    assert mark_of(Tools.first) is not None
    assert getattr(Tools.first, PURE)
    assert getattr(Tools.second, PURE)
    assert pure(Counter().method)
    assert getattr(Counter.method, PURE)


def test_what_works_goes_on_to() -> None:
    assert flow(Counter().method).using(backend="simulated", latency="constant:1")("x")
    assert step(functools.lru_cache(double))("x") == "xx"
    assert mark_of(tool(functools.lru_cache(double))) is not None
    assert mark_of(tool(name="doubled")(functools.partial(double, "x"))) is not None
    assert getattr(pure(functools.partial(double, "x")), PURE)


def test_a_step_that_is_a_method_says_that_its_object_is_no_value() -> None:
    class Pipeline:
        @step
        def done(self, text: str) -> str:
            return text

        @staticmethod
        @step
        def alone(text: str) -> str:
            return text

    assert Pipeline().alone("x") == "x"
    with pytest.raises(UsageError, match=r"Pipeline\.done is a method"):
        _ = Pipeline().done
