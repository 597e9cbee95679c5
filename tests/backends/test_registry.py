"""Backends from settings."""

from __future__ import annotations

import asyncio

import pytest

from apxm.backends.endpoint import openai_info, parse_endpoint
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import CoroutineBackend, ModelRequest
from apxm.backends.registry import DeferredBackend, create_backend
from apxm.backends.settings import OpenAISettings, ScriptedAnswer, SimulatedSettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError, ConfigurationError

OPENAI = OpenAISettings(model="m", endpoint="http://u:HIDDEN@127.0.0.1:1/v1?k=HIDDEN", reasoning="effort")


def test_each_kind_of_settings_makes_its_backend() -> None:
    assert isinstance(create_backend("a", SimulatedSettings(), {}), SimulatedBackend)
    made = create_backend("b", OPENAI, {})
    assert isinstance(made, OpenAIBackend)
    assert made.can_reason
    assert (made.info.name, made.info.description) == ("b", "m at http://127.0.0.1:1/v1")


def test_a_pattern_that_is_none_is_a_configuration_error() -> None:
    settings = SimulatedSettings(answers=(ScriptedAnswer("(", "x"),))
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        create_backend("a", settings, {}, where="f:1")


def test_a_backend_that_cannot_be_made_fails_at_its_call_and_not_before() -> None:
    def make() -> CoroutineBackend:
        raise ConfigurationError("KEY is not set", where="config.toml:2", hint="export KEY=…")

    backend = DeferredBackend(
        openai_info("b", OPENAI, parse_endpoint(OPENAI.endpoint)), OPENAI.limits, make, can_reason=True
    )
    assert backend.can_reason
    with pytest.raises(BackendError, match=r"config\.toml:2: KEY is not set") as caught:
        asyncio.run(backend.call(ModelRequest("Hi")))
    assert (caught.value.kind, caught.value.retryable, caught.value.hint) == ("configuration", False, "export KEY=…")
    asyncio.run(backend.close())
