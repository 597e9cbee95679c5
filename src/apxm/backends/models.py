"""What an endpoint says of its models."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


_decode = msgspec.json.Decoder(_Models | list[_Model]).decode
"""OpenAI's form, and that of endpoints which leave out the object around it."""


def decode_models(content: bytes | bytearray) -> list[str] | None:
    """The names in an answer to ``GET /models``, each once, without those that nobody could type; None where it is no
    such list."""
    try:
        found = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    models = found.data if isinstance(found, _Models) else found
    return list(dict.fromkeys(model.id for model in models if model.id.strip() and model.id.isprintable()))
