"""`flow`: what makes a function of ordinary Python a program whose calls overlap."""

from __future__ import annotations

import ast
import functools
import importlib
import operator
import os
import pickle
import types
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from apxm.api import to_the_end
from apxm.config.invocation import Invocation
from apxm.effects.users import is_users
from apxm.errors import UsageError
from apxm.flows.batch import each_input, refuse
from apxm.flows.twins import TWINS, FlowBase
from apxm.lanes.lane import LANE, MOST_OPEN
from apxm.lanes.marks import Step, pure, refuse_generator, refuse_others, step
from apxm.lanes.running import part, refuse_options, refuse_own, run_flow
from apxm.lanes.tracebacks import kept
from apxm.rewriting.promises import HERE
from apxm.session import Result

if TYPE_CHECKING:
    from apxm.explaining.text import Explained


P = ParamSpec("P")
R = TypeVar("R")


class Flow(FlowBase, Generic[P, R]):
    """A function of ordinary Python whose calls of models overlap, as far as its loops promise that they may."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any] | None = None) -> None:
        """Raises `UsageError` for what has no meaning in lanes, and for options that are none."""
        refuse_options(options or {})
        functools.update_wrapper(self, function)
        self.function = function
        self._options = options or {}
        TWINS.of(function)  # what has no meaning in lanes is told of now
        TWINS.refuse_generators(function)

    def __repr__(self) -> str:
        return f"<flow {self.function.__qualname__}>"

    @property
    def lanes(self) -> Callable[P, R]:
        """The function as lanes run it; without a source it is the function itself, and nothing in it overlaps."""
        return (TWINS.of(self.function) if HERE.overlap else None) or self.function

    @property
    def called_in_lane(self) -> Callable[P, R]:
        """The function, where nothing else is to be done: a flow that calls itself goes as deep as any function."""
        plain = LANE.get() is not None and not self._options and HERE.returned is None
        return self.lanes if plain else self

    @property
    def said(self) -> dict[str, Any]:
        """The options of its runs, as `using` was told them."""
        return dict(self._options)

    def using(self, **options: Any) -> Flow[P, R]:
        """The same flow with options of its runs: those of `apxm.run`, such as ``backend="simulated"``."""
        return Flow(self.function, {**self._options, **options})

    def __reduce__(self) -> Any:
        """By the name that it has in its module, as functions are pickled."""
        function, instance = self.function, ()
        if isinstance(function, types.MethodType):
            function, instance = function.__func__, (function.__self__,)
        module, name = function.__module__, function.__qualname__
        named = _named(module, name)
        if not isinstance(named, Flow) or named.function is not function:
            raise pickle.PicklingError(f"there is no flow {name} in {module}: other processes find a flow by its name")
        return _unpickled, (module, name, instance, self._options)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A method that is a flow, of an instance."""
        if instance is None:
            return self
        return Flow(types.MethodType(self.function, instance), self._options)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Runs it, and gives what it returns; inside of another flow it is part of that one's run. Raises what `run`
        does."""
        if LANE.get() is not None:
            if self._options:
                refuse_own(self.function.__qualname__, self._options)
            return self._in_lane(*arguments, **named)
        return self.run(*arguments, **named).value  # type: ignore[return-value]  # a run keeps it as it is

    def run(self, *arguments: P.args, **named: P.kwargs) -> Result:
        """Runs it to its end. Raises what it raises; `RunFailed` where a limit ended it; `UsageError` inside a running
        event loop. In a lane, as in a script that `apxm run` runs, it is part of the run of that."""
        if LANE.get() is not None:
            return self._part(*arguments, **named)
        return self._to_the_end(self._run(lambda: self.lanes(*arguments, **named), shows=True), "run")

    async def run_async(self, *arguments: P.args, **named: P.kwargs) -> Result:
        """As `run`, inside the caller's event loop."""
        if LANE.get() is not None:
            return self._part(*arguments, **named)
        return await self._run(lambda: self.lanes(*arguments, **named))

    def _part(self, *arguments: P.args, **named: P.kwargs) -> Result:
        return part(lambda: self._in_lane(*arguments, **named), self.function.__qualname__, self._options)

    def _in_lane(self, *arguments: P.args, **named: P.kwargs) -> R:
        value = self.lanes(*arguments, **named)
        if HERE.returned is not None:
            HERE.returned(self.function.__qualname__, value)
        return value

    def resume(self, run_id: str, /, *arguments: P.args, **named: P.kwargs) -> Result:
        """Goes on with a run that was journaled, given the arguments that it had: the code runs again, and whatever was
        answered is not asked again. Raises `JournalError` where it asks something else than it did."""
        running = self._run(lambda: self.lanes(*arguments, **named), run_id, shows=True)
        return self._to_the_end(running, "resume")

    async def resume_async(self, run_id: str, /, *arguments: P.args, **named: P.kwargs) -> Result:
        """As `resume`, inside the caller's event loop."""
        return await self._run(lambda: self.lanes(*arguments, **named), run_id)

    def explain(
        self,
        lengths: Mapping[str, object] | None = None,
        /,
        *,
        profile: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
        p: Sequence[int] = (1, 8, 64),
        **arguments: object,
    ) -> Explained:
        """What overlaps in it, what waits and why, and how many calls it makes, as ``apxm explain`` says; nothing runs.

        `arguments` are those that it would be called with, or the lengths of lists alone: ``label.explain(rows=rows)``,
        ``label.explain(rows=500)``. `lengths` has those whose names are none of Python's, or are ours here. `profile`,
        `config` and `p` are those of the command; else the backend that the flow says it uses is the one that counts.
        """
        from apxm.backends.numbers import count
        from apxm.config.profiles import known_price, known_profile
        from apxm.explaining.explanation import Given
        from apxm.explaining.files import explained_flow
        from apxm.explaining.lengths import lengths_of
        from apxm.explaining.text import Explained

        said = self._options if config is None else {**self._options, "config": config}
        told = Invocation.of(said).selection
        function = self.function.__func__ if isinstance(self.function, types.MethodType) else self.function
        assert isinstance(function, types.FunctionType)
        given = Given(
            lengths_of({**(lengths or {}), **arguments}),
            tuple(sorted({count(slots, "p") for slots in p})),
            known_profile(None if profile is None else os.fspath(profile), told),
            known_price(told),
            frozenset(signature(function).parameters),
        )
        return Explained(explained_flow(function, TWINS, given))

    def batch(
        self, /, *inputs: Iterable[Any], return_exceptions: bool = False, resume: str | None = None, **named: Any
    ) -> Result:
        """Runs it for many inputs, as one run: a call for each item of a list, or, as by `map`, of several lists. What
        is given by name is given to all.

        The value of the result is the list of what they give, in order. An input that fails ends no other one; at the
        end `BatchFailed` is raised, which has all values, or with `return_exceptions` the exceptions stand among them.
        `resume` goes on with an earlier batch of the same inputs: those that failed are called again.
        """
        main = self._batch(inputs, named, return_exceptions)
        if LANE.get() is not None:
            return part(main, self._batch_name, self._options)
        return self._to_the_end(self._run(main, resume, batch=True, shows=True), "batch")

    async def batch_async(
        self, /, *inputs: Iterable[Any], return_exceptions: bool = False, resume: str | None = None, **named: Any
    ) -> Result:
        """As `batch`, inside the caller's event loop."""
        main = self._batch(inputs, named, return_exceptions)
        if LANE.get() is not None:
            return part(main, self._batch_name, self._options)
        return await self._run(main, resume, batch=True)

    @property
    def _batch_name(self) -> str:
        return f"{self.function.__qualname__}.batch"

    def _batch(
        self, inputs: Sequence[Iterable[Any]], named: dict[str, Any], return_exceptions: bool
    ) -> Callable[[], list[Any]]:
        """What a batch does. Raises `UsageError` for what are no inputs."""
        refuse(inputs, self.function.__name__)

        def clean(error: Exception) -> Exception:
            return error.with_traceback(kept(error.__traceback__, is_users))

        def main() -> list[Any]:
            most = MOST_OPEN if HERE.overlap else 1
            return each_input(self.lanes, inputs, named, clean, most, return_exceptions=return_exceptions)

        return main

    async def _run(
        self, main: Callable[[], object], earlier: str | None = None, *, batch: bool = False, shows: bool = False
    ) -> Result:
        """`shows` says that somebody waits for it, who may be shown how far it is."""
        file, own = self.function.__code__.co_filename, self.function.__qualname__
        name, again = (self._batch_name, "batch(…, resume={run!r})") if batch else (own, "resume({run!r}, …)")
        try:
            return await run_flow(main, name, file, self._options, earlier, f"{own}.{again}", shows=shows)
        except BaseException as error:
            raise error.with_traceback(kept(error.__traceback__, is_users))  # noqa: B904  # it is the same one

    def _to_the_end(self, running: Coroutine[Any, Any, Result], method: str) -> Result:
        try:
            return to_the_end(running, f"{self.function.__name__}.{method}")
        except BaseException as error:
            raise error.with_traceback(kept(error.__traceback__, is_users))  # noqa: B904  # as in `_run`


