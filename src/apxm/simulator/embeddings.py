"""``/v1/embeddings``: a text's vector is made of its digest, so it is always the same and has no meaning."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from hashlib import shake_128
from math import sqrt
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from apxm.backends.completion import TokenCounts
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import count_tokens
from apxm.simulator.answers import Stream
from apxm.simulator.bodies import Anything, BadRequestError
from apxm.simulator.outputs import Say

DIMENSIONS = 1536
_MOST_DIMENSIONS = 8192
_MOST_INPUTS = 2048

Tokens = list[int]


class EmbeddingsRequest(Struct, forbid_unknown_fields=True):
    input: str | list[str | int | Tokens]
    model: str | None = None
    dimensions: Annotated[int, Meta(ge=1, le=_MOST_DIMENSIONS)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: Anything = None


class EmbeddingsCall:
    stream = False

    def __init__(self, request: EmbeddingsRequest) -> None:
        """Raises `BadRequestError`."""
        self._request = request
        self.inputs = _inputs(request.input)
        texts = [item if isinstance(item, str) else _spelled(item) for item in self.inputs]
        self.asked = ModelRequest(prompt="\n\n".join(texts), model=request.model)

    def answer(self, number: int, created: int, said: ModelAnswer, say: Say) -> EmbeddingsAnswer:  # noqa: ARG002
        return EmbeddingsAnswer(self._request, self.inputs, said.model or "")


def _inputs(given: str | list[str | int | Tokens]) -> Sequence[str | Tokens]:
    """What each vector is of: texts, or tokens by their numbers."""
    if isinstance(given, str):
        given = [given]
    numbers = [item for item in given if isinstance(item, int)]
    if numbers and len(numbers) < len(given):
        raise BadRequestError("'input' mixes numbers with texts or lists: expected texts or tokens.", "input")
    inputs = [numbers] if numbers else [item for item in given if not isinstance(item, int)]
    if not all(inputs) or not inputs:
        raise BadRequestError("'input' is empty, or holds something empty: expected texts or tokens.", "input")
    if len(inputs) > _MOST_INPUTS:
        raise BadRequestError(f"'input' holds {len(inputs)} texts, expected at most {_MOST_INPUTS}.", "input")
    return inputs


def _spelled(tokens: Tokens) -> str:
    return " ".join(map(str, tokens))


class EmbeddingsAnswer(Struct, frozen=True):
    request: EmbeddingsRequest
    inputs: Sequence[str | Tokens]
    model: str

    @property
    def usage(self) -> TokenCounts:
        given = sum([count_tokens(item) if isinstance(item, str) else len(item) for item in self.inputs])
        return TokenCounts(given, 0, given)

    def whole(self) -> bytes:
        vectors = [self._written(item) for item in self.inputs]
        return self._list([{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)])

    def without_choices(self, *, stream: bool) -> bytes:  # noqa: ARG002
        return self._list([])

    refusing = without_choices

    def stream(self, *, by_token: bool) -> Stream:  # noqa: ARG002
        """Never asked for: there are no events of embeddings."""
        return Stream(b"", (), self.whole())

    def _list(self, data: list[dict[str, object]]) -> bytes:
        usage = {"prompt_tokens": self.usage.prompt_tokens, "total_tokens": self.usage.total_tokens}
        return msgspec.json.encode({"object": "list", "data": data, "model": self.model, "usage": usage})

    def _written(self, item: str | Tokens) -> Sequence[float] | str:
        vector = unit_vector(item if isinstance(item, str) else _spelled(item), self.request.dimensions or DIMENSIONS)
        if self.request.encoding_format != "base64":
            return vector
        numbers = array("f", vector)
        if sys.byteorder == "big":
            numbers.byteswap()
        return b64encode(numbers.tobytes()).decode()


def unit_vector(text: str, dimensions: int) -> list[float]:
    """The first `dimensions` numbers that the digest of `text` gives, scaled to length 1; fewer are the beginning of
    more, scaled anew, as they are of a model that can shorten its vectors."""
    numbers = array("h", shake_128(text.encode(errors="surrogatepass")).digest(2 * dimensions))
    if sys.byteorder == "big":
        numbers.byteswap()
    length = sqrt(sum([number * number for number in numbers])) or 1.0
    return [number / length for number in numbers]
