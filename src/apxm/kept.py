"""What is found out about an object, kept as long as there is the object: modules may be made anew as often as somebody
likes, in a notebook or by a reload."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

K = TypeVar("K")
V = TypeVar("V")


def cached_weakly(function: Callable[[K], V]) -> Callable[[K], V]:
    """As `functools.cache`, for what does not hold what it was found out about."""
    known: WeakKeyDictionary[K, V] = WeakKeyDictionary()

    @functools.wraps(function)
    def found(thing: K) -> V:
        try:
            return known[thing]
        except KeyError:
            made = known[thing] = function(thing)
            return made

    return found


class KeptByFunctions(Generic[V]):
    """Values by functions of the user's, where a value may hold its function.

    A `WeakKeyDictionary` would hold such a value for good, and with it the function: what is made of one has the names
    of its module, and these have the function. So each value is an attribute of its function, which makes the two a
    cycle like any other, for the garbage collector.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of the attribute, in the words of this package, and nobody else's."""
        self._name = f"__apxm_{name}__"
        self._functions: WeakKeyDictionary[FunctionType, None] = WeakKeyDictionary()

    def get(self, function: FunctionType) -> V | None:
        found = function.__dict__.get(self._name)
        return found.value if type(found) is _Kept and found.function() is function else None

    def __setitem__(self, function: FunctionType, value: V) -> None:
        function.__dict__[self._name] = _Kept(function, value)
        self._functions[function] = None

    def values(self) -> list[V]:
        """All of them, as of now."""
        functions = (each() for each in self._functions.keyrefs())  # at once: other threads add some
        found = [self.get(each) for each in functions if each is not None]
        return [each for each in found if each is not None]

    def clear(self) -> None:
        for each in self._functions.keyrefs():
            if (function := each()) is not None:
                function.__dict__.pop(self._name, None)
        self._functions.clear()


def cached_by_function(make: Callable[[Callable[..., Any]], V]) -> Callable[[Callable[..., Any]], V]:
    """As `functools.cache`, for what may hold the function that it was made of; of whatever else can be called, a
    method for instance, it is made each time."""
    known: KeptByFunctions[V] = KeptByFunctions(make.__name__)

    @functools.wraps(make)
    def found(function: Callable[..., Any]) -> V:
        if not isinstance(function, FunctionType):
            return make(function)
        value = known.get(function)
        if value is None:
            value = known[function] = make(function)
        return value

    return found


class _Kept:
    """A value, of that function alone: `functools.wraps` gives the attributes of a function to other ones."""

    __slots__ = ("function", "value")

    def __init__(self, function: FunctionType, value: Any) -> None:
        self.function = ref(function)
        self.value = value

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()  # who pickles the attributes of a function has no use for it
