"""The text of a module, run in its names."""

from __future__ import annotations

from typing import Any


def run_module(text: str, file: str, names: dict[str, Any]) -> None:
    """Runs the text of a module that `file` holds, which is Python, in the `names` of the module."""
    exec(compile(text, file, "exec", dont_inherit=True), names)
