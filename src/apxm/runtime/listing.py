"""Whether a backend can be called, and has the models that a run names: asked before a run that would pay for one call
before it misses what another one needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from apxm.backends.protocol import AnyBackend, BackendInfo
from apxm.errors import BackendError, ConfigurationError, hint_for
from apxm.source import printable

PATIENCE_S = 2.0
"""How long a list of models is waited for; an endpoint that is slower is as one that has none."""
_SHOWN = 8
"""Most models in a hint."""

_listed: dict[tuple[str, str | None], frozenset[str] | None] = {}
"""What each endpoint said it has, by its backend's name and its URL; None of one that does not say."""


async def missing_models(backend: AnyBackend, models: Iterable[str]) -> list[ConfigurationError]:
    """What keeps `backend` from being called at all, else those of `models` that its endpoint does not list.

    An endpoint is asked once per process, and again only where it did not have a model. One that has no list, or does
    not give it in time, has every model.
    """
    if (prepare := getattr(backend, "prepare", None)) is not None:
        try:
            prepare()
        except ConfigurationError as error:
            return [error]
    info = backend.info
    key = info.name, info.endpoint
    wanted = [model for model in models if not _has(_listed.get(key, frozenset()), model)]
    if not wanted or (ask := getattr(backend, "listed", None)) is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await ask()
    except (BackendError, TimeoutError):
        found = None
    _listed[key] = listed = frozenset(found) if found else None
    return [_missing(info, model, listed) for model in wanted if listed and not _has(listed, model)]


def _has(listed: frozenset[str] | None, model: str) -> bool:
    """Ollama lists ``qwen3:latest`` and takes ``qwen3``; OpenRouter lists ``qwen/qwen3`` and takes
    ``qwen/qwen3:online``."""
    return listed is None or not listed.isdisjoint((model, f"{model}:latest", model.rpartition(":")[0]))


def _missing(info: BackendInfo, model: str, listed: frozenset[str]) -> ConfigurationError:
    shown = ", ".join([*sorted(listed)[:_SHOWN], *(["…"] if len(listed) > _SHOWN else [])])
    return ConfigurationError(
        printable(f"backend {info.name} has no model {model!r}: {info.endpoint} does not list it"),
        hint=printable(hint_for(model, listed, f"it lists {shown}"))
        + "; `any_model = true` lets the backend be asked for models that are not listed",
    )
