"""What a client gets from ``/v1/chat/completions``, whole or as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apxm.simulator.answers import DONE, AnswerUsage, Stream, event
from apxm.simulator.logprobs import TokenLogprob, logprobs_of
from apxm.simulator.outputs import FinishReason, Output, ToolCall, pieces


class CalledFunction(Struct, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class CalledTool(Struct):
    id: str
    function: CalledFunction
    type: str = "function"


class Logprobs(Struct):
    content: list[TokenLogprob]
    refusal: None = None


class AnswerMessage(Struct):
    role: str
    content: str | None
    tool_calls: list[CalledTool] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType = UNSET


class Choice(Struct):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: Logprobs | None = None


class Completion(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[Choice]
    usage: AnswerUsage


class CalledToolDelta(Struct, omit_defaults=True):
    index: int
    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None


class Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | UnsetType | None = UNSET
    tool_calls: list[CalledToolDelta] | None = None
    function_call: CalledFunction | None = None


class ChunkChoice(Struct):
    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: Logprobs | None = None


class Chunk(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[ChunkChoice]


class ChunkWithUsage(Chunk):
    """With ``include_usage`` every chunk has the field, and only the last one a value."""

    usage: AnswerUsage | None = None


_encode = msgspec.json.Encoder().encode


class ChatAnswer:
    def __init__(
        self,
        *,
        number: int,
        created: int,
        model: str,
        outputs: Sequence[Output],
        prompt_tokens: int,
        alternatives: int | None,
        wants_usage: bool,
        older: bool,
    ) -> None:
        """`alternatives` are those of each token, None for no probabilities; `older` writes a call as an answer to
        `functions`."""
        self._id = f"chatcmpl-simulated-{number}"
        self._created = created
        self._model = model
        self._outputs = outputs
        self._alternatives = alternatives
        self._wants_usage = wants_usage
        self._older = older
        taken = outputs[0].tokens if len(outputs) == 1 else sum(output.tokens for output in outputs)
        self.usage = AnswerUsage(prompt_tokens, taken, prompt_tokens + taken)

    # --- whole -----------------------------------------------------------------------------------------------------

    def whole(self) -> bytes:
        return self._completion([self._choice(index, output) for index, output in enumerate(self._outputs)])

    def without_choices(self) -> bytes:
        return self._completion(())

    def _completion(self, choices: Sequence[Choice]) -> bytes:
        return _encode(Completion(self._id, "chat.completion", self._created, self._model, choices, self.usage))

    def _choice(self, index: int, output: Output) -> Choice:
        message = AnswerMessage("assistant", output.text)
        if self._alternatives is None and not output.calls:
            return Choice(index, message, output.finish_reason)
        if output.calls:
            message.content = None
            if self._older:
                message.function_call = CalledFunction(output.calls[0].name, output.calls[0].arguments)
            else:
                message.tool_calls = [
                    CalledTool(call.id, CalledFunction(call.name, call.arguments)) for call in output.calls
                ]
        return Choice(index, message, self._finish_reason(output), self._logprobs(output))

    def _finish_reason(self, output: Output) -> FinishReason:
        return "function_call" if self._older and output.finish_reason == "tool_calls" else output.finish_reason

    def _logprobs(self, output: Output) -> Logprobs | None:
        if self._alternatives is None or output.calls:
            return None
        return Logprobs(logprobs_of(output.text, self._alternatives))

    # --- as events -------------------------------------------------------------------------------------------------

    def stream(self, *, by_token: bool) -> Stream:
        """One choice after the other."""
        first = b""
        tokens: list[bytes] = []
        pending = b""
        for index, output in enumerate(self._outputs):
            pending += b"".join(self._beginning(index, output))
            if not index:
                first, pending = pending, b""
            for token in self._tokens(index, output, by_token=by_token):
                tokens.append(pending + token)
                pending = b""
            pending += self._chunk(index, Delta(), self._finish_reason(output))
        if self._wants_usage:
            pending += event(ChunkWithUsage(self._id, _CHUNK, self._created, self._model, (), self.usage))
        return Stream(first, tokens, pending + DONE)

    def events_without_choices(self) -> bytes:
        return event(Chunk(self._id, _CHUNK, self._created, self._model, ())) + DONE

    def _beginning(self, index: int, output: Output) -> Iterator[bytes]:
        if not output.calls:
            yield self._chunk(index, Delta("assistant", ""))
        elif self._older:
            yield self._chunk(index, Delta("assistant", None, function_call=CalledFunction(output.calls[0].name, "")))
        else:
            yield self._chunk(index, Delta("assistant", None, [_begun(0, output.calls[0])]))

    def _tokens(self, index: int, output: Output, *, by_token: bool) -> Iterator[bytes]:
        if not output.calls:
            logprobs = self._logprobs(output)
            texts = pieces(output.text) if by_token else [output.text]
            for place, text in enumerate(texts):
                own = logprobs and Logprobs(logprobs.content[place : place + 1] if by_token else logprobs.content)
                yield self._chunk(index, Delta(content=text), logprobs=own)
        for number, call in enumerate(output.calls):
            begun = b"" if not number else self._chunk(index, Delta(tool_calls=[_begun(number, call)]))
            for text in pieces(call.arguments) if by_token else [call.arguments]:
                function = CalledFunction(arguments=text)
                if self._older:
                    yield self._chunk(index, Delta(function_call=function))
                else:
                    yield begun + self._chunk(index, Delta(tool_calls=[CalledToolDelta(number, function=function)]))
                begun = b""

    def _chunk(
        self, index: int, delta: Delta, finish_reason: FinishReason | None = None, logprobs: Logprobs | None = None
    ) -> bytes:
        kind = ChunkWithUsage if self._wants_usage else Chunk
        choices = (ChunkChoice(index, delta, finish_reason, logprobs),)
        return event(kind(self._id, _CHUNK, self._created, self._model, choices))


_CHUNK = "chat.completion.chunk"


def _begun(number: int, call: ToolCall) -> CalledToolDelta:
    return CalledToolDelta(number, call.id, "function", CalledFunction(call.name, ""))
