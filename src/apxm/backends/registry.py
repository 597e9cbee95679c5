"""The kinds of backend there are. A new kind is a settings class, a backend, and a line here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from apxm.backends.protocol import AnyBackend
from apxm.backends.settings import OpenAISettings, Settings, SimulatedSettings
from apxm.errors import ConfigurationError

KINDS: MappingProxyType[str, type[Settings]] = MappingProxyType(
    {"openai": OpenAISettings, "simulated": SimulatedSettings}
)


def create_backend(
    name: str, settings: Settings, environment: Mapping[str, str], *, where: str | None = None
) -> AnyBackend:
    """Makes the backend that `settings` describes. Raises `ConfigurationError`, and `UsageError` for a specification
    that is none; `where` names the file that the settings come from."""
    match settings:
        case OpenAISettings():
            from apxm.backends.openai import OpenAIBackend  # loads the HTTP client

            return OpenAIBackend(name, settings, environment, where=where)
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
