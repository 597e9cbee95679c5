"""Keys: where they come from, and how they stay out of everything that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from apxm.errors import ConfigurationError

_PREFIX = "env:"


_TELLING = re.compile(r"auth|cookie|key|pass|pwd|secret|sig|token", re.IGNORECASE)


def is_telling(name: str) -> bool:
    """Whether the value of a header, or of a field in a query, is probably a secret by its name."""
    return _TELLING.search(name) is not None


def reference(value: str) -> str | None:
    """The variable that ``env:NAME`` names; None for a value that is meant literally."""
    return value[len(_PREFIX) :].strip() if value.startswith(_PREFIX) else None


def read_value(value: str, environment: Mapping[str, str], *, setting: str, where: str | None) -> str:
    """The value itself, or that of the variable it names.

    Raises `ConfigurationError` where the variable is not set, or where the value cannot stand in an HTTP header.
    """
    name = reference(value)
    if name is None:
        found = value.strip()
    else:
        found = environment.get(name, "").strip()
        if not found:
            raise ConfigurationError(
                f"{setting} is read from the environment variable {name or '(no name)'}, which is not set",
                where=where,
                hint=f"export {name}=…" if name else "write env: and the name of a variable",
            )
    if not found or not found.isascii() or not found.isprintable():
        source = f"the environment variable {name}" if name else setting
        raise ConfigurationError(
            f"{source} is empty, or holds a character that cannot stand in an HTTP header: only printable ASCII can",
            where=where,
        )
    return found
