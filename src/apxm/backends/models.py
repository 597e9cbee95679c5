"""What an endpoint says of its models."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct

_ANY_NAME = frozenset({"apxm", "llamacpp"})
"""Owners, as lists have them, of models that answer to whatever name is asked for: `apxm simulator`, llama.cpp."""


class _Model(Struct):
    id: str
    owned_by: object = None


class _Models(Struct):
    data: list[_Model]


_decode = msgspec.json.Decoder(_Models | list[_Model]).decode
"""OpenAI's form, and that of endpoints which leave out the object around it."""


class Models(NamedTuple):
    names: list[str]
    """Each once, without those that nobody could type."""
    any_name: bool
    """Whether the endpoint is known to take others too."""


def decode_models(content: bytes | bytearray) -> Models | None:
    """What an answer to ``GET /models`` lists; None where it is no such list."""
    try:
        found = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    models = found.data if isinstance(found, _Models) else found
    names = dict.fromkeys(model.id for model in models if model.id.strip() and model.id.isprintable())
    return Models(list(names), any(model.owned_by in _ANY_NAME for model in models if isinstance(model.owned_by, str)))
