"""Takes secrets out of text that came from elsewhere: a server may repeat what it was sent, in whatever form.

The text is looked at as it is, and then again and again with its escapes undone (``\\u002d``, ``\\/``, ``%2D``,
``&#45;``), as long as there are any. What is found in one of these readings is taken out of the text itself.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import unescape
from typing import NamedTuple

_SHORT = 4
"""Characters. What is shorter, such as a value in a URL's query, is part of ordinary words."""
_PART = 8
"""How many characters of a key, one behind the other, count as the key."""
_LONG = 2 * _PART
"""A key that is shorter counts only as a whole, as its parts could be anything."""
_MASKED = 3
"""How many characters count as the key beside asterisks or the like that stand for the rest."""
BEGINNING = 4096
_READINGS = 6
"""Escapes within escapes. Each reading takes as long as the text, whatever is in it."""

_ESCAPE = re.compile(
    r"\\{1,9}(?:u(?:(?P<u>[0-9a-f]{4})|\{(?P<braced>[0-9a-f]{1,6})\})|x(?P<x>[0-9a-f]{2})|(?P<c>[^ux0-9a-z\\])|(?P<space>[nrt]))"
    r"|%(?P<percent>[0-9a-f]{2})|&(?P<entity>#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,31});",
    re.IGNORECASE,
)
_IGNORED = frozenset(" \t\n\r\v\f\u00a0\u200b\u2028\u2029\ufeff+:")
"""Between the characters of a long secret. A plus is a space in a URL, and colons stand between bytes."""
_MASK = re.compile(r"[*•●·…]+|\.{2,}|#{2,}|x{3,}|_{3,}|(?:\[|<)?(?:redacted|hidden|masked|omitted)(?:\]|>)?")


class _Reading(NamedTuple):
    text: str
    """The text in lower case: host names lose their case."""
    spans: list[tuple[int, int]]
    """Where each of its characters stands in the text as it came."""


