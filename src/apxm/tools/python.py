"""A tool that is a function of Python: an async one runs as it is, any other in a thread."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import cached_property, partial
from importlib import import_module
from threading import Thread
from typing import Any, get_type_hints

import msgspec

from apxm.backends.dialogue import OfferedTool
from apxm.errors import ConfigurationError
from apxm.operations.plain import plain
from apxm.operations.types import JSON
from apxm.tools.functions import signature_of
from apxm.tools.schemas import Declaration, Schema, misfits
from apxm.tools.settings import ToolSettings
from apxm.tools.tool import Arguments, CallTool, ToolAnswer, failed

_DEFAULTS = ToolSettings()
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class PythonTool(CallTool):
    """Calls the function with the arguments by name. Of what does not wait by itself, `most` calls run at once."""

    def __init__(
        self,
        name: str,
        find: Callable[[], Callable[..., Any]],
        timeout_s: float = _DEFAULTS.timeout_s,
        most: int = _DEFAULTS.max_concurrency,
    ) -> None:
        """`find` gives the function; raises `ConfigurationError` where there is none."""
        self.name = name
        self.timeout_s = timeout_s
        self._find = find
        self._slots = asyncio.Semaphore(most)

    @cached_property
    def _function(self) -> Callable[..., Any]:
        return self._find()

    async def call(self, arguments: Arguments) -> ToolAnswer:
        own: Arguments = plain(arguments, JSON, "the arguments")  # a function may change what it is given
        function = self._function
        try:
            if _is_async(function):
                async with self._slots:
                    return ToolAnswer(await function(**own))
            return ToolAnswer(await self._in_thread(partial(function, **own)))
        except (Exception, SystemExit) as error:
            said = str(error)
            raise failed(self.name, f"{type(error).__name__}{': ' if said else ''}{said}") from error

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """What `work` gives. Its slot is free again when the thread ends, even if nobody waits for that any more."""
        await self._slots.acquire()
        loop, future = asyncio.get_running_loop(), Future[Any]()

        def run() -> None:
            try:
                future.set_result(work())
            except StopIteration as error:  # no future takes one
                future.set_exception(RuntimeError(f"it raised {error!r}"))
            except BaseException as error:
                future.set_exception(error)
            with suppress(RuntimeError):  # the run is over, and so is its loop
                loop.call_soon_threadsafe(self._slots.release)

        future.set_running_or_notify_cancel()
        # A thread that is stuck must hold up neither the end of the run nor that of the process.
        # It begins with a copy of the context, as a task would: the current span is that of the call.
        Thread(target=copy_context().run, args=(run,), name=f"tool {self.name}", daemon=True).start()
        return await asyncio.wrap_future(future)

    async def offered(self) -> OfferedTool:
        signature = signature_of(self._function)
        return OfferedTool(self.name, signature.schema, signature.description)

    async def flaws(self, declared: Declaration | None) -> list[str]:
        try:
            function = self._function
        except ConfigurationError as error:
            return [error.message]  # whoever asks knows the place
        return [] if declared is None else _misfits(function, declared)


def imported(spec: str, folder: str | None, where: str | None) -> Callable[..., Any]:
    """The function that ``package.module:function`` names; modules in `folder` are found, too. Raises
    `ConfigurationError`."""
    module, _, path = spec.partition(":")
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except Exception as error:  # whatever a module may raise while it is loaded
        raise ConfigurationError(f"python: {spec!r} cannot be loaded: {error!r}", where=where) from error
    if not callable(found):
        raise ConfigurationError(f"python: {spec!r} is no function, but a {type(found).__name__}", where=where)
    return found


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _misfits(function: Callable[..., Any], declared: Declaration) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of something built in
        return []
    try:
        hints = get_type_hints(function)
    except Exception:  # names that are only there for type checkers
        hints = {}
    taken: dict[str, Any] = {
        "properties": {p.name: _schema(hints.get(p.name)) for p in parameters if p.kind in _NAMED},
        "required": [p.name for p in parameters if p.kind not in _VARIADIC and p.default is p.empty],
        "additionalProperties": any(p.kind is p.VAR_KEYWORD for p in parameters),
    }
    return misfits(declared, taken, _schema(hints.get("return")))


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _schema(annotation: object) -> Schema:
    """The JSON schema of an annotation; an empty one for what has none, or is no type of JSON."""
    if annotation is None:
        return {}
    try:
        return msgspec.json.schema(annotation)
    except (TypeError, RecursionError):
        return {}
