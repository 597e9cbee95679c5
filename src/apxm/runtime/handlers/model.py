"""The model call: one kind of waiting operation, from operands to the request that a backend sends, and back from its
answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

from msgspec.structs import replace

from apxm.backends.protocol import (
    SCHEMA_REFUSED,
    TOOLS_REFUSED,
    AnyBackend,
    ModelAnswer,
    ModelRequest,
    Usage,
    sound_outcome,
)
from apxm.errors import ApxmError, BackendError, ConfigurationError, OperationError, UsageError
from apxm.operations.answers import TOO_MANY_ROUNDS, UNFIT, AnswerReader
from apxm.operations.attachments import Attachment
from apxm.operations.catalog import ANSWERS_AS, CONTENT_KINDS, ROUNDS
from apxm.operations.definition import Operation
from apxm.operations.schemas import answer_format
from apxm.operations.sequences import joined
from apxm.operations.types import STR, Type, Value, parse_type, text_form
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate
from apxm.program.program import Capability
from apxm.runtime.budget import DEFAULT_MAX_TOKENS, Cost, Tariff
from apxm.runtime.content import IMAGE, ContentFiles, name_of
from apxm.runtime.defects import gave_no_answer
from apxm.runtime.expressions import collector, evaluator
from apxm.runtime.failures import UNPAID, EndpointFailures
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.offer import Offer, past_rounds
from apxm.runtime.listing import missing_models
from apxm.runtime.loops import limit_ns
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation
from apxm.source import shortened

_ASSUMED_OUTPUT = 1024
"""Tokens of an answer that nothing limits."""


class RequestForm(NamedTuple):
    """What a request depends on besides the values of its frame."""

    reasons: bool
    """Whether its backend has a reasoning setting."""
    files: ContentFiles
    backend: str = ""
    can_read_pdf: bool = True


_REPAIR = """\
{prompt}

You have answered before:

{answer}