def marked(decorator: object, function: types.FunctionType, written: ast.expr) -> object | None:
    """What a decorator of this package, as it is `written`, makes of a function that is only read; None for others."""
    if decorator is flow:
        unread = cast("Flow[..., Any]", object.__new__(Flow))  # a real one would be refused where its code is
        functools.update_wrapper(unread, function)
        unread.function = function
        return unread
    if decorator is step:
        options = written.keywords if isinstance(written, ast.Call) else ()
        return Step(function, any(isinstance(each.value, ast.Constant) and bool(each.value.value) for each in options))
    return pure(function) if decorator is pure else None


def flow(function: Callable[P, R]) -> Flow[P, R]:
    """Makes a function a flow. Raises `UsageError` for what has no meaning in lanes, naming the line."""
    refuse_others("flow", function)
    if iscoroutinefunction(function) or isasyncgenfunction(function):
        raise no_flow(function.__qualname__)
    with TWINS.beforehand():  # as what stands below it in its module is not there yet
        made = Flow(function)
    refuse_generator("flow", function)
    return made


def no_flow(name: str) -> UsageError:
    """Why a coroutine is no flow."""
    return UsageError(
        f"a flow is a plain function, and {name} is `async`",
        hint="write `def`, without `await`: `run_async` is what an event loop awaits",
    )


def _named(module: str, name: str) -> object:
    """What has a qualified name in a module; None where nothing has."""
    try:
        return operator.attrgetter(name)(importlib.import_module(module))
    except (AttributeError, ImportError):
        return None


def _unpickled(module: str, name: str, instance: tuple[object, ...], options: dict[str, Any]) -> Flow[..., Any]:
    named = _named(module, name)
    if not isinstance(named, Flow):
        raise pickle.UnpicklingError(f"there is no flow {name} in {module} here")
    for bound in instance:
        named = named.__get__(bound)
    return Flow(named.function, options)
