"""The backend that the environment alone describes."""

from __future__ import annotations

from collections.abc import Mapping

from apxm.backends.settings import OpenAISettings

OPENAI = "openai"
"""The name of the backend that OPENAI_API_KEY makes."""
DEFAULT_ENDPOINT = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"
KEY, ENDPOINT, MODEL = "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether this is continuous integration, as its services say by a variable: there nothing new is recorded."""
    return environment.get("CI", "").strip().lower() not in ("", "0", "false", "no")


def openai_from(environment: Mapping[str, str]) -> tuple[OpenAISettings, str] | None:
    """The settings, and what made them, in words; None where OPENAI_API_KEY is not set."""
    if not environment.get(KEY, "").strip():
        return None
    endpoint, model = environment.get(ENDPOINT), environment.get(MODEL)
    settings = OpenAISettings(
        model=model or DEFAULT_MODEL,
        endpoint=endpoint or DEFAULT_ENDPOINT,
        api_key=f"env:{KEY}",
        # OpenAI's newer models refuse the older name; other endpoints mostly know no other.
        max_tokens_field="max_tokens" if endpoint else "max_completion_tokens",
        can_see=not endpoint,
        can_read_pdf=not endpoint,
    )
    default_model = "" if model else f"; {MODEL} chooses another model"
    return settings, f"{KEY} is set{default_model}"