That is of no use: {error}. Answer again, with all of it right."""
"""The prompt of the call that repairs an answer."""
_LONGEST_CALLED = 200
_LONGEST_SAID = 20_000
"""Characters of an answer that does not fit, in that prompt."""


class ModelCall(WaitingOperation):
    """One model operation of a plan: everything about its request that is known before the run."""

    __slots__ = (
        "_answer",
        "_bound",
        "_budget",
        "_constant",
        "_content",
        "_context",
        "_made",
        "_made_for",
        "_most_rounds",
        "_operation",
        "_prompt",
        "_rounds",
        "_system",
        "_temperature",
        "_written",
        "backend",
        "first_timeout_ns",
        "max_tokens",
        "model",
        "offer",
        "read",
    )

    def __init__(
        self,
        operation: Operation,
        node: Operate,
        records: Mapping[str, Type] = MappingProxyType({}),
        capabilities: Sequence[Capability] = (),
    ) -> None:
        """`records` and `capabilities` are those of the program, which its result may be of, and its model may call."""
        self._operation = operation
        prompt, *context = node.arguments
        self._prompt = evaluator(prompt, node.operands)
        self._context = collector(tuple(context), node.operands) if context else None
        kinds: list[str] = literal(node, CONTENT_KINDS) or []
        self._content = {k: kind for k, kind in enumerate(kinds) if kind}
        """The operands of the context that are paths, and the operations that they are for."""
        self._written = {k: str(found.value) for k in self._content if isinstance(found := context[k], Literal)}
        """Those of them that the program writes out."""
        self._bound = {k: node.operands[found.index] for k in self._content if isinstance(found := context[k], Operand)}
        """Those of them that are what another node gives, and which."""
        system = node.options.get("system")
        self._system = None if system is None else evaluator(system, node.operands)
        self.model: str | None = literal(node, "model")
        self._temperature: float | None = literal(node, "temperature")
        self.max_tokens: int | None = literal(node, "max_tokens")
        self._budget: int | None = literal(node, "budget")
        choices: list[str] = literal(node, "choices") or []
        expected = parse_type(literal(node, ANSWERS_AS) or node.result, records)
        typed = expected != STR or bool(choices)
        self._answer = answer_format(expected, choices) if typed else None
        self.read: Callable[[str], Value] | None = AnswerReader(expected, choices).read if typed else None
        """Makes a value of an answer's text, or raises `OperationError`; None where the text is the value."""
        tools: list[str] = literal(node, "tools") or []
        declared = {capability.name: capability for capability in capabilities} if tools else {}
        self.offer = Offer.of([declared[tool] for tool in tools], records) if tools else None
        """What its model may call; its value then holds calls, or the answer."""
        self._rounds = evaluator(node.options[ROUNDS], node.operands) if tools else None
        self._most_rounds = cast("int", literal(node, "max_rounds"))
        self._constant = not node.operands and not self._content
        self._made: ModelRequest | None = None
        """The request of a call that depends on nothing but its form, as it was last made."""
        self._made_for = False
        self.backend: str | None = literal(node, "backend")
        """The backend that the program names; None for the one that answers by default."""
        self.provider = self.backend
        timeout: float | None = literal(node, "timeout")
        self.timeout_ns = None if timeout is None else limit_ns(timeout)
        first: float | None = literal(node, "timeout_first_token")
        self.first_timeout_ns = None if first is None else limit_ns(first)
        self.retries = cast("int | None", literal(node, "retries"))
        self.priority = node.priority

    @property
    def needs(self) -> str | None:
        return self.model

    def bind(self, run: Binding) -> Provider:
        return ModelProvider(*run.pool.get(self.backend), run)

    def value(self, answer: ModelAnswer, request: ModelRequest) -> Value:
        if self.offer is None and not answer.calls:
            return self._answered(answer)
        if not answer.calls:
            return {"text": "", "calls": [], "answer": self._answered(answer)}
        if self.offer is None or not request.may_call:
            called = ", ".join(dict.fromkeys(call.tool for call in answer.calls))
            raise OperationError(
                TOO_MANY_ROUNDS, f"the model called {shortened(called, _LONGEST_CALLED)}, and was to answer now",
                hint="a larger `max_rounds:` lets it call more often",
            )  # fmt: skip
        return {"text": answer.text, "calls": [self.offer.meant(call) for call in answer.calls], "answer": None}

    def _answered(self, answer: ModelAnswer) -> Value:
        if self.read is None:
            return answer.text
        try:
            return self.read(answer.text)
        except OperationError as unfit:
            if answer.cut_off:
                unfit.message += "; it was cut off by a limit of tokens, and a larger max_tokens leaves room for all"
            raise

    def revised(self, call: Call, answer: ModelAnswer, error: OperationError) -> ModelRequest | None:
        """The same question with the answer that does not fit, once; what a limit cut off would be cut off again. No
        tool is called any more: there is an answer."""
        if error.kind != UNFIT or answer.cut_off or any(attempt[4] == UNFIT for attempt in call.earlier):
            return None
        asked: ModelRequest = call.original
        said = shortened(answer.text, _LONGEST_SAID)
        prompt = _REPAIR.format(prompt=asked.prompt, answer=said, error=error.message)
        return replace(asked, prompt=prompt, may_call=self.offer is None)

    @property
    def has_content(self) -> bool:
        """Whether it sends images or files."""
        return bool(self._content)

    def content_flaws(
        self, provider: Provider, files: ContentFiles, where: str, inputs: Sequence[Value]
    ) -> Iterator[ApxmError]:
        """Why it cannot send what the program itself names, or `inputs`, as far as it is known what its frame begins
        with: files that are read now, and a provider that takes no images or PDFs."""
        if IMAGE in self._content.values() and not getattr(provider, "can_see", False):
            message, hint = _not_taken(provider.name, "images", "can_see")
            yield ConfigurationError(message, where=where, hint=hint)
        reads_pdf = getattr(provider, "can_read_pdf", False)
        given = {k: text_form(inputs[node]) for k, node in self._bound.items() if node < len(inputs)}
        for k, path in (self._written | given).items():
            try:
                if self._content[k] == IMAGE:
                    files.image(path, 0, written=k in self._written)
                elif files.file(path, 0)[1].is_pdf and not reads_pdf:
                    message, hint = _not_taken(provider.name, "PDFs", "can_read_pdf")
                    yield ConfigurationError(message, where=where, hint=hint)
            except OperationError as error:
                yield UsageError(error.message, where=where, hint=error.hint)

    def request(self, values: list[Value], form: RequestForm) -> ModelRequest:
        """The request. Raises `OperationError`."""
        if self._made is not None and self._made_for == form.reasons:
            return self._made
        prompt = text_form(self._prompt(values))
        attachments: tuple[Attachment, ...] = ()
        if self._context is not None:
            context = self._context(values)
            if self._content:
                prompt, attachments = self._with_content(prompt, context, form)
            else:
                prompt = with_context(prompt, context)
        instead = form.reasons and self._operation.reasons
        reasons = instead or (form.reasons and self._budget is not None)
        made = ModelRequest(
            prompt,
            None if self._system is None else text_form(self._system(values)),
            None if instead else self._operation.instruction,
            self.model,
            self._temperature,
            self.max_tokens,
            reasons,
            self._budget if reasons else None,
            self._answer,
            None,
            attachments,
        )
        if self.offer is not None and self._rounds is not None:
            rounds = past_rounds(self._rounds(values))
            return replace(made, tools=self.offer.tools, rounds=rounds, may_call=len(rounds) < self._most_rounds)
        if self._constant:
            self._made, self._made_for = made, form.reasons
        return made

    def _with_content(
        self, prompt: str, context: Sequence[Value], form: RequestForm
    ) -> tuple[str, tuple[Attachment, ...]]:
        """As `with_context`, where some operands are paths; and what is there."""
        attachments: list[Attachment] = []
        parts = [prompt] if prompt else []
        length = len(prompt)
        for k, value in enumerate(context):
            kind = self._content.get(k)
            part = f"Context {k + 1}: {kind or text_form(value)}"
            length += len("\n\n") if parts else 0
            if kind is not None:
                path = text_form(value)
                part += f" {name}" if (name := name_of(path)) else ""
                at = length + len(part)
                if kind == IMAGE:
                    attachments.append(form.files.image(path, at, written=k in self._written))
                else:
                    text, found = form.files.file(path, at)
                    part += "" if found.is_pdf else f"\n{text}"
                    attachments.append(_readable(found, form))
            parts.append(part)
            length += len(part)
        return joined("\n\n", parts), tuple(attachments)


