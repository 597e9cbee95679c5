"""The methods of the user's classes that a call by a name may mean."""

from __future__ import annotations

import types
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from apxm.effects.users import is_users, is_users_class


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
        return _once(vars(made)[name] for made in self._all if name in vars(made))

    def of(self, made: type, name: str) -> list[object]:
        """What the name may mean for an object of a class, or of one that is derived from that."""
        return _once(found for each in _derived(made) if (found := _inherited(each, name)) is not None)

    def above(self, made: type, name: str) -> list[object]:
        """What it may mean behind ``super()``, in a method of the class."""
        mros = [each.__mro__ for each in _derived(made)]
        above = [mro[mro.index(made) + 1 :] for mro in mros]
        return _once(vars(each)[name] for mro in above for each in [_first_with(mro, name)] if each is not None)


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
