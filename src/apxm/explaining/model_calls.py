"""Calls of models by the libraries that people use, known by how they are written: what stands in front of the last
names of ``client.chat.completions.create`` may be anything."""

from __future__ import annotations

import ast

_ENDINGS = (
    "chat.completions.create", "chat.completions.parse", "chat.completions.stream",
    "chat.completions.create_with_completion",
    "chat.complete", "ChatCompletion.create", "ChatCompletion.acreate", "Completion.create", "completions.create",
    "responses.create", "responses.parse", "responses.stream", "messages.create", "messages.parse", "messages.stream",
    "embeddings.create", "models.generate_content", "models.generate_content_stream",
    "litellm.completion", "litellm.acompletion",
)  # fmt: skip
_METHODS = frozenset({"ainvoke", "generate_content", "generate_content_async", "invoke"})
"""Those that are enough by themselves."""


def model_call(callee: ast.expr) -> str | None:
    """What is called, such as ``chat.completions.create``, where it is a call of a model by the way it is written."""
    names: list[str] = []
    while isinstance(callee, ast.Attribute):
        names.insert(0, callee.attr)
        callee = callee.value
    if not names:
        return None
    if isinstance(callee, ast.Name):
        names.insert(0, callee.id)
    path = ".".join(names)
    if names[-1] in _METHODS and len(names) > 1:
        return names[-1]
    return next((ending for ending in _ENDINGS if path == ending or path.endswith(f".{ending}")), None)
