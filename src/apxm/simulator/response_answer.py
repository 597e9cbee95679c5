"""What a client gets from ``/v1/responses``, whole or as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import msgspec

from apxm.simulator.answers import AnswerUsage, Stream
from apxm.simulator.logprobs import TokenLogprob, logprobs_of
from apxm.simulator.outputs import Output, ToolCall, pieces

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class ResponseAnswer:
    def __init__(
        self,
        *,
        number: int,
        created: int,
        model: str,
        output: Output,
        prompt_tokens: int,
        alternatives: int | None,
        echoed: Mapping[str, Any],
    ) -> None:
        """`alternatives` are those of each token, None for no probabilities; `echoed` is what an answer repeats of the
        request."""
        self._number = number
        self._created = created
        self._model = model
        self._output = output
        self._echoed = echoed
        self._cut = output.finish_reason == "length"
        self._logprobs = [] if alternatives is None or output.calls else logprobs_of(output.text, alternatives)
        self.usage = AnswerUsage(prompt_tokens, output.tokens, prompt_tokens + output.tokens)

    # --- whole -----------------------------------------------------------------------------------------------------

    def whole(self) -> bytes:
        return _encode(self._response(self._items(), over=True))

    def without_choices(self) -> bytes:
        return _encode(self._response([], over=True))

    def _response(self, output: list[Json], *, over: bool) -> Json:
        status = "in_progress" if not over else "incomplete" if self._cut else "completed"
        return {
            "id": f"resp_simulated_{self._number}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if over and self._cut else None,
            "model": self._model,
            "output": output,
            "previous_response_id": None,
            "usage": self._usage() if over else None,
            **self._echoed,
        }

    def _usage(self) -> Json:
        return {
            "input_tokens": self.usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self.usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.usage.total_tokens,
        }

    def _items(self) -> list[Json]:
        output = self._output
        if not output.calls:
            return [self._message(self._status(), [_text_part(output.text, self._logprobs)])]
        return [self._call(index, call, call.arguments, self._status()) for index, call in enumerate(output.calls)]

    def _status(self) -> str:
        return "incomplete" if self._cut else "completed"

    def _message(self, status: str, content: list[Json]) -> Json:
        name = f"msg_simulated_{self._number}"
        return {"id": name, "type": "message", "role": "assistant", "status": status, "content": content}

    def _call(self, index: int, call: ToolCall, arguments: str, status: str) -> Json:
        return {
            "id": f"fc_simulated_{self._number}_{index}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
            "status": status,
        }

    # --- as events -------------------------------------------------------------------------------------------------

    def stream(self, *, by_token: bool) -> Stream:
        events = _Events()
        first = events.made("response.created", {"response": self._response([], over=False)})
        first += events.made("response.in_progress", {"response": self._response([], over=False)})
        tokens: list[bytes] = []
        pending = b""
        parts = self._call_events if self._output.calls else self._text_events
        for is_token, written in parts(events, by_token):
            pending += written
            if is_token:
                tokens.append(pending)
                pending = b""
        end = "response.incomplete" if self._cut else "response.completed"
        return Stream(first, tokens, pending + events.made(end, {"response": self._response(self._items(), over=True)}))

    def events_without_choices(self) -> bytes:
        return _Events().made("response.completed", {"response": self._response([], over=True)})

    def _text_events(self, events: _Events, by_token: bool) -> Iterator[tuple[bool, bytes]]:
        """Each with whether it is a token."""
        message = self._message("in_progress", [])
        place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        yield False, events.made("response.output_item.added", {"output_index": 0, "item": message})
        yield False, events.made("response.content_part.added", {**place, "part": _text_part("", [])})
        text, probabilities = self._output.text, self._logprobs
        for index, piece in enumerate(pieces(text) if by_token else [text]):
            own = probabilities[index : index + 1] if by_token else probabilities
            yield True, events.made("response.output_text.delta", {**place, "delta": piece, "logprobs": own})
        yield False, events.made("response.output_text.done", {**place, "text": text, "logprobs": probabilities})
        yield False, events.made("response.content_part.done", {**place, "part": _text_part(text, probabilities)})
        done = {"output_index": 0, "item": self._items()[0]}
        yield False, events.made("response.output_item.done", done)

    def _call_events(self, events: _Events, by_token: bool) -> Iterator[tuple[bool, bytes]]:
        for index, call in enumerate(self._output.calls):
            item = self._call(index, call, "", "in_progress")
            place = {"item_id": item["id"], "output_index": index}
            yield False, events.made("response.output_item.added", {"output_index": index, "item": item})
            for piece in pieces(call.arguments) if by_token else [call.arguments]:
                yield True, events.made("response.function_call_arguments.delta", {**place, "delta": piece})
            done = {**place, "name": call.name, "arguments": call.arguments}
            yield False, events.made("response.function_call_arguments.done", done)
            yield False, events.made("response.output_item.done", {"output_index": index, "item": self._items()[index]})


def _text_part(text: str, logprobs: list[TokenLogprob]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._numbers = count()

    def made(self, kind: str, data: Json) -> bytes:
        body = _encode({"type": kind, "sequence_number": next(self._numbers), **data})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)
