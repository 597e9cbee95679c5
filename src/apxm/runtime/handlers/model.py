"""Operations that call a model: from operands to the request a backend sends."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.backends.protocol import ModelRequest
from apxm.operations.definition import Operation
from apxm.operations.types import Value, text_form
from apxm.program.program import Literal, Operate
from apxm.runtime.deadlines import limit_ns
from apxm.runtime.expressions import collector, evaluator, joined


class ModelCall:
    """One model operation of a plan: everything about its request that is known before the run."""

    __slots__ = (
        "_budget",
        "_constant",
        "_context",
        "_made",
        "_made_for",
        "_operation",
        "_prompt",
        "_system",
        "_temperature",
        "backend",
        "max_tokens",
        "model",
        "priority",
        "retries",
        "timeout_ns",
    )

    def __init__(self, operation: Operation, node: Operate) -> None:
        self._operation = operation
        prompt, *context = node.arguments
        self._prompt = evaluator(prompt, node.operands)
        self._context = collector(tuple(context), node.operands) if context else None
        system = node.options.get("system")
        self._system = None if system is None else evaluator(system, node.operands)
        self.model: str | None = literal(node, "model")
        self._temperature: float | None = literal(node, "temperature")
        self.max_tokens: int | None = literal(node, "max_tokens")
        self._budget: int | None = literal(node, "budget")
        self._constant = not node.operands
        self._made: ModelRequest | None = None
        """The request of a call without operands, as it was last made."""
        self._made_for = False
        self.backend: str | None = literal(node, "backend")
        timeout: float | None = literal(node, "timeout")
        self.timeout_ns = None if timeout is None else limit_ns(timeout)
        self.retries: int | None = literal(node, "retries")
        self.priority = node.priority

    def request(self, values: list[Value], can_reason: bool) -> ModelRequest:
        """The request, for a backend that has a reasoning setting or has not. Raises `OperationError`."""
        if self._made is not None and self._made_for == can_reason:
            return self._made
        prompt = text_form(self._prompt(values))
        if self._context is not None:
            prompt = with_context(prompt, self._context(values))
        reasons = can_reason and self._operation.reasons
        made = ModelRequest(
            prompt,
            None if self._system is None else text_form(self._system(values)),
            None if reasons else self._operation.instruction,
            self.model,
            self._temperature,
            self.max_tokens,
            reasons,
            self._budget if reasons else None,
        )
        if self._constant:
            self._made, self._made_for = made, can_reason
        return made


def with_context(prompt: str, context: Sequence[Value]) -> str:
    """The user's message: the prompt, then per context operand a blank line and ``Context K: value``."""
    parts = [prompt] if prompt else []
    parts += [f"Context {k}: {text_form(value)}" for k, value in enumerate(context, start=1)]
    return joined("\n\n", parts)


def literal(node: Operate, name: str) -> Value:
    """The value of an option that the program writes out; None where it does not have it."""
    option = node.options.get(name)
    return option.value if isinstance(option, Literal) else None
