"""Keys: where they come from, and how they stay out of everything that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from apxm.errors import ConfigurationError

_PREFIX = "env:"


_TELLING = re.compile(r"auth|cookie|key|password|secret|token", re.IGNORECASE)


def is_telling(header: str) -> bool:
    """Whether the value of a header of this name is probably a secret."""
    return _TELLING.search(header) is not None


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


_SHORT = 4
"""Characters. What is shorter, such as a value in a URL's query, is part of ordinary words."""


class Redactor:
    """Takes secrets out of text that came from elsewhere: a server may repeat what it was sent.

    Wherever they stand; very short ones only where they stand alone, since elsewhere they are letters of other words.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret can be part of another. Whatever the case: host names lose theirs.
        ordered = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_expression, ordered)), re.IGNORECASE) if ordered else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub("[redacted]", text)


def _expression(secret: str) -> str:
    exact = re.escape(secret)
    return exact if len(secret) >= _SHORT else rf"(?<!\w){exact}(?!\w)"
