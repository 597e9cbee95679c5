"""The backends of a process, and what it may ask of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from inspect import iscoroutinefunction
from typing import cast

import msgspec

from apxm.backends.numbers import count, seconds, whole
from apxm.backends.protocol import AnyBackend, BackendInfo, Limits
from apxm.errors import ConfigurationError, UsageError
from apxm.runtime.gates import Gate
from apxm.runtime.open_files import most_connections
from apxm.runtime.retries import RetryBudget
from apxm.source import shortened


class Gates:
    """Gates that several pools share, because they are about the same endpoints."""

    def __init__(self) -> None:
        self._gates: dict[object, Gate] = {}
        self.retries = RetryBudget(self._gates.values())

    def gate(self, backend: AnyBackend) -> Gate:
        info, limits = backend.info, _limits(backend)
        key = info.name, info.endpoint, limits.max_concurrency, limits.requests_per_minute, limits.tokens_per_minute
        return self._gates.setdefault(key, _gate(info.name, backend))


PROCESS = Gates()
"""The gates of pools made from a configuration: two runs of a process with the same one are at the same endpoints."""


class BackendPool:
    """The backends of a process by name, with their gates. Close it when no run uses it any more."""

    def __init__(
        self,
        backends: Mapping[str, AnyBackend],
        default: str,
        shared: Gates | None = None,
        *,
        stands_in: bool = False,
    ) -> None:
        """What is simulated shares nothing: each such backend is an endpoint of its own. `stands_in` lets the default
        one answer for names that are not there."""
        self.backends = dict(backends)
        self.default = default
        self._stands_in = stands_in
        for name, backend in self.backends.items():
            _check(name, backend)
        self.gates = {
            name: shared.gate(backend) if shared and not backend.info.simulated else _gate(name, backend)
            for name, backend in self.backends.items()
        }
        real = shared and not all(backend.info.simulated for backend in self.backends.values())
        self.retries = shared.retries if shared and real else RetryBudget(self.gates.values())
        if default not in self.backends:
            raise ConfigurationError(f"the default backend {default!r} is not configured", hint=self._known())

    def __repr__(self) -> str:
        names = shortened(", ".join(sorted(self.backends)), 60)
        return f"BackendPool(default={self.default!r}, backends={names!r})"

    def wrapped(self, wrap: Callable[[AnyBackend], AnyBackend]) -> BackendPool:
        """The same pool, with other backends in the place of its own, which ask them: their gates are the same."""
        pool = copy(self)
        made = {id(backend): wrap(backend) for backend in self.backends.values()}
        pool.backends = {name: made[id(backend)] for name, backend in self.backends.items()}
        return pool

    def gated(self, make: Callable[[str, AnyBackend], Gate]) -> BackendPool:
        """The same pool, with other gates in the place of its own."""
        pool = copy(self)
        pool.gates = {name: make(name, backend) for name, backend in self.backends.items()}
        pool.retries = RetryBudget(pool.gates.values())
        return pool

    def get(self, name: str | None) -> tuple[AnyBackend, Gate]:
        """A backend by its name, the default one for None. Raises `ConfigurationError`."""
        key = name or self.default
        if self._stands_in and key not in self.backends:
            key = self.default
        if key not in self.backends:
            raise self._unknown(key)
        return self.backends[key], self.gates[key]

    def is_unheard_of(self, name: str) -> bool:
        """Whether the default backend stands in for one that nobody configured."""
        return self._stands_in and name not in self.backends

    def refuse_unheard_of(self, name: str) -> None:
        """Raises `ConfigurationError` where the default backend would stand in for one that nobody configured, though
        there are others: it has a wrong name."""
        if self.is_unheard_of(name) and len(self.backends) > 1:
            raise self._unknown(name)

    @property
    def info(self) -> BackendInfo:
        """The description of the default backend."""
        return self.backends[self.default].info

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.close()

    def _unknown(self, name: str) -> ConfigurationError:
        message = f"the program asks for backend {name!r}, which is not configured"
        return ConfigurationError(message, hint=self._known())

    def _known(self) -> str:
        return f"configured: {', '.join(sorted(self.backends))}"


def _check(name: str, backend: object) -> None:
    """Refuses a backend written in Python that a run would wait for in vain. Raises `ConfigurationError`."""

    def refuse(what: str) -> ConfigurationError:
        return ConfigurationError(f"backend {name!r} is none: {what}")

    info, limits = getattr(backend, "info", None), getattr(backend, "limits", None)
    if not isinstance(info, BackendInfo):
        raise refuse(f"its info is a {type(info).__name__}, expected a BackendInfo")
    simulated = cast(object, info.simulated)
    if not isinstance(simulated, bool):  # it decides whether there is a journal
        raise refuse(f"its info.simulated is a {type(simulated).__name__}, expected a bool")
    if not isinstance(limits, Limits):
        raise refuse(f"its limits are a {type(limits).__name__}, expected Limits")
    try:
        for field in ("max_concurrency", "requests_per_minute", "tokens_per_minute", "max_tokens"):
            if (number := getattr(limits, field)) is not None:
                count(number, f"limits.{field}")
        for field in ("timeout_s", "timeout_first_token_s"):
            if (limit := getattr(limits, field)) is not None:
                seconds(limit, f"limits.{field}")
        whole(limits.retries, "limits.retries")
    except UsageError as error:
        raise refuse(error.message) from None
    begin, call = getattr(backend, "begin", None), getattr(backend, "call", None)
    if begin is None and call is None:
        raise refuse("it has neither a method begin nor a method call")
    if begin is not None and iscoroutinefunction(begin):
        raise refuse("its begin is an async function, which nobody awaits; such a backend has a method call")


def is_adaptive(info: BackendInfo, limits: Limits) -> bool:
    """Whether it is found out how many calls in flight a backend bears: of an endpoint of which nobody has said it."""
    return info.endpoint is not None and not info.simulated and limits.max_concurrency is None


def _gate(name: str, backend: AnyBackend) -> Gate:
    return Gate(name, _limits(backend), adaptive=is_adaptive(backend.info, backend.limits))


def _limits(backend: AnyBackend) -> Limits:
    """What the backend allows, and never more calls in flight than there are files to open for them."""
    limits = backend.limits
    files = None if backend.info.simulated else most_connections()
    most = min((limit for limit in (limits.max_concurrency, files) if limit is not None), default=None)
    return msgspec.structs.replace(limits, max_concurrency=most)
