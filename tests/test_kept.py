"""What is kept of a function or a class goes when that does, also where it holds what it is kept of."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
from types import FunctionType
from weakref import ref

import pytest

from apxm.kept import KeptByFunctions, cached_by_function, cached_weakly


def made() -> FunctionType:
    def function() -> None: ...

    assert isinstance(function, FunctionType)
    return function


def test_a_value_that_holds_its_function_goes_with_it() -> None:
    kept, function = KeptByFunctions[object]("test"), made()
    kept[function] = [function]
    assert kept.get(function) == [function]
    assert kept.values() == [[function]]
    gone = ref(function)
    del function
    gc.collect()
    assert gone() is None
    assert kept.values() == []


def test_one_that_does_not_goes_without_the_collector() -> None:
    kept, function = KeptByFunctions[object]("test"), made()
    kept[function] = "value"
    gone = ref(function)
    gc.disable()
    try:
        del function
        assert gone() is None
    finally:
        gc.enable()


def test_a_function_that_wraps_another_one_has_not_its_value() -> None:
    kept, function = KeptByFunctions[object]("test"), made()
    kept[function] = "value"
    other = functools.wraps(function)(made())
    assert isinstance(other, FunctionType)
    assert kept.get(other) is None
    kept[other] = "other"
    assert (kept.get(function), kept.get(other)) == ("value", "other")


def test_two_of_them_keep_apart_what_they_keep() -> None:
    one, other, function = KeptByFunctions[object]("one"), KeptByFunctions[object]("other"), made()
    one[function], other[function] = 1, 2
    one.clear()
    assert (one.get(function), other.get(function)) == (None, 2)
    assert list(vars(function)) == ["__apxm_other__"]


def test_attributes_of_a_function_are_pickled_without_it() -> None:
    kept, function = KeptByFunctions[object]("test"), made()
    kept[function] = gc.get_objects  # nothing that could be pickled
    attributes = pickle.loads(pickle.dumps(vars(function)))
    again = made()
    vars(again).update(attributes)
    vars(function).update(copy.deepcopy(vars(function)))
    assert (kept.get(again), kept.get(function)) == (None, None)


def test_what_is_made_of_a_function_is_made_once_and_of_others_each_time() -> None:
    asked: list[object] = []

    @cached_by_function
    def named(function: object) -> object:
        asked.append(function)
        return [function]

    function = made()
    assert named(function) is named(function)
    assert named(len) is not named(len)
    assert named("".join) is not named("".join)
    gone = ref(function)
    asked.clear()
    del function
    gc.collect()
    assert gone() is None


def test_what_is_found_out_of_a_class_is_found_once_and_an_error_each_time() -> None:
    asked: list[str] = []

    @cached_weakly
    def named(thing: type) -> str:
        asked.append(thing.__name__)
        if not thing.__name__.istitle():
            raise ValueError("no title")
        return thing.__name__

    first = type("First", (), {})
    assert (named(first), named(first), asked) == ("First", "First", ["First"])
    for _ in range(2):
        with pytest.raises(ValueError, match="no title"):
            named(type("second", (), {}))
    assert asked == ["First", "second", "second"]
    gone = ref(first)
    del first
    gc.collect()
    assert gone() is None
