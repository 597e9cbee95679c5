"""``/v1/completions``, the older way to ask: a text goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, count_tokens
from apxm.simulator.bodies import BadRequestError, Limit, Nothing, StreamOptions, passing_over, wants_usage
from apxm.simulator.chat import Choices, Stop, listed
from apxm.simulator.choices import ChoicesAnswer
from apxm.simulator.logprobs import logprobs_of
from apxm.simulator.outputs import Candidate, FinishReason, Sampling, Say, outputs, pieces, usage_of

_MOST_ALTERNATIVES = 5


_UNHEEDED = "frequency_penalty logit_bias presence_penalty seed temperature top_p user"


class CompletionRequest(passing_over(_UNHEEDED), forbid_unknown_fields=True, kw_only=True):
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
    suffix: Nothing = None


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
        made: list[Candidate] = []
        for prompt in self.prompts:
            asked = ModelRequest(prompt, model=request.model, max_tokens=request.max_tokens)
            first = said if len(self.prompts) == 1 else say(asked, 0)
            made += outputs(asked, self._sampling, first, say, number)
        return CompletionAnswer(
            id=f"cmpl-simulated-{number}",
            created=created,
            model=said.model or "",
            outputs=made,
            usage=usage_of(replace(said.usage, input_tokens=sum(map(count_tokens, self.prompts))), made),
            alternatives=request.logprobs,
            wants_usage=wants_usage(request.stream_options),
        )


class CompletionAnswer(ChoicesAnswer, frozen=True, kw_only=True):
    kinds = "text_completion", "text_completion"

    def choice(self, index: int, output: Candidate) -> TextChoice:
        return TextChoice(output.text, index, self._logprobs(output.text), output.finish_reason)

    def chunks(self, index: int, output: Candidate, *, by_token: bool) -> Iterator[tuple[bool, TextChoice]]:
        for place, text in enumerate(pieces(output.text, by_token=by_token)):
            own = self._logprobs(output.text, slice(place, place + 1) if by_token else slice(None))
            yield True, TextChoice(text, index, own)
        yield False, TextChoice("", index, None, output.finish_reason)

    def _logprobs(self, text: str, of: slice = slice(None)) -> TextLogprobs | None:
        """The probabilities of some of the tokens of `text`, or of all."""
        if self.alternatives is None:
            return None
        made = logprobs_of(text, self.alternatives)[of]
        return TextLogprobs(
            [token.token for token in made],
            [token.logprob for token in made],
            [{other.token: other.logprob for other in token.top_logprobs} for token in made],
            list(range(0, len(text), CHARACTERS_PER_TOKEN))[of],
        )