class ModelProvider(Provider):
    """A backend as a run uses it."""

    kind = "backend"
    unpaid = UNPAID | {SCHEMA_REFUSED, TOOLS_REFUSED}

    def __init__(self, backend: AnyBackend, gate: Gate, run: Binding) -> None:
        self._backend = backend
        self.info = info = backend.info
        self.name, self._model = info.name, info.model
        self.virtual = info.simulated
        self.can_see = getattr(backend, "can_see", False)
        self.can_read_pdf = getattr(backend, "can_read_pdf", False)
        self.form = RequestForm(backend.can_reason, run.files, self.name, self.can_read_pdf)
        self.gate = gate
        self._limits = limits = backend.limits
        self.timeout_ns = None if limits.timeout_s is None else limit_ns(limits.timeout_s)
        self.begin = getattr(backend, "begin", None)
        self.call = None if self.begin else getattr(backend, "call", None)
        self.by_operation = getattr(backend, "by_operation", False)
        first = limits.timeout_first_token_s
        self.first_timeout_ns = None if first is None else limit_ns(first)
        self.begin_stream = getattr(backend, "begin_stream", None)
        self.call_stream = getattr(backend, "call_stream", None)
        self._tariff = Tariff(limits)
        self._warn = run.warn
        self._cut_off: set[tuple[int, int]] = set()
        """Operations, as plan and node, of which an answer was ended by its limit of tokens."""
        failures = EndpointFailures(gate, limits.retries, run.pool.retries, run)
        self.retry, self.delay = failures.retry, failures.delay

    async def missing(self, operations: Sequence[ModelCall], alone: bool) -> Sequence[ApxmError]:
        wanted = () if alone else dict.fromkeys(operation.model or self._model for operation in operations)
        return await missing_models(self._backend, wanted)

    def answer(self, call: Call, outcome: object) -> ModelAnswer | OperationError:
        try:
            found = sound_outcome(outcome)
        except TypeError as flaw:
            return gave_no_answer(self, flaw)
        if isinstance(found, ModelAnswer) and found.cut_off:
            self._tell_cut_off(call)
        return found

    def named(self, request: ModelRequest, path: str) -> ModelRequest:
        return replace(request, operation=path)

    def timeout(self, limit_s: float, what: str = "answer") -> OperationError:
        where = f" ({self.info.endpoint})" if self.info and self.info.endpoint else ""
        message = f"no {what} from {self.title}{where} within {limit_s:g} s"
        return BackendError("timeout", message, retryable=True)

    def variant(self, request: ModelRequest) -> str | None:
        return request.model or self._model

    def most_tokens(self, request: ModelRequest) -> int:
        limits = self._limits
        return limits.largest_input(request) + (request.max_tokens or limits.max_tokens or _ASSUMED_OUTPUT)

    def bounded(self, request: ModelRequest) -> tuple[ModelRequest, Cost]:
        """The request with a limit for its answer, which gives an attempt of a run with a budget its worst case."""
        if request.max_tokens is None:
            request = replace(request, max_tokens=self._limits.max_tokens or DEFAULT_MAX_TOKENS)
        return request, self._tariff.worst(request, request.model or self._model)

    def bounds(self, operation: ModelCall) -> bool:
        return operation.max_tokens is None and self._limits.max_tokens is None

    def cost(self, operation: ModelCall, usage: Usage) -> Cost | None:
        return self._tariff.actual(usage, operation.model or self._model)

    def unpriced(self, operation: ModelCall) -> str | None:
        model = operation.model or self._model
        return None if self._tariff.knows(model) else model

    def _tell_cut_off(self, call: Call) -> None:
        """Said once per operation of the program, however often it is called."""
        place = call.frame.plan.index, call.node
        if place in self._cut_off:
            return
        self._cut_off.add(place)
        most = call.request.max_tokens or self._limits.max_tokens
        limit = f"max_tokens: {most:,}" if most else "the endpoint's own, as there is no max_tokens"
        self._warn(call, f"the answer was cut off by a limit of tokens ({limit}); a larger one gives more")


def with_context(prompt: str, context: Sequence[Value]) -> str:
    """The user's message: the prompt, then per context operand a blank line and ``Context K: value``."""
    parts = [prompt] if prompt else []
    parts += [f"Context {k}: {text_form(value)}" for k, value in enumerate(context, start=1)]
    return joined("\n\n", parts)


def _readable(found: Attachment, form: RequestForm) -> Attachment:
    """A file that its backend can read. Raises `OperationError`."""
    if found.is_pdf and not form.can_read_pdf:
        message, hint = _not_taken(form.backend, "PDFs", "can_read_pdf")
        raise OperationError("content", message, hint=hint)
    return found


def _not_taken(backend: str, what: str, setting: str) -> tuple[str, str]:
    """The message and the hint where a call sends what its backend does not take."""
    said = f"backend {backend!r} takes no {what}, and this call sends one"
    return said, f"backends.{backend}.{setting} = true says that its model does"


def literal(node: Operate, name: str) -> Value:
    """The value of an option that the program writes out; None where it does not have it."""
    option = node.options.get(name)
    return option.value if isinstance(option, Literal) else None
