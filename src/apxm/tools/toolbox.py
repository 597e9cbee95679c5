"""The tools of one run: made when they are first needed, gone when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, NamedTuple, Self

from apxm.errors import ConfigurationError, OperationError, hint_for
from apxm.operations.types import Type
from apxm.tools.schemas import Declaration
from apxm.tools.server import Server
from apxm.tools.simulated import Draw, SimulatedTool, ToolLatencies, draw_fitting
from apxm.tools.tool import Arguments, CallTool, Tool, ToolAnswer


class Known(NamedTuple):
    """A tool, or a server of tools, that could be made."""

    make: Callable[[], CallTool]
    where: str | None
    """Its place in a file."""


class ToolFlaw(NamedTuple):
    """Something that keeps a run from calling a tool as the program does."""

    tool: str
    message: str
    where: str | None = None
    """The place in the configuration."""


class AbsentTool(CallTool):
    """Stands for one that cannot be had."""

    timeout_s = 600.0

    def __init__(self, name: str, why: ConfigurationError) -> None:
        self.name = name
        self._why = why

    async def call(self, arguments: Arguments) -> ToolAnswer:
        del arguments
        raise OperationError("configuration", self._why.message, hint=self._why.hint)

    async def flaws(self, declared: Declaration | None) -> list[str]:
        del declared
        return [self._why.message + (f" ({self._why.hint})" if self._why.hint else "")]


class Toolbox:
    """Tools by the names that programs call them by."""

    simulated = False
    """Whether its tools do nothing."""

    def __init__(self, known: Mapping[str, Known], servers: Mapping[str, Server] | None = None) -> None:
        """A tool of a server is there by the server's name and its own, with a dot between."""
        self._known = known
        self._servers = servers or {}
        self._made: dict[str, CallTool] = {}

    def get(self, name: str, result: Type) -> Tool:
        """The tool of that name; one whose calls fail where there is none."""
        del result
        return self._get(name)

    def _get(self, name: str) -> CallTool:
        if name not in self._made:
            try:
                self._made[name] = self._make(name)
            except ConfigurationError as error:
                self._made[name] = AbsentTool(name, error)
        return self._made[name]

    def _make(self, name: str) -> CallTool:
        if (known := self._known.get(name)) is not None:
            return known.make()
        server, _, own = name.partition(".")
        if own and server in self._servers:
            return self._servers[server].tool(own)
        listed = f"configured: {', '.join(sorted(self._known))}" if self._known else f"[tools.{name}] sets it up"
        raise ConfigurationError("it is not configured", hint=hint_for(name, self._known, listed))

    def but(self, functions: Mapping[str, Callable[..., Any]]) -> Self:
        """The same, where these functions of Python are the tools of these names, whatever was set up."""
        from apxm.tools.python import PythonTool

        def known(name: str, function: Callable[..., Any]) -> Known:
            return Known(lambda: PythonTool(name, lambda: function), None)

        changed = copy(self)
        changed._known = {**self._known, **{name: known(name, function) for name, function in functions.items()}}
        changed._made = {}
        return changed

    async def flaws(self, needed: Iterable[tuple[str, Declaration | None]]) -> list[ToolFlaw]:
        """All that is wrong with the tools that a program can need, each with its declaration, if there is one. Starts
        the servers among them, and calls nothing."""
        found: list[ToolFlaw] = []
        for name, declared in needed:
            where = self._known[name].where if name in self._known else None
            found += [ToolFlaw(name, flaw, where) for flaw in await self._get(name).flaws(declared)]
        return found

    async def hints(self, name: str) -> Mapping[str, bool]:
        """What a server says of a tool that it has; nothing of any other."""
        return await self._get(name).hints()

    async def close(self) -> None:
        """Ends what they started. No call is in flight any more."""
        for thing in (*self._made.values(), *self._servers.values()):
            await thing.close()


class SimulatedToolbox(Toolbox):
    """Has every tool, and none that does anything, but for functions that its caller gives."""

    simulated = True

    def __init__(self, latencies: ToolLatencies, seed: int = 0, draw: Draw = draw_fitting) -> None:
        super().__init__({})
        self._latencies = latencies
        self._seed = seed
        self._draw = draw

    def get(self, name: str, result: Type) -> Tool:
        if name in self._known:
            return self._get(name)
        return SimulatedTool(name, result, self._seed, round(self._latencies.of(name) * 1e6), self._draw)

    async def flaws(self, needed: Iterable[tuple[str, Declaration | None]]) -> list[ToolFlaw]:
        return await super().flaws((name, declared) for name, declared in needed if name in self._known)


NO_TOOLS = Toolbox({})
"""For programs that call none."""
