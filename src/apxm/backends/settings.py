"""What a configuration may say about each kind of backend."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

from apxm.backends.latency import DEFAULT_LATENCY
from apxm.backends.numbers import Count, Mebibytes, Retries, Seconds, Seed, Temperature
from apxm.backends.protocol import NO_LIMITS, Limits, Price


class ScriptedAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    match: str
    """A regular expression, searched for anywhere in the prompt."""
    answer: str


class _Settings(Struct, frozen=True, kw_only=True):
    max_concurrency: Count | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    timeout_s: Seconds = 600.0
    timeout_first_token_s: Seconds | None = None
    prices: dict[str, Price] = {}
    """What a million tokens cost, by model."""
    retries: Retries | None = None
    """The most retries; None is as many as `Limits` has, and fewer where nobody listens on this machine."""

    model: str

    @property
    def answers_by(self) -> dict[str, object]:
        """All that answers depend on beside the request and the weather, by name; nothing that is secret."""
        return {"model": self.model}

    @property
    def limits(self) -> Limits:
        said = {name: getattr(self, name) for name in Limits.__struct_fields__ if hasattr(self, name)}
        if self.retries is None:
            del said["retries"]
        return Limits(**said)


_ANSWERING = ("model", "system", "temperature", "max_tokens", "reasoning", "structured")


class SimulatedSettings(
    _Settings, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="simulated"
):
    model: str = "simulated"
    latency: str = DEFAULT_LATENCY
    slowdown: str = "none"
    faults: str = "none"
    seed: Seed = 0
    answers: tuple[ScriptedAnswer, ...] = ()
    """The first that matches is the answer."""


class OpenAISettings(_Settings, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="openai"):
    model: str
    endpoint: str
    """The URL up to and without ``/chat/completions``."""
    api_key: str | None = None
    """``env:NAME``, or the key itself. None sends none: no key is ever taken from elsewhere."""
    system: str | None = None
    """The system text of requests that bring none."""
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit: newer models of OpenAI refuse the older name."""
    reasoning: Literal["none", "effort"] = "none"
    """``effort`` sends ``reasoning_effort`` where the program asks to think."""
    can_see: bool = False
    """Whether its model takes images."""
    image_tokens: Count = Limits().image_tokens
    """The most tokens that one image counts, for limits of tokens."""
    can_read_pdf: bool = False
    """Whether its model takes PDFs."""
    pdf_tokens: Count = Limits().pdf_tokens
    """The most tokens that one PDF counts, likewise."""
    structured: Literal["auto", "schema", "instruction"] = "auto"
    """How an answer of a type is asked for: by a JSON schema, in words, or by a schema until that is refused."""
    headers: dict[str, str] = {}
    """Sent with each request; a value may be ``env:NAME``."""
    body: dict[str, object] = {}
    """Further fields of each request's body; what the call itself says wins."""
    cache: bool = False
    """Whether answers at temperature 0 are kept for later runs, and taken from there."""
    any_model: bool = False
    """Whether it may be asked for models that the endpoint does not list."""
    max_answer_mib: Mebibytes = 64.0
    """An answer larger than this, decompressed, is refused."""

    @property
    def can_reason(self) -> bool:
        return self.reasoning == "effort"

    @property
    def answers_by(self) -> dict[str, object]:
        body = sha256(msgspec.json.encode(self.body, order="sorted")).hexdigest()[:16] if self.body else None
        said = {name: getattr(self, name) for name in _ANSWERING}
        return {name: value for name, value in {**said, "body": body}.items() if value is not None}

    @property
    def own_input(self) -> int:
        """A token for each byte of what it adds."""
        return len((self.system or "").encode(errors="surrogatepass")) + len(msgspec.json.encode(self.body))

    def __repr__(self) -> str:
        # A traceback that shows values must not show a key.
        return f"OpenAISettings(model={self.model!r}, …)"


class ReplaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="replay"):
    file: str
    """Where the answers are; from the folder of the configuration."""
    of: str | None = None
    """The backend whose answers are recorded there, with its limits."""

    @property
    def answers_by(self) -> dict[str, object]:
        return {"file": self.file}

    @property
    def limits(self) -> Limits:
        return NO_LIMITS


Settings = OpenAISettings | ReplaySettings | SimulatedSettings
