"""The kinds of backend there are. A new kind is a settings class, a backend, and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from apxm.backends.protocol import AnyBackend, BackendInfo, CoroutineBackend, Limits, ModelAnswer, ModelRequest, Tell
from apxm.backends.settings import OpenAISettings, ReplaySettings, Settings, SimulatedSettings
from apxm.errors import BackendError, ConfigurationError

KINDS: MappingProxyType[str, type[Settings]] = MappingProxyType(
    {"openai": OpenAISettings, "replay": ReplaySettings, "simulated": SimulatedSettings}
)


def create_backend(
    name: str,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    where: str | None = None,
    of: CoroutineBackend | None = None,
) -> AnyBackend:
    """Makes the backend that `settings` describes; `of` is the one that they name. Raises `ConfigurationError`, and
    `UsageError` for a specification that is none; `where` names the file that the settings come from."""
    match settings:
        case OpenAISettings():
            from apxm.backends.openai import OpenAIBackend  # loads the HTTP client

            return OpenAIBackend(name, settings, environment, where=where)
        case ReplaySettings():
            from apxm.backends.replay import ReplayBackend

            return ReplayBackend(name, settings.file, of)
        case SimulatedSettings():
            from apxm.backends.simulated import SimulatedBackend

            return SimulatedBackend(
                name=name,
                model=settings.model,
                latency=settings.latency,
                slowdown=settings.slowdown,
                faults=settings.faults,
                seed=settings.seed,
                answers=[(_pattern(name, a.match, where), a.answer) for a in settings.answers],
                limits=settings.limits,
            )


def _pattern(name: str, text: str, where: str | None) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(
            f"backends.{name}.answers: {text!r} is not a regular expression: {error}", where=where
        ) from None


class DeferredBackend:
    """Made at its first call. So a run needs the keys, the certificates and the HTTP client of those it calls only.

    Where it cannot be made, each call of it fails with the kind `configuration`.
    """

    def __init__(
        self,
        info: BackendInfo,
        limits: Limits,
        make: Callable[[], CoroutineBackend],
        *,
        can_reason: bool = False,
        can_see: bool = False,
        can_read_pdf: bool = False,
        by_operation: bool = False,
        temperature: float | None = None,
    ) -> None:
        self.info = info
        self.limits = limits
        self.can_reason = can_reason
        self.can_see = can_see
        self.can_read_pdf = can_read_pdf
        self.by_operation = by_operation
        self.temperature = temperature
        self._make = make
        self._backend: CoroutineBackend | None = None

    def prepare(self) -> CoroutineBackend:
        """Makes it, where that has not been done. Raises `ConfigurationError` where it cannot be made."""
        if self._backend is None:
            self._backend = self._make()
        return self._backend

    async def call(self, request: ModelRequest) -> ModelAnswer:
        return await self._made().call(request)

    async def call_stream(self, request: ModelRequest, tell: Tell) -> ModelAnswer:
        backend = self._made()
        if (stream := getattr(backend, "call_stream", None)) is None:
            return await backend.call(request)
        return await stream(request, tell)

    async def listed(self) -> list[str] | None:
        """As `OpenAIBackend.listed`; None where it is of another kind."""
        ask = getattr(self.prepare(), "listed", None)
        return None if ask is None else await ask()

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()

    def _made(self) -> CoroutineBackend:
        try:
            return self.prepare()
        except ConfigurationError as error:
            place = f"{error.where}: " if error.where else ""
            raise BackendError("configuration", f"{place}{error.message}", retryable=False, hint=error.hint) from None
