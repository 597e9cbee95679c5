"""An answer that is a list of choices, whole or as a stream of chunks: what chat and the older completions share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apxm.backends.completion import Completion, TokenCounts
from apxm.simulator.answers import Stream
from apxm.simulator.outputs import Candidate

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class ChoicesAnswer(Struct, frozen=True, kw_only=True):
    kinds: ClassVar[tuple[str, str]]
    """What a whole one and a chunk are called."""
    has_beginning: ClassVar[bool] = False
    """Whether there is a chunk to send before the first token."""

    id: str
    created: int
    model: str
    outputs: Sequence[Candidate]
    usage: TokenCounts
    alternatives: int | None
    """How many are given with each token; None where no probabilities are."""
    wants_usage: bool
    """Whether the stream ends with the usage."""

    def choice(self, index: int, output: Candidate) -> Struct:
        """A whole choice."""
        raise NotImplementedError

    def chunks(self, index: int, output: Candidate, *, by_token: bool) -> Iterator[tuple[bool, Struct]]:
        """A choice in parts, from its beginning to its end, each with whether it is a token."""
        raise NotImplementedError

    def whole(self) -> bytes:
        return self._whole([self.choice(index, output) for index, output in enumerate(self.outputs)])

    def without_choices(self, *, stream: bool) -> bytes:
        return self._chunk((), UNSET) + DONE if stream else self._whole(())

    refusing = without_choices

    def stream(self, *, by_token: bool) -> Stream:
        """One choice after the other."""
        events = self._events(by_token=by_token)
        return Stream.of(next(events)[1] if self.has_beginning else b"", events)

    def _events(self, *, by_token: bool) -> Iterator[tuple[bool, bytes]]:
        usage = None if self.wants_usage else UNSET
        for index, output in enumerate(self.outputs):
            for is_token, chunk in self.chunks(index, output, by_token=by_token):
                yield is_token, self._chunk((chunk,), usage)
        if self.wants_usage:
            yield False, self._chunk((), self.usage)
        yield False, DONE

    def _whole(self, choices: Sequence[Struct]) -> bytes:
        return _encode(Completion(self.id, self.kinds[0], self.created, self.model, choices, self.usage))

    def _chunk(self, choices: Sequence[Struct], usage: TokenCounts | UnsetType | None) -> bytes:
        chunk = Completion(self.id, self.kinds[1], self.created, self.model, choices, usage)
        return b"data: %b\n\n" % _encode(chunk)
