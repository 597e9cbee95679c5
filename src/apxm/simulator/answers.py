"""What the calls of all pages have in common: they are asked, take their time, and are answered whole or as events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from apxm.backends.completion import TokenCounts
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.simulator.outputs import Say


class Stream(NamedTuple):
    """Server-sent events, in the pieces that they are sent in."""

    first: bytes
    tokens: Sequence[bytes]
    last: bytes

    def all(self) -> bytes:
        return b"".join((self.first, *self.tokens, self.last))

    @staticmethod
    def of(first: bytes, events: Iterable[tuple[bool, bytes]]) -> Stream:
        """`events` come each with whether it is a token; what is none is sent with the next token, or at the end."""
        tokens: list[bytes] = []
        pending = b""
        for is_token, written in events:
            pending += written
            if is_token:
                tokens.append(pending)
                pending = b""
        return Stream(first, tokens, pending)


class ServedAnswer(Protocol):
    @property
    def usage(self) -> TokenCounts: ...

    def whole(self) -> bytes: ...

    def stream(self, *, by_token: bool) -> Stream:
        """The answer as events: by token a piece for each one of the usage, else one for each text."""
        ...

    def without_choices(self, *, stream: bool) -> bytes:
        """An answer with nothing in it, whole or as events."""
        ...

    def refusing(self, *, stream: bool) -> bytes:
        """A refusal to answer, whole or as events, on a page where a shape can be asked for."""
        ...


class ServedCall(Protocol):
    """A body that was understood as a call."""

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as events."""
        ...

    @property
    def asked(self) -> ModelRequest:
        """What the latency is drawn for, and the answer in words given to."""
        ...

    def answer(self, number: int, created: int, said: ModelAnswer, say: Say) -> ServedAnswer:
        """`number` is that of the call, from 1, and `created` when it is answered, in seconds since 1970."""
        ...
