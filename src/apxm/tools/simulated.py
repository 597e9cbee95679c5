"""A tool that does nothing: its answers are drawn from what the program declares, so a dry run touches no world."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from apxm.backends.numbers import amount
from apxm.backends.protocol import Clock, Handle
from apxm.backends.shapes import drawn
from apxm.errors import UsageError
from apxm.operations.catalog import OPERATIONS
from apxm.operations.schemas import schema_of
from apxm.operations.types import Type, Value
from apxm.tools.tool import Arguments, ToolAnswer


class ToolLatencies(NamedTuple):
    """How long calls of tools take where none is really made, in ms."""

    default_ms: float = OPERATIONS["inv"].typical_ms
    named_ms: Mapping[str, float] = {}
    """Those of single tools."""

    def __str__(self) -> str:
        named = [f"{name} {each:,g} ms" for name, each in self.named_ms.items()]
        return ", ".join([f"{self.default_ms:,g} ms", *named])

    def of(self, tool: str) -> float:
        return self.named_ms.get(tool, self.default_ms)


TYPICAL_TOOLS = ToolLatencies()


def parse_latencies(said: Iterable[str]) -> ToolLatencies:
    """What ``--tool-latency`` says: ``MS`` for all tools, ``NAME=MS`` for one. Raises `UsageError`."""
    found = ToolLatencies(named_ms={})
    for text in said:
        name, _, number = text.rpartition("=")
        try:
            milliseconds = amount(float(number), "a latency") if float(number) else 0.0
        except (ValueError, UsageError):
            raise UsageError(f"--tool-latency {text!r}: expected MS or NAME=MS, in milliseconds") from None
        if name:
            found = found._replace(named_ms={**found.named_ms, name: milliseconds})
        else:
            found = found._replace(default_ms=milliseconds)
    return found


Draw = Callable[[Type, str], Value]
"""A function that draws a value of a type, which follows from a text."""


class SimulatedTool:
    """Its answers follow from the seed, its name and the arguments, and come after `latency_ns`."""

    timeout_s = 600.0

    def __init__(self, name: str, result: Type, seed: int, latency_ns: int, draw: Draw) -> None:
        self.name = name
        self._result = result
        self._seed = seed
        self._latency_ns = latency_ns
        self._draw = draw
        draw(result, name)  # what that loads takes half a second, which is none of the run's

    def begin(self, arguments: Arguments, clock: Clock, done: Callable[[Any], None]) -> Handle:
        said = json.dumps([self._seed, self.name, arguments])
        answer = ToolAnswer(self._draw(self._result, said))
        return clock.call_at(clock.now() + self._latency_ns, lambda: done(answer))


def draw_fitting(result: Type, said: str) -> Value:
    """A value of that type, as a simulated model gives one."""
    return drawn(msgspec.json.encode(schema_of(result)), said)
