"""Texts that a regular expression matches: the patterns that people write in JSON schemas.

Literals, classes, escapes, groups, alternatives, repetitions and anchors are understood. What only looks ahead or
behind is taken as always true, so the caller has to check what comes out.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from random import Random

_MOST_REPEATED = 3
"""How much more often than it has to be a piece is repeated, at most."""
_MAX_CHARACTERS = 10_000
_DIGITS = string.digits
_WORDS = string.ascii_letters + string.digits + "_"
_PRINTED = "".join(map(chr, range(32, 127)))
_ESCAPES = {
    "d": _DIGITS, "w": _WORDS, "s": " ",
    "D": string.ascii_letters, "W": " -.,:;", "S": string.ascii_letters + _DIGITS,
    "n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0",
}  # fmt: skip
_REPEATED = re.compile(r"\{(\d*)(,?)(\d*)\}")

Maker = Callable[[Random], str]


class PatternError(Exception):
    """A pattern that no text is made for."""


def text_matching(pattern: str, random: Random) -> str:
    """A text in which `pattern` is found, its assertions left aside. Raises `PatternError`."""
    try:
        text = _Parser(pattern).parse()(random)
    except (IndexError, ValueError, OverflowError, RecursionError):
        raise PatternError("it could not be read") from None
    if len(text) > _MAX_CHARACTERS:
        raise PatternError(f"it asks for more than {_MAX_CHARACTERS} characters")
    return text


class _Parser:
    """A pattern is alternatives of sequences of repeated atoms."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def parse(self) -> Maker:
        made = self._alternatives()
        if self._at < len(self._text):
            raise PatternError(f"found {self._text[self._at]!r} without its beginning")
        return made

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _alternatives(self) -> Maker:
        choices = [self._sequence()]
        while self._take("|"):
            choices.append(self._sequence())
        return lambda random: choices[int(random.random() * len(choices))](random)

    def _sequence(self) -> Maker:
        atoms: list[Maker] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            atoms.append(self._repeated(self._atom()))
        return lambda random: "".join([atom(random) for atom in atoms])

    def _repeated(self, atom: Maker) -> Maker:
        least, most = 1, 1
        if self._take("*"):
            least, most = 0, _MOST_REPEATED
        elif self._take("+"):
            least, most = 1, 1 + _MOST_REPEATED
        elif self._take("?"):
            least, most = 0, 1
        elif (found := _REPEATED.match(self._text, self._at)) and (found[1] or found[3]):
            self._at = found.end()
            least = int(found[1] or 0)
            most = int(found[3]) if found[3] else least + (_MOST_REPEATED if found[2] else 0)
            most = min(most, least + _MOST_REPEATED)
        else:
            return atom
        if not self._take("?"):  # lazy and possessive ones match the same texts
            self._take("+")
        return lambda random: _joined(atom, least + int(random.random() * (most - least + 1)), random)

    def _atom(self) -> Maker:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return _one_of(self._set())
        if character == "\\":
            return _nothing if self._take("b") or self._take("B") else _one_of(self._escaped())
        if character in "^$":
            return _nothing
        if character == ".":
            return _one_of(_WORDS)
        if character in "*+?":
            raise PatternError(f"{character!r} has nothing to repeat")
        return _one_of(character)

    def _group(self) -> Maker:
        looks = self._take("?=") or self._take("?!") or self._take("?<=") or self._take("?<!")
        if not looks and self._take("?") and not self._take(":"):
            named = self._take("P<") or self._take("<")
            if not named:
                raise PatternError(
                    f"a group that begins with '(?{self._text[self._at : self._at + 1]}' is not understood"
                )
            self._at = self._text.index(">", self._at) + 1
        inner = self._alternatives()
        if not self._take(")"):
            raise PatternError("a group does not end")
        return _nothing if looks else inner

    def _set(self) -> str:
        inverted = self._take("^")
        members = ""
        first = True
        while first or not self._take("]"):
            first = False
            one = self._member()
            if len(one) == 1 and self._text[self._at] == "-" and self._text[self._at + 1] != "]":
                self._at += 1
                last = self._member()
                # The first hundred: nobody needs all of Unicode to choose from.
                one = "".join(map(chr, range(ord(one), min(ord(last), ord(one) + 100) + 1)))
            members += one
        if inverted:
            members = "".join(other for other in _PRINTED if other not in members)
        if not members:
            raise PatternError("a class holds no character")
        return members

    def _member(self) -> str:
        character = self._next()
        return self._escaped() if character == "\\" else character

    def _escaped(self) -> str:
        character = self._next()
        if character in "xu":
            digits = self._text[self._at : self._at + (2 if character == "x" else 4)]
            self._at += len(digits)
            return chr(int(digits, 16))
        if character in "123456789pPk":
            raise PatternError(f"'\\{character}' is not understood")
        return _ESCAPES.get(character, character)


def _nothing(random: Random) -> str:  # noqa: ARG001
    return ""


def _one_of(characters: str) -> Maker:
    return lambda random: characters[int(random.random() * len(characters))]


def _joined(atom: Maker, times: int, random: Random) -> str:
    pieces: list[str] = []
    size = 0
    for _ in range(times):
        pieces.append(atom(random))
        size += len(pieces[-1]) or 1
        if size > _MAX_CHARACTERS:
            raise PatternError(f"it asks for more than {_MAX_CHARACTERS} characters")
    return "".join(pieces)
