"""What the user says of functions: which compute alone, which are done once, and which belong in a thread."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from apxm.errors import UsageError
from apxm.lanes.lane import LANE
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN
from apxm.operations.plain import kind_of, plain
from apxm.operations.types import JSON
from apxm.source import shortened
from apxm.tools.functions import ToolMark, marked

P = ParamSpec("P")
R = TypeVar("R")

PURE = "__apxm_pure__"
"""The attribute of functions that the user calls pure."""


def refuse_others(mark: str, given: object, allowed: Callable[[Any], bool] = lambda _: False) -> None:
    """Raises `UsageError` where a decorator of this package, called `mark`, is given what is no function, nor anything
    else that is `allowed`; a class never is."""
    thing: Any = given
    if isinstance(given, _FUNCTIONS) or (not isinstance(given, _NONE) and allowed(given)):
        return
    name: str = getattr(thing, "__qualname__", None) or shortened(repr(thing), 60)
    kind: str = type(thing).__name__
    match given:
        case type():
            found, hint = f"{name} is a class", f"put `@{mark}` above its methods"
        case functools.partial():
            inner: str = getattr(cast("functools.partial[Any]", given).func, "__name__", "…")
            found, hint = f"this is a functools.partial of {inner}", f"put `@{mark}` above a `def` that calls {inner}"
        case staticmethod() | classmethod() | property():
            found, hint = f"this is a {kind} already", f"put `@{kind}` above `@{mark}`"
        case types.BuiltinFunctionType():
            found, hint = f"{name} is built in", f"put `@{mark}` above a `def` that calls it"
        case _ if hasattr(given, "__wrapped__"):
            found, hint = (
                f"{name} is a {kind.strip('_')}",
                f"put `@{mark}` right above the `def`, the other one above that",
            )
        case _ if callable(given):
            found, hint = f"this is an object of {kind}", f"put `@{mark}` above a `def` that calls it"
        case _:
            found, hint = f"{name} is {kind_of(given)}", f"write `@{mark}` above a `def`"
            if type(given) in (int, float, bool, type(None)):
                found = f"this is {kind_of(given)}"
    nouns = {"pure": "what is pure"}
    raise UsageError(f"{nouns.get(mark, f'a {mark}')} is a function, and {found}", hint=hint)


def refuse_generator(mark: str, function: Callable[..., Any]) -> None:
    """Raises `UsageError` for a function whose value is not there when it is over."""
    if inspect.isgeneratorfunction(function):
        raise UsageError(
            f"a {mark} gives a value, and {function.__qualname__} is a generator, by its `yield`",
            hint="collect what it yields in a list, and return that",
        )


_FUNCTIONS = (types.FunctionType, types.MethodType)
_NONE = (type, staticmethod, classmethod, property)


def pure(function: Callable[P, R]) -> Callable[P, R]:
    """Promises that a function changes nothing which another iteration could see: it needs no turn. Raises `UsageError`
    for what is no function."""
    inner: Any = getattr(function, "__func__", function)  # of a method, also where it is none yet
    refuse_others("pure", inner, lambda given: callable(given) and hasattr(given, "__dict__"))
    setattr(inner, PURE, True)
    return function


@overload
def tool(function: Callable[P, R]) -> Callable[P, R]: ...
@overload
def tool(
    *, name: str | None = None, description: str = "", readonly: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tool(function: Any = None, *, name: str | None = None, description: str = "", readonly: bool = False) -> Any:
    """Makes a function a tool: one that a model may call by `ask(…, tools=[…])`, and that programs of AIS may call
    which its module compiles. It stays the function that it is.

    A model is told its signature and its docstring, or the `description`. `readonly` promises that it changes nothing:
    then its calls need no turn, may overlap, and may be made again.
    """
    if function is None:
        return functools.partial(tool, name=name, description=description, readonly=readonly)
    inner: Any = getattr(function, "__func__", function)
    has_name = name is not None or hasattr(inner, "__name__")
    refuse_others("tool", inner, lambda given: callable(given) and hasattr(given, "__dict__") and has_name)
    refuse_generator("tool", inner)
    marked(inner, ToolMark(inner.__name__ if name is None else name, readonly, description))
    return pure(function) if readonly else function


class Step(Generic[P, R]):
    """A function whose result is kept in the journal of a run, so that it is not done again when that goes on."""

    def __init__(self, function: Callable[P, R], effect: bool) -> None:
        """Raises `UsageError` for what is no function, or gives no value."""
        refuse_others("step", function, lambda given: callable(given) and hasattr(given, "__wrapped__"))
        refuse_generator("step", function)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(f"a step gives a value, and {function.__qualname__} is `async`", hint="write `def`")
        functools.update_wrapper(self, function)
        self.function = function
        self.effect = effect

    def __reduce__(self) -> str:
        return self.function.__qualname__  # as functions are pickled: by the name that it has in its module

    def __get__(self, instance: object, owner: type | None = None) -> Step[P, R]:
        """It takes no object along. Raises `UsageError` for a method, whose object no journal could keep."""
        if instance is None or next(iter(inspect.signature(self.function).parameters), "") != "self":
            return self
        raise UsageError(
            f"a step is given values of JSON, and {self.function.__qualname__} is a method, whose object is none",
            hint="put `@step` above a function of the module, and call that in the method",
        )

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return self.run(self.function, *arguments, **named)

    def run(self, function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
        """Does the step by `function`, which is its own as lanes run it."""
        lane = LANE.get()
        if lane is None:
            return function(*arguments, **named)
        name = self.function.__qualname__
        if self.effect:
            lane.take_turn()
        given = plain([list(arguments), dict(named)], JSON, f"what {name} is given")
        site = site_of(lane, sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - who calls it
        return RUN.get().step(lane, name, lambda: function(*arguments, **named), given, site, self.effect)


@overload
def step(function: Callable[P, R]) -> Step[P, R]: ...
@overload
def step(*, effect: bool = False) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Any = None, *, effect: bool = False) -> Any:
    """Makes a function a step: its arguments and its result are values of JSON, and a run that goes on takes the result
    from its journal. With `effect` it does something outside: then the journal knows before that it began, and a run of
    which nobody knows whether it happened does not go on by itself."""
    if function is None:
        return functools.partial(Step, effect=effect)
    return Step(function, effect)


def thread(function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
    """Calls a function that blocks in a thread, and lets other lanes go on meanwhile."""
    lane = LANE.get()
    if lane is None:
        return function(*arguments, **named)
    return RUN.get().thread(lane, functools.partial(function, *arguments, **named))
