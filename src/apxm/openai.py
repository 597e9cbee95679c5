"""The clients of the OpenAI SDK, whose calls are those of a run where they are made in one.

from apxm.openai import OpenAI

They are the SDK's own, with `apxm.transport()` beneath, and come with the extra ``openai``. In a flow its limits,
retries, budget and journal hold, and the SDK makes no retries of its own; anywhere else they are as they were.
"""

from __future__ import annotations

from typing import Any

from apxm.sdks.in_place import OWN_RETRIES
from apxm.sdks.transport import transport

try:
    import openai
except ImportError as missing:
    raise ImportError(f"the OpenAI SDK cannot be loaded: {missing}; pip install 'apxm[openai]'") from missing

__all__ = ["AsyncOpenAI", "OpenAI"]


def _beneath(named: dict[str, Any], default: Any) -> dict[str, Any]:
    """The arguments of a client, with our transport beneath it."""
    if named.get("http_client") is None:
        return {**named, "http_client": default(transport=transport())}
    return named


class OpenAI(openai.OpenAI):
    """`openai.OpenAI` on `apxm.transport()`; with an `http_client` of one's own it is on the transport of that."""

    max_retries = OWN_RETRIES

    def __init__(self, **named: Any) -> None:
        super().__init__(**_beneath(named, openai.DefaultHttpxClient))


class AsyncOpenAI(openai.AsyncOpenAI):
    """As `OpenAI`, for event loops."""

    max_retries = OWN_RETRIES

    def __init__(self, **named: Any) -> None:
        super().__init__(**_beneath(named, openai.DefaultAsyncHttpxClient))