class Redactor:
    """Wherever secrets stand; very short ones only where they stand alone, since elsewhere they are letters of other
    words."""

    def __init__(self, keys: Iterable[str], others: Iterable[str] = ()) -> None:
        """Long `keys` are taken out in parts, too; `others`, which may consist of ordinary words, only as a whole."""
        keys = {key for key in keys if key}
        secrets = keys | {other for other in others if other}
        # The longest first: one secret can be part of another.
        ordered = sorted(secrets, key=len, reverse=True)
        self._exact = re.compile("|".join(map(_expression, ordered)), re.IGNORECASE) if ordered else None
        self._words = {_lower(secret) for secret in secrets if _SHORT <= len(secret) < _PART}
        known = {squeezed for secret in secrets for form in _forms(secret) if len(squeezed := _squeezed(form)) >= _PART}
        self._keys = [squeezed for key in keys if len(squeezed := _squeezed(key)) >= _PART]
        inner = {_squeezed(form) for key in keys if len(_squeezed(key)) >= _LONG for form in _forms(key)}
        self._parts = {form[i : i + _PART] for form in inner for i in range(len(form) - _PART + 1)}
        self._wholes = {form for form in known if form[:_PART] not in self._parts}

    def __call__(self, text: str) -> str:
        pieces: list[str] = []
        done = 0
        for begin, end in self._spans(text):
            pieces += text[done:begin], "[redacted]"
            done = end
        return "".join([*pieces, text[done:]])

    def beginning(self, text: str) -> str:
        """Redacts a text that may be long, of which only the beginning is needed: reading costs some microseconds
        for each character."""
        if len(text) <= 2 * BEGINNING:
            return self(text)
        # Whatever begins before the cut ends within as much again: a cut does not leave half of a secret.
        cut = next((begin for begin, end in self._spans(text[: 2 * BEGINNING]) if end > BEGINNING), BEGINNING)
        return self(text[: min(cut, BEGINNING)]) + "[…]"

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand."""
        if self._exact is None:
            return []
        found = [match.span() for match in self._exact.finditer(text)]
        for reading in _readings(text):
            found += self._found(reading)
        return _merged(found)

    def _found(self, reading: _Reading) -> Iterator[tuple[int, int]]:
        """Where secrets stand in the text as it came."""
        yield from _occurrences(self._words, reading)
        kept = [i for i, character in enumerate(reading.text) if character not in _IGNORED]
        text, spans = "".join([reading.text[i] for i in kept]), [reading.spans[i] for i in kept]
        squeezed = _Reading(text, spans)
        yield from _occurrences(self._wholes, squeezed)
        parts = self._parts
        for i in range(len(text) - _PART + 1):
            if text[i : i + _PART] in parts:
                yield spans[i][0], spans[i + _PART - 1][1]
        for mask in _MASK.finditer(text):
            for key in self._keys:
                begin, end = _around(key, text, *mask.span())
                if begin + _MASKED <= mask.start() or end >= mask.end() + _MASKED:
                    yield spans[begin][0], spans[end - 1][1]


def _expression(secret: str) -> str:
    exact = re.escape(secret)
    return exact if len(secret) >= _SHORT else rf"(?<!\w){exact}(?!\w)"


def _forms(secret: str) -> Iterator[str]:
    """The secret, and what it always looks like within longer text that is encoded in base64 or in hexadecimal."""
    yield secret
    content = secret.encode(errors="replace")
    yield content.hex()
    for before in range(3):
        # The first characters depend on what stands before the secret, the last ones on what stands behind it.
        whole = b64encode(bytes(before) + content).decode("ascii").rstrip("=")
        begin, end = -(-before * 8 // 6), (before + len(content)) * 8 // 6
        yield whole[begin:end]
        yield whole[begin:end].replace("+", "-").replace("/", "_")


def _readings(text: str) -> Iterator[_Reading]:
    reading = _Reading(_lower(text), [(i, i + 1) for i in range(len(text))])
    yield reading
    for _ in range(_READINGS):
        if not _ESCAPE.search(reading.text):
            return
        reading = _unescaped(reading)
        yield reading


def _unescaped(reading: _Reading) -> _Reading:
    text, spans = reading
    characters: list[str] = []
    places: list[tuple[int, int]] = []
    done = 0
    for match in _ESCAPE.finditer(text):
        begin, end = match.span()
        meant = _meaning(match)
        characters += text[done:begin], meant
        places += spans[done:begin]
        places += [(spans[begin][0], spans[end - 1][1])] * len(meant)
        done = end
    return _Reading("".join([*characters, text[done:]]), [*places, *spans[done:]])


def _meaning(match: re.Match[str]) -> str:
    if digits := match["u"] or match["x"] or match["percent"]:
        return _lower(chr(int(digits, 16)))
    if match["braced"]:
        number = int(match["braced"], 16)
        return _lower(chr(number)) if number <= sys.maxunicode else " "
    if match["entity"]:
        return _lower(unescape(match[0]))
    return match["c"] or " "


def _occurrences(secrets: Iterable[str], reading: _Reading) -> Iterator[tuple[int, int]]:
    text, spans = reading
    for secret in secrets:
        at = text.find(secret)
        while at >= 0:
            yield spans[at][0], spans[at + len(secret) - 1][1]
            at = text.find(secret, at + 1)


def _around(key: str, text: str, begin: int, end: int) -> tuple[int, int]:
    """The span from the beginning of the key that stands before a mask to the end of it that stands behind."""
    before = next((k for k in range(min(begin, len(key)), 0, -1) if text[begin - k : begin] == key[:k]), 0)
    behind = next((k for k in range(min(len(text) - end, len(key)), 0, -1) if text[end : end + k] == key[-k:]), 0)
    return begin - before, end + behind


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _squeezed(secret: str) -> str:
    return "".join(character for character in _lower(secret) if character not in _IGNORED)


def _lower(text: str) -> str:
    """The text in lower case, as long as it was, unlike with `str.lower`."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)
