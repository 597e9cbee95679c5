"""Calls made by hand, for tests below the scheduler: no loop, no thread, no program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apxm.backends.protocol import UNKNOWN_USAGE, Usage
from apxm.errors import OperationError
from apxm.operations.types import Value
from apxm.runtime.frames import Frame, LoadedPlan
from apxm.runtime.loops import COMPLETION
from apxm.runtime.phases import MOVES, Phase
from apxm.runtime.state import State
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation
from tests.plans import plan, program


class Plain:
    """An answer that is a value."""

    def __init__(self, value: Value, usage: Usage = UNKNOWN_USAGE, service_ns: int | None = None) -> None:
        self.value = value
        self.usage = usage
        self.service_ns = service_ns


class Tool(Provider):
    """The least that a kind has to say. It begins in whichever way the functions given to it do."""

    kind = "tool"
    virtual = True

    def __init__(self, name: str = "tool", **says: Any) -> None:
        """`says` is what it says besides, by the names of `Provider`."""
        self.name = name
        for what, said in says.items():
            setattr(self, what, said)

    def answer(self, call: Call, outcome: Any) -> Plain | OperationError:
        del call
        return outcome if isinstance(outcome, Plain | OperationError) else Plain(outcome)


class ToolCall(WaitingOperation):
    """An operation that hands its first operand's value to a tool; without operands, its own name."""

    def __init__(self, tool: Tool, operands: tuple[int, ...] = (), name: str = "", priority: int = 0) -> None:
        self.provider = ("tool", tool.name)
        self.tool = tool
        self.operands = operands
        self.name = name
        self.priority = priority
        self.timeout_ns: int | None = None
        self.retries: int | None = None

    def bind(self, run: Binding) -> Provider:
        del run
        return self.tool

    def request(self, values: list[Value], form: Any) -> Any:
        del form
        return values[self.operands[0]] if self.operands else self.name

    def value(self, answer: Any, request: Any) -> Value:
        del request
        return answer.value


MOVED: set[tuple[Phase, Phase]] = set()
"""All moves that any `CheckedCall` made."""


class CheckedCall(Call, eq=False, gc=False):
    """A call that asserts that each of its moves is in the table."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "phase":
            assert value in MOVES[self.phase].values(), f"{self.phase.value} → {value.value}"
            MOVED.add((self.phase, value))
        super().__setattr__(name, value)


FRAME = Frame(LoadedPlan(0, plan()), 0, None, -1, 0)


def call_of(
    tool: Tool, name: str = "", node: int = 0, *, ready: int = 0, ended: Callable[..., None] = print, **says: Any
) -> Call:
    """A call of a tool, as the scheduler makes one; `says` is what its operation says besides."""
    operation = ToolCall(tool, name=name or f"call {node}")
    for what, said in says.items():
        setattr(operation, what, said)
    request = operation.request([], None)
    return CheckedCall(ended, FRAME, node, operation, tool, request, ready, ready, False, 0, 0, 0)


class Told(State):
    """A state that writes down which operations are over, and how."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(program(plan()), ())
        self.told = told

    def succeed(self, frame: Frame, node: int, value: Value) -> None:
        del frame
        self.told.append(f"{node} succeeds: {value}")

    def broke(self, frame: Frame, node: int, error: OperationError) -> None:
        del frame
        self.told.append(f"{node} fails: {error.kind}")


class Timer:
    def __init__(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel


class ManualClock:
    """Stands still until a test moves it; then what is due happens in order."""

    def __init__(self, told: list[str] | None = None) -> None:
        self.instant = 0
        self.told = [] if told is None else told
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._made = 0

    def now(self) -> int:
        return self.instant

    def call_at(self, when: int, callback: Callable[[], None], rank: int = COMPLETION) -> Timer:
        del rank
        self._made += 1
        entry = when, self._made, callback
        self._timers.append(entry)
        return Timer(lambda: entry in self._timers and self._timers.remove(entry))

    @property
    def timers(self) -> list[int]:
        """When something is due."""
        return sorted(when for when, _, _ in self._timers)

    def move(self, to: int) -> None:
        while self._timers and min(self._timers)[0] <= to:
            entry = min(self._timers, key=lambda each: each[:2])
            self._timers.remove(entry)
            self.instant = max(self.instant, entry[0])
            entry[2]()
        self.instant = to
