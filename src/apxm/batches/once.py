"""Equal calls of a batch, which are made once."""

from __future__ import annotations

from types import TracebackType
from typing import cast

from apxm.backends.answers import Answers
from apxm.backends.equal_calls import Claims, EqualCalls
from apxm.backends.protocol import AnyBackend
from apxm.runtime.limits import BackendPool


class Once:
    """``with Once() as once``: backends of one batch, and the answers that it has."""

    def __init__(self, claims: Claims | None = None) -> None:
        """`claims` knows what other processes ask, where there are some."""
        self._claims = claims
        self._answers = Answers()
        self._backends: list[EqualCalls] = []

    def __enter__(self) -> Once:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._answers.close()

    def of(self, pool: BackendPool) -> BackendPool:
        """The pool with backends that are asked once for equal calls."""
        return pool.wrapped(self._wrap)

    @property
    def shared(self) -> int:
        """Calls that were not made."""
        return sum(backend.shared for backend in self._backends)

    def _wrap(self, backend: AnyBackend) -> AnyBackend:
        self._backends.append(EqualCalls(backend, self._answers, len(self._backends), claims=self._claims))
        return cast(AnyBackend, self._backends[-1])
