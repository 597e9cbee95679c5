"""Which handler an operation has; chosen once per node, at load."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import chain

from apxm.errors import ArtifactError
from apxm.operations.catalog import AVAILABLE
from apxm.operations.definition import Family
from apxm.program.program import Operate, Program
from apxm.runtime.handlers.inline import InlineOperation, inline_operation
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.state import LoadedPlan, Replace, load
from apxm.runtime.waiting import WaitingOperation

Handler = InlineOperation | WaitingOperation


def handler(node: Operate) -> Handler:
    """Raises `ArtifactError` for an operation that this version does not run."""
    operation = AVAILABLE.get(node.operation)
    if operation is not None and operation.family is Family.MODEL:
        return ModelCall(operation, node)
    call = inline_operation(node)
    if call is not None:
        return call
    raise ArtifactError(f"the program uses the operation {node.operation!r}, which this version of apxm cannot run")


class LoadedProgram:
    """A program ready to run, for any number of runs."""

    def __init__(
        self, program: Program, handler_of: Callable[[Operate], Handler] = handler, replace: Replace | None = None
    ) -> None:
        """Predictions have handlers of their own, and values that no answer decides."""
        self.program = program
        self.handlers: tuple[tuple[Handler | None, ...], ...] = tuple(
            tuple(handler_of(node) if isinstance(node, Operate) else None for node in plan.nodes)
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

    @property
    def backends(self) -> tuple[str | None, ...]:
        """Those that the calls name, each once and in their order; None is the default one."""
        return tuple(call.backend for call in self.waiting.values() if isinstance(call, ModelCall))
