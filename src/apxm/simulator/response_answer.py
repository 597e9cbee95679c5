"""What a client gets from ``/v1/responses``, whole or as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from apxm.backends.completion import TokenCounts
from apxm.backends.faults import REFUSAL
from apxm.simulator.answers import Stream
from apxm.simulator.logprobs import TokenLogprob
from apxm.simulator.outputs import Candidate, ToolCall, pieces

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class ResponseAnswer(Struct, frozen=True, kw_only=True):
    number: int
    created: int
    model: str
    output: Candidate
    usage: TokenCounts
    logprobs: list[TokenLogprob]
    """Empty where none are asked for."""
    echoed: Mapping[str, Any]
    """What an answer repeats of the request."""

    @property
    def _cut(self) -> bool:
        return self.output.finish_reason == "length"

    # --- whole -----------------------------------------------------------------------------------------------------

    def whole(self) -> bytes:
        return _encode(self._response(self._items(), over=True))

    def without_choices(self, *, stream: bool) -> bytes:
        response = self._response([], over=True)
        return _event(0, "response.completed", {"response": response}) if stream else _encode(response)

    def refusing(self, *, stream: bool) -> bytes:
        message = self._message("completed", [{"type": "refusal", "refusal": REFUSAL}])
        response = self._response([message], over=True)
        return _event(0, "response.completed", {"response": response}) if stream else _encode(response)

    def _response(self, output: list[Json], *, over: bool) -> Json:
        status = "in_progress" if not over else "incomplete" if self._cut else "completed"
        return {
            "id": f"resp_simulated_{self.number}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if over and self._cut else None,
            "model": self.model,
            "output": output,
            "previous_response_id": None,
            "usage": self._usage() if over else None,
            **self.echoed,
        }

    def _usage(self) -> Json:
        details = self.usage.prompt_tokens_details
        cached = 0 if details is UNSET else details.cached_tokens
        return {
            "input_tokens": self.usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": self.usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.usage.total_tokens,
        }

    def _items(self) -> list[Json]:
        status = "incomplete" if self._cut else "completed"
        output = self.output
        if not output.calls:
            return [self._message(status, [_text_part(output.text, self.logprobs)])]
        return [self._call(index, call, call.arguments, status) for index, call in enumerate(output.calls)]

    def _message(self, status: str, content: list[Json]) -> Json:
        name = f"msg_simulated_{self.number}"
        return {"id": name, "type": "message", "role": "assistant", "status": status, "content": content}

    def _call(self, index: int, call: ToolCall, arguments: str, status: str) -> Json:
        return {
            "id": f"fc_simulated_{self.number}_{index}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
            "status": status,
        }

    # --- as events -------------------------------------------------------------------------------------------------

    def stream(self, *, by_token: bool) -> Stream:
        events = self._numbered_events(by_token=by_token)
        return Stream.of(next(events)[1] + next(events)[1], events)

    def _numbered_events(self, *, by_token: bool) -> Iterator[tuple[bool, bytes]]:
        for number, (kind, data) in enumerate(self._events(by_token=by_token)):
            yield kind.endswith(".delta"), _event(number, kind, data)

    def _events(self, *, by_token: bool) -> Iterator[tuple[str, Json]]:
        begun = {"response": self._response([], over=False)}
        yield "response.created", begun
        yield "response.in_progress", begun
        yield from self._call_events(by_token=by_token) if self.output.calls else self._text_events(by_token=by_token)
        end = "response.incomplete" if self._cut else "response.completed"
        yield end, {"response": self._response(self._items(), over=True)}

    def _text_events(self, *, by_token: bool) -> Iterator[tuple[str, Json]]:
        message = self._message("in_progress", [])
        place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        yield "response.output_item.added", {"output_index": 0, "item": message}
        yield "response.content_part.added", {**place, "part": _text_part("", [])}
        text, logprobs = self.output.text, self.logprobs
        for index, piece in enumerate(pieces(text, by_token=by_token)):
            own = logprobs[index : index + 1] if by_token else logprobs
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": own}
        yield "response.output_text.done", {**place, "text": text, "logprobs": logprobs}
        yield "response.content_part.done", {**place, "part": _text_part(text, logprobs)}
        yield "response.output_item.done", {"output_index": 0, "item": self._items()[0]}

    def _call_events(self, *, by_token: bool) -> Iterator[tuple[str, Json]]:
        for index, (call, done) in enumerate(zip(self.output.calls, self._items(), strict=True)):
            place = {"item_id": done["id"], "output_index": index}
            item = self._call(index, call, "", "in_progress")
            yield "response.output_item.added", {"output_index": index, "item": item}
            for piece in pieces(call.arguments, by_token=by_token):
                yield "response.function_call_arguments.delta", {**place, "delta": piece}
            whole = {**place, "name": call.name, "arguments": call.arguments}
            yield "response.function_call_arguments.done", whole
            yield "response.output_item.done", {"output_index": index, "item": done}


def _text_part(text: str, logprobs: list[TokenLogprob]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _event(number: int, kind: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, "sequence_number": number, **data}))
