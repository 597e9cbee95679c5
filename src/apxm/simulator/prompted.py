"""A JSON schema that stands in the messages: how clients ask for a shape of endpoints that take none."""

from __future__ import annotations

import json

_MOST_TRIED = 50
"""Braces that may begin one."""


def schema_among(text: str) -> bytes | None:
    """The first JSON object in `text` that describes an object's properties and that a value can be made for."""
    from apxm.simulator.examples import example
    from apxm.simulator.schemas import SchemaError, read_schema

    decode = json.JSONDecoder().raw_decode
    at = -1
    for _ in range(_MOST_TRIED):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            found, end = decode(text, at)
            if "properties" in found:
                schema = text[at:end].encode()
                example(read_schema(schema), 0)
                return schema
        except (ValueError, RecursionError, SchemaError):  # another brace, or something else in braces
            continue
    return None
