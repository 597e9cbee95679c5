"""``/v1/completions``, the older way to ask: a text goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, count_tokens
from apxm.simulator.answers import DONE, AnswerUsage, Stream, event
from apxm.simulator.bodies import BadRequestError, Limit, StreamOptions, Unheeded, Unserved, reader
from apxm.simulator.chat import Choices, Stop, listed
from apxm.simulator.logprobs import logprobs_of
from apxm.simulator.outputs import FinishReason, Output, Sampling, Say, outputs, pieces

_MOST_ALTERNATIVES = 5


class CompletionRequest(Struct, forbid_unknown_fields=True):
    prompt: str | list[str]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit = None
    n: Choices = None
    best_of: int | None = None
    stop: Stop | list[Stop] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=_MOST_ALTERNATIVES)] | None = None
    echo: bool | None = None
    suffix: Unserved = None

    frequency_penalty: Unheeded = None
    logit_bias: Unheeded = None
    presence_penalty: Unheeded = None
    seed: Unheeded = None
    temperature: Unheeded = None
    top_p: Unheeded = None
    user: Unheeded = None


class TextLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Struct):
    text: str
    index: int
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason | None = None


class TextCompletion(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[TextChoice]


class TextCompletionWithUsage(TextCompletion):
    usage: AnswerUsage | None = None


class CompletionCall:
    def __init__(self, request: CompletionRequest) -> None:
        """Raises `BadRequestError`."""
        if request.echo:
            raise BadRequestError("'echo': the simulator does not serve it, expected false.", "echo")
        if request.best_of not in (None, request.n or 1):
            raise BadRequestError("'best_of': the simulator does not serve it, expected what 'n' is.", "best_of")
        self.prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        if not self.prompts:
            raise BadRequestError("'prompt' is empty: expected a text or several.", "prompt")
        self.stream = bool(request.stream)
        self.asked = ModelRequest("\n\n".join(self.prompts), model=request.model, max_tokens=request.max_tokens)
        self._request = request
        self._sampling = Sampling(request.n or 1, listed(request.stop), request.max_tokens)

    def answer(self, number: int, created: int, said: ModelAnswer, say: Say) -> CompletionAnswer:
        request = self._request
        made: list[Output] = []
        for prompt in self.prompts:
            asked = ModelRequest(prompt, model=request.model, max_tokens=request.max_tokens)
            first = said if len(self.prompts) == 1 else say(asked, 0)
            made += outputs(asked, self._sampling, first, say, number)
        given = sum(map(count_tokens, self.prompts))
        return CompletionAnswer(f"cmpl-simulated-{number}", created, said.model or "", request, made, given)


def decode_completion(body: bytes) -> CompletionCall:
    """Raises `BadRequestError`."""
    return CompletionCall(_read(body))


_read = reader(CompletionRequest)


class CompletionAnswer:
    def __init__(
        self, name: str, created: int, model: str, request: CompletionRequest, outputs: Sequence[Output], given: int
    ) -> None:
        """`given`: the tokens of the prompts."""
        self._head = (name, "text_completion", created, model)
        self._outputs = outputs
        self._alternatives = request.logprobs
        self._wants_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
        taken = sum(output.tokens for output in outputs)
        self.usage = AnswerUsage(given, taken, given + taken)

    def whole(self) -> bytes:
        choices = [
            TextChoice(output.text, index, self._logprobs(output.text, 0, None), output.finish_reason)
            for index, output in enumerate(self._outputs)
        ]
        return msgspec.json.encode(TextCompletionWithUsage(*self._head, choices, self.usage))

    def without_choices(self) -> bytes:
        return msgspec.json.encode(TextCompletionWithUsage(*self._head, (), self.usage))

    def stream(self, *, by_token: bool) -> Stream:
        tokens: list[bytes] = []
        pending = b""
        for index, output in enumerate(self._outputs):
            for place, text in enumerate(pieces(output.text) if by_token else [output.text]):
                logprobs = self._logprobs(output.text, place, place + 1 if by_token else None)
                tokens.append(pending + self._chunk(TextChoice(text, index, logprobs)))
                pending = b""
            pending += self._chunk(TextChoice("", index, None, output.finish_reason))
        if self._wants_usage:
            pending += event(TextCompletionWithUsage(*self._head, (), self.usage))
        return Stream(b"", tokens, pending + DONE)

    def events_without_choices(self) -> bytes:
        return event(TextCompletion(*self._head, ())) + DONE

    def _chunk(self, choice: TextChoice) -> bytes:
        return event((TextCompletionWithUsage if self._wants_usage else TextCompletion)(*self._head, (choice,)))

    def _logprobs(self, text: str, first: int, end: int | None) -> TextLogprobs | None:
        """Of the tokens from the `first` to before the `end`."""
        if self._alternatives is None:
            return None
        made = logprobs_of(text, self._alternatives)
        return TextLogprobs(
            [token.token for token in made[first:end]],
            [token.logprob for token in made[first:end]],
            [{other.token: other.logprob for other in token.top_logprobs} for token in made[first:end]],
            list(range(0, len(text), CHARACTERS_PER_TOKEN))[first:end],
        )
