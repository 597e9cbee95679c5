"""What the user says of functions: which compute alone, which are done once, and which belong in a thread."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from apxm.lanes.lane import LANE
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN
from apxm.operations.plain import plain
from apxm.operations.types import JSON
from apxm.tools.functions import ToolMark, marked

P = ParamSpec("P")
R = TypeVar("R")

PURE = "__apxm_pure__"
"""The attribute of functions that the user calls pure."""


def pure(function: Callable[P, R]) -> Callable[P, R]:
    """Promises that a function changes nothing which another iteration could see: it needs no turn."""
    setattr(function, PURE, True)
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
    marked(function, ToolMark(function.__name__ if name is None else name, readonly, description))
    return pure(function) if readonly else function


class Step(Generic[P, R]):
    """A function whose result is kept in the journal of a run, so that it is not done again when that goes on."""

    def __init__(self, function: Callable[P, R], effect: bool) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.effect = effect

    def __reduce__(self) -> str:
        return self.function.__qualname__  # as functions are pickled: by the name that it has in its module

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
