"""A project's first configuration, written and trusted for the user who asks for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from apxm.backends.settings import OpenAISettings
from apxm.config.document import Document
from apxm.config.files import PROJECT_FILE, working_directory
from apxm.errors import ConfigurationError


def initial_file(*, replace: bool) -> Path:
    """Where to write it. Raises `ConfigurationError` where there is a file that is to be kept."""
    path = working_directory() / PROJECT_FILE
    if not os.path.lexists(path):
        return path
    if not replace:
        raise ConfigurationError("there is a configuration already", where=str(path), hint="--force replaces it")
    if not path.is_file() or path.is_symlink():
        raise ConfigurationError(
            "this is not a regular file, and it is not followed", where=str(path), hint="remove it, or edit it by hand"
        )
    return path


def initial_text(name: str, settings: OpenAISettings) -> str:
    """The file of one backend, all of whose texts are printable. It names a key, and never holds one."""
    lines = [
        "# Written by `apxm init`. All settings: docs/config.md of A-PXM.",
        f"default_backend = {_quoted(name)}",
        "",
        f"[backends.{_quoted(name) if not _is_bare(name) else name}]",
        'kind = "openai"',
        f"model = {_quoted(settings.model)}",
        f"endpoint = {_quoted(settings.endpoint)}",
    ]
    if settings.max_tokens_field != "max_tokens":
        lines.append(f"max_tokens_field = {_quoted(settings.max_tokens_field)}")
    if settings.api_key is not None:
        lines.append(f"api_key = {_quoted(settings.api_key)}")
    text = "\n".join([*lines, ""])
    Document(str(PROJECT_FILE), text.encode())
    return text


def _is_bare(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum()


def _quoted(text: str) -> str:
    """The text as a TOML string, which for printable text is JSON's."""
    return json.dumps(text, ensure_ascii=False)
