"""What a client gets from ``/v1/chat/completions``, whole or as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET, Struct, UnsetType

from apxm.backends.completion import CalledFunction, CalledTool, ChatChoice, ChatMessage
from apxm.backends.faults import REFUSAL
from apxm.simulator.choices import DONE, ChoicesAnswer
from apxm.simulator.logprobs import TokenLogprob, logprobs_of
from apxm.simulator.outputs import Candidate, ToolCall, pieces


class Logprobs(Struct):
    content: list[TokenLogprob]
    refusal: None = None


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
    refusal: str | None = None


class ChunkChoice(Struct):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class ChatAnswer(ChoicesAnswer, frozen=True, kw_only=True):
    kinds = "chat.completion", "chat.completion.chunk"
    has_beginning = True

    older: bool
    """Whether a call is written as an answer to `functions`."""

    def refusing(self, *, stream: bool) -> bytes:
        if not stream:
            return self._whole((ChatChoice(0, ChatMessage("assistant", None, refusal=REFUSAL), "stop"),))
        begun, over = ChunkChoice(0, Delta("assistant", refusal=REFUSAL)), ChunkChoice(0, Delta(), "stop")
        return self._chunk((begun,), UNSET) + self._chunk((over,), UNSET) + DONE

    def choice(self, index: int, output: Candidate) -> ChatChoice:
        if not output.calls:
            return ChatChoice(
                index, ChatMessage("assistant", output.text), output.finish_reason, self._logprobs(output)
            )
        functions = [CalledFunction(call.name, call.arguments) for call in output.calls]
        if self.older:
            message = ChatMessage("assistant", None, function_call=functions[0])
        else:
            tools = [CalledTool(call.id, function) for call, function in zip(output.calls, functions, strict=True)]
            message = ChatMessage("assistant", None, tools)
        return ChatChoice(index, message, self._finish_reason(output))

    def chunks(self, index: int, output: Candidate, *, by_token: bool) -> Iterator[tuple[bool, ChunkChoice]]:
        yield False, ChunkChoice(index, self._beginning(output))
        logprobs = self._logprobs(output)
        for place, text in enumerate([] if output.calls else pieces(output.text, by_token=by_token)):
            own = logprobs and Logprobs(logprobs.content[place : place + 1] if by_token else logprobs.content)
            yield True, ChunkChoice(index, Delta(content=text), logprobs=own)
        for number, call in enumerate(output.calls):
            if number:
                yield False, ChunkChoice(index, Delta(tool_calls=[_begun(number, call)]))
            for text in pieces(call.arguments, by_token=by_token):
                function = CalledFunction(arguments=text)
                older = Delta(function_call=function)
                delta = older if self.older else Delta(tool_calls=[CalledToolDelta(number, function=function)])
                yield True, ChunkChoice(index, delta)
        yield False, ChunkChoice(index, Delta(), self._finish_reason(output))

    def _beginning(self, output: Candidate) -> Delta:
        if not output.calls:
            return Delta("assistant", "")
        if self.older:
            return Delta("assistant", None, function_call=CalledFunction(output.calls[0].name, ""))
        return Delta("assistant", None, [_begun(0, output.calls[0])])

    def _finish_reason(self, output: Candidate) -> str:
        return "function_call" if self.older and output.finish_reason == "tool_calls" else output.finish_reason

    def _logprobs(self, output: Candidate) -> Logprobs | None:
        if self.alternatives is None or output.calls:
            return None
        return Logprobs(logprobs_of(output.text, self.alternatives))


def _begun(number: int, call: ToolCall) -> CalledToolDelta:
    return CalledToolDelta(number, call.id, "function", CalledFunction(call.name, ""))
