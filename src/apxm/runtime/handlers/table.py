"""Which handler an operation has; chosen once per node, at load."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from apxm.errors import ArtifactError
from apxm.operations.catalog import AVAILABLE
from apxm.operations.definition import Family
from apxm.program.nodes import Operate
from apxm.program.openers import Opener
from apxm.program.program import Flow, Program
from apxm.runtime.frames import LoadedPlan, Replace
from apxm.runtime.handlers.inline import InlineOperation, inline_operation
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.tool import ToolCall
from apxm.runtime.state import load
from apxm.runtime.waiting import WaitingOperation
from apxm.tools.schemas import Declaration

Handler = InlineOperation | WaitingOperation


def handler(node: Operate, program: Program) -> Handler:
    """What runs a node of a program. Raises `ArtifactError` for an operation that this version does
    not run."""
    operation = AVAILABLE.get(node.operation)
    if operation is not None and operation.family is Family.MODEL:
        return ModelCall(operation, node, program.record_types, program.capabilities)
    if operation is not None and operation.family is Family.TOOL:
        return ToolCall(node, program.record_types)
    call = inline_operation(node)
    if call is not None:
        return call
    raise ArtifactError(f"the program uses the operation {node.operation!r}, which this version of apxm cannot run")


class Linked(NamedTuple):
    """What a run of a flow can need, as far as its program tells."""

    plans: tuple[int, ...]
    """The plans that it can open frames of, in the order in which they are found."""
    needs: dict[Hashable, tuple[WaitingOperation, ...]]
    """By the key of each provider, an operation for each of the things that are needed of it. Any of them can bind
    it."""
    limits_first_parts: bool
    """Whether an operation limits the time for the first part of its answer."""
    sends_content: bool
    """Whether a call sends an image or a file."""


def reachable(program: Program, plan: int) -> Iterable[int]:
    """`plan`, and all that are opened from there on."""
    found = {plan: None}
    waiting = [plan]
    while waiting:
        openers = (node for node in program.plans[waiting.pop()].nodes if isinstance(node, Opener))
        opened = [each for opener in openers for each in opener.opened if each not in found]
        found |= dict.fromkeys(opened)
        waiting += dict.fromkeys(opened)
    return found


class LoadedProgram:
    """A program ready to run, for any number of runs."""

    def __init__(
        self,
        program: Program,
        handler_of: Callable[[Operate, Program], Handler] = handler,
        replace: Replace | None = None,
    ) -> None:
        """Predictions have handlers of their own, and values that no answer decides."""
        self.program = program
        self.handlers: tuple[tuple[Handler | None, ...], ...] = tuple(
            tuple(handler_of(node, program) if isinstance(node, Operate) else None for node in plan.nodes)
            for plan in program.plans
        )
        """The handlers by plan and node; None where the node is not an operation."""
        inline = tuple(tuple(h if isinstance(h, InlineOperation) else None for h in plan) for plan in self.handlers)
        self.plans: tuple[LoadedPlan, ...] = load(program, inline, replace)
        self._linked: dict[int, Linked] = {}

    def linked(self, flow: Flow) -> Linked:
        """What a run of `flow` can need."""
        if flow.plan not in self._linked:
            self._linked[flow.plan] = self._link(flow.plan)
        return self._linked[flow.plan]

    def _link(self, plan: int) -> Linked:
        plans = list(reachable(self.program, plan))
        needs: dict[Hashable, dict[Hashable, WaitingOperation]] = {}
        waiting = [found for each in plans for found in self.handlers[each] if isinstance(found, WaitingOperation)]
        for found in waiting:
            needs.setdefault(found.provider, {}).setdefault(found.needs, found)
        return Linked(
            tuple(plans),
            {key: tuple(operations.values()) for key, operations in needs.items()},
            any(found.first_timeout_ns is not None for found in waiting),
            any(found.has_content for found in waiting),
        )

    def tools(self, flow: Flow) -> list[tuple[str, Declaration | None]]:
        """The tools that a run of a flow may call, each once, with what the program declares of it."""
        declared = self.declarations
        found = chain.from_iterable(self.linked(flow).needs.values())
        names = dict.fromkeys(operation.tool for operation in found if isinstance(operation, ToolCall))
        return [(name, declared.get(name)) for name in names]

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """The tools that the program declares, by name."""
        records = self.program.record_types
        return {capability.name: Declaration.of(capability, records) for capability in self.program.capabilities}

    @property
    def backends(self) -> tuple[str | None, ...]:
        """Those that the calls name, each once and in their order; None is the default one."""
        calls = (call for call in chain.from_iterable(self.handlers) if isinstance(call, ModelCall))
        return tuple(dict.fromkeys(call.backend for call in calls))
