"""The methods of the user's classes that a call by a name may mean."""

from __future__ import annotations

import types
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from typing import Any, cast

from apxm.effects.specials import SPECIAL
from apxm.effects.users import is_users, is_users_class

BEHIND = "__apxm_behind__"
"""The attribute of a function that stands in for another one: that one."""


def behind(found: Any) -> Any:
    """The user's own function, where another one stands in for it."""
    return getattr(found, BEHIND, found) if isinstance(found, types.FunctionType) else found


@contextmanager
def _example() -> Generator[None]:
    yield


_GENERATED = type(_example())
_CONTEXT = _example.__code__
"""The code of all functions under `contextmanager`."""


def runs_in_lanes(manager: object) -> bool:
    """Whether a context manager is a generator of the user's, in which the waits are put in."""
    code = getattr(getattr(manager, "gen", None), "gi_code", None)
    return type(manager) is _GENERATED and isinstance(code, types.CodeType) and is_users(code.co_filename)


def is_context(function: object) -> bool:
    """Whether a function is one under `contextmanager`."""
    return isinstance(function, types.FunctionType) and function.__code__ is _CONTEXT


def unwrapped(function: types.FunctionType) -> types.FunctionType:
    """The user's own function in one under `contextmanager`; any other one as it is."""
    inner = getattr(function, "__wrapped__", None) if is_context(function) else None
    return inner if isinstance(inner, types.FunctionType) else function


class Classes:
    """The user's classes that code can see by its names, and those that are derived from them."""

    def __init__(self, scopes: Sequence[Mapping[str, object]]) -> None:
        self._scopes = scopes

    @cached_property
    def _all(self) -> list[type]:
        """In the order of the text, as what is said of them should not change from process to process."""
        return list(dict.fromkeys(made for scope in self._scopes for made in _classes_in(scope, set())))

    def named(self, name: str) -> list[object]:
        """What the classes have by that name."""
        return _once(behind(vars(made)[name]) for made in self._all if name in vars(made))

    def of(self, made: type, name: str) -> list[object]:
        """What the name may mean for an object of a class, or of one that is derived from that."""
        return _once(behind(found) for each in _derived(made) if (found := _inherited(each, name)) is not None)

    def above(self, made: type, name: str) -> list[object]:
        """What it may mean behind ``super()``, in a method of the class."""
        mros = [each.__mro__ for each in _derived(made)]
        above = [mro[mro.index(made) + 1 :] for mro in mros]
        return _once(behind(vars(each)[name]) for mro in above for each in [_first_with(mro, name)] if each is not None)

    @cached_property
    def reached(self) -> list[type]:
        """All classes of the user's that code from here on may meet by names: of objects, and of other modules, too."""
        return list(dict.fromkeys(each for each in _reached(self._scopes) if isinstance(each, type)))

    @property
    def modules(self) -> list[dict[str, object]]:
        """The names of the modules that it may meet."""
        return [cast(dict[str, object], each) for each in _reached(self._scopes) if not isinstance(each, type)]

    @cached_property
    def specials(self) -> Mapping[str, list[types.FunctionType]]:
        """The special methods of those, by their names."""
        found: dict[str, list[types.FunctionType]] = {}
        for made in self.reached:
            for name, function in specials_of(made):
                found.setdefault(name, []).append(function)
        return found


def cached_in(found: object) -> types.FunctionType | None:
    """The user's function under `lru_cache` or `cache`; None for anything else."""
    inner: object = getattr(found, "__wrapped__", None) if type(found) is _CACHED else None
    return inner if isinstance(inner, types.FunctionType) else None


_CACHED = type(lru_cache(len))


def is_library(function: object) -> bool:
    """Whether what can be called is evidently none of the user's functions, nor made of one."""
    for _ in range(4):
        if isinstance(function, types.FunctionType) and is_users_code(function):
            return False
        inner = _made_of(function)
        if not callable(inner):
            break
        function = inner
    return not is_users_class(cast("type[object]", type(function)))


def _made_of(function: object) -> object:
    """What a `partial`, or what a decorator made of a function, calls."""
    return getattr(function, "func" if isinstance(function, partial) else "__wrapped__", None)


def function_in(found: object) -> object:
    """The function of a class method; anything else as it is."""
    return getattr(cast(object, found), "__func__", None) if isinstance(found, classmethod) else found


def specials_of(made: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The special methods of a class that the user wrote."""
    for name in SPECIAL & vars(made).keys():
        found = vars(made)[name]
        function = behind(function_in(found))
        if isinstance(function, types.FunctionType) and is_users(function.__code__.co_filename):
            yield name, function


def _reached(scopes: Sequence[Mapping[str, object]]) -> Iterator[type | Mapping[str, object]]:
    """The names of the modules, and the classes."""
    left, seen = [*scopes], {id(scope) for scope in scopes}
    met: set[type] = set()
    while left:
        scope = left.pop()
        yield scope
        named = list(scope.values())
        for value in [*named, *(function for each in named for function in _functions_in(each))]:
            inner: list[Mapping[str, object]] = []
            if isinstance(value, types.ModuleType):
                file = getattr(value, "__file__", None)
                inner = [vars(value)] if file is not None and is_users(file) else []
            elif isinstance(value, types.FunctionType):
                inner = [value.__globals__] if id(value.__globals__) not in seen and is_users_code(value) else []
            else:
                made = value if isinstance(value, type) else type(value)
                if made in met:
                    continue
                met.add(made)
                if is_users_class(made):
                    for each in _derived(made):
                        yield each
                        functions = (each for each in vars(each).values() if isinstance(each, types.FunctionType))
                        inner += [each.__globals__ for each in functions if is_users_code(each)]
            left += [scope for scope in inner if id(scope) not in seen]
            seen.update(map(id, inner))


def _functions_in(thing: Any) -> Iterator[types.FunctionType]:
    """The functions that a container of a module holds, or an object, such as a flow."""
    if isinstance(thing, list | tuple | set | frozenset | dict):
        held = cast("Collection[object]", thing.values() if isinstance(thing, dict) else thing)
    elif isinstance(thing, types.ModuleType | type | types.FunctionType):
        return
    else:
        held = cast("dict[str, object]", getattr(thing, "__dict__", {})).values()
    for each in held if len(held) <= _MOST_LOOKED_AT else ():
        inner = each.__func__ if isinstance(each, types.MethodType) else each
        if isinstance(inner, types.FunctionType):
            yield inner


_MOST_LOOKED_AT = 256
"""Containers that hold more than this hold data."""


def is_users_code(function: types.FunctionType) -> bool:
    """Whether a function is the user's own."""
    return is_users(function.__code__.co_filename)


def _first_with(classes: Sequence[type], name: str) -> type | None:
    return next((each for each in classes if name in vars(each)), None)


def _once(found: Iterator[object]) -> list[object]:
    return list({id(each): each for each in found}.values())


def _inherited(made: type, name: str) -> object:
    found = _first_with(made.__mro__, name)
    return None if found is None else vars(found)[name]


def _derived(made: type) -> list[type]:
    found = [made]
    for each in found:
        found += [derived for derived in type.__subclasses__(each) if derived not in found]
    return found


def _classes_in(scope: Mapping[str, object], seen: set[str]) -> Iterator[type]:
    for value in list(scope.values()):
        if isinstance(value, type) and is_users_class(value):
            yield from _derived(value)
        elif isinstance(value, types.ModuleType) and value.__name__ not in seen:
            seen.add(value.__name__)
            file = getattr(value, "__file__", None)
            if file is not None and is_users(file):
                yield from _classes_in(vars(value), seen)
