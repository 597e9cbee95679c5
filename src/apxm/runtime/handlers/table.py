"""Which handler an operation has; chosen once per node, at load."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import chain

from apxm.errors import ArtifactError
from apxm.operations.catalog import AVAILABLE
from apxm.operations.definition import Family
from apxm.operations.types import Type
from apxm.program.program import Flow, Operate, Program
from apxm.runtime.handlers.inline import InlineOperation, inline_operation
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.tool import ToolCall
from apxm.runtime.state import LoadedPlan, Replace, load
from apxm.runtime.waiting import WaitingOperation
from apxm.tools.schemas import Declaration

Handler = InlineOperation | WaitingOperation


def handler(node: Operate, records: Mapping[str, Type]) -> Handler:
    """What runs a node of a program with such records. Raises `ArtifactError` for an operation that this version does
    not run."""
    if (
        node.result not in ("str", "none") and node.operation not in ("merge", "wait_all", "inv")
    ) or "choices" in node.options:
        raise ArtifactError("the program asks for an answer of a type, which this version of apxm cannot read yet")
    operation = AVAILABLE.get(node.operation)
    if operation is not None and operation.family is Family.MODEL:
        return ModelCall(operation, node)
    if operation is not None and operation.family is Family.TOOL:
        return ToolCall(node, records)
    call = inline_operation(node)
    if call is not None:
        return call
    raise ArtifactError(f"the program uses the operation {node.operation!r}, which this version of apxm cannot run")


class LoadedProgram:
    """A program ready to run, for any number of runs."""

    def __init__(
        self,
        program: Program,
        handler_of: Callable[[Operate, Mapping[str, Type]], Handler] = handler,
        replace: Replace | None = None,
    ) -> None:
        """Predictions have handlers of their own, and values that no answer decides."""
        self.program = program
        records = program.record_types
        self.handlers: tuple[tuple[Handler | None, ...], ...] = tuple(
            tuple(handler_of(node, records) if isinstance(node, Operate) else None for node in plan.nodes)
            for plan in program.plans
        )
        """The handlers by plan and node; None where the node is not an operation."""
        inline = tuple(tuple(h if isinstance(h, InlineOperation) else None for h in plan) for plan in self.handlers)
        self.plans: tuple[LoadedPlan, ...] = load(program, inline, replace)
        self.waiting: dict[Hashable, WaitingOperation] = {}
        """The first operation by the key of its provider: any of those that share the key can bind it."""
        self.limits_first_parts = False
        """Whether an operation limits the time for the first part of its answer."""
        for found in chain.from_iterable(self.handlers):
            if isinstance(found, WaitingOperation):
                self.waiting.setdefault(found.provider, found)
                self.limits_first_parts |= found.first_timeout_ns is not None

    def tools(self, flow: Flow) -> list[tuple[str, Declaration | None]]:
        """The tools that a run of a flow may call, each once, with what the program declares of it."""
        declared = self.declarations
        found = chain.from_iterable(self.handlers[plan] for plan in self.program.plans_of(flow))
        names = dict.fromkeys(handler.tool for handler in found if isinstance(handler, ToolCall))
        return [(name, declared.get(name)) for name in names]

    @property
    def declarations(self) -> dict[str, Declaration]:
        """The tools that the program declares, by name."""
        records = self.program.record_types
        return {capability.name: Declaration.of(capability, records) for capability in self.program.capabilities}

    @property
    def backends(self) -> tuple[str | None, ...]:
        """Those that the calls name, each once and in their order; None is the default one."""
        return tuple(call.backend for call in self.waiting.values() if isinstance(call, ModelCall))
