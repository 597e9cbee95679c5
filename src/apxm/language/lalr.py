"""The machine that reads AIS: an LALR(1) parser over tables that `make grammar` makes of grammar.lark.

The text is cut into tokens as it is parsed: a keyword is one only where the grammar has it, and a name elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from apxm.source import SourceFile, Span

END = "$END"
"""The kind of the token behind the last."""
_tables = json.loads(Path(__file__).with_name("grammar.json").read_text(encoding="utf-8"))
_rows: list[dict[str, int]] = _tables["rows"]
"""What to do at a kind of token, by state: go on to a state, or (`~n`) end rule n. By a rule that has ended inside the
one in hand, the state behind it."""
KEYWORDS: dict[str, str] = _tables["keywords"]
"""The words of the language, and their kinds."""
RESERVED_WORDS = KEYWORDS.keys() - {"type", "memory"}
"""The words that can name nothing."""

Parts = list[Any]
"""Tokens, and what the rules inside gave."""


class Token:
    """A piece of the text, of a kind that the grammar names. What recovery makes up has no text."""

    __slots__ = ("kind", "start", "text")

    def __init__(self, kind: str, text: str, start: int) -> None:
        self.kind = kind
        self.text = text
        self.start = start

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def span(self, source: SourceFile) -> Span:
        return Span(source, self.start, self.end)


_next_token = re.compile(_tables["token"]).match
"""Matches the next token, and skips what stands in front of it."""
_skip = re.compile(_tables["skipped"]).match


def shiftable(state: int) -> set[str]:
    """The kinds of tokens that go on from `state` without ending a rule first."""
    return {kind for kind, action in _rows[state].items() if action >= 0 and kind.isupper()}


STATEMENT_KINDS = shiftable(next(state for state, row in enumerate(_rows) if row.get("LET", -1) >= 0)) - {"RBRACE"}
"""The kinds of tokens that a statement starts with."""
STATEMENT_WORDS = {word: kind for word, kind in KEYWORDS.items() if kind in STATEMENT_KINDS}

Build = Callable[[Any, Parts], Any]
"""Makes the value of a rule from those of its parts, with a builder."""


class _Rule(NamedTuple):
    """A rule of the grammar, as a state of the machine ends it."""

    origin: str
    size: int
    build: Build | None
    """Builds the rule's value; None for a rule that only passes on its one part."""


class Rules:
    """The rules, with the methods of a class of builders that are named like them."""

    def __init__(self, builder: type) -> None:
        self.passed: dict[tuple[int, int, str], int] = {}
        self.rules = [_rule(builder, *rule) for rule in _tables["rules"]]


def _rule(builder: type, origin: str, size: int, method: str | None, spliced: list[int]) -> _Rule:
    if method is None:
        return _Rule(origin, size, None)
    build: Build = getattr(builder, method) if method else _repetition
    return _Rule(origin, size, _splicing(build, set(spliced)) if spliced else build)


def _repetition(_: Any, parts: Parts) -> Parts:
    return parts


def _splicing(build: Build, spliced: set[int]) -> Build:
    """`build` for a rule some of whose parts are repetitions: their parts are its own."""

    def from_parts(builder: Any, parts: Parts) -> Any:
        flat: Parts = []
        for position, part in enumerate(parts):
            if position in spliced:
                flat += part
            else:
                flat.append(part)
        return build(builder, flat)

    def from_growing(builder: Any, parts: Parts) -> Any:
        flat: Parts = parts[0]  # grows in place: a copy for each item would make long lists quadratic
        flat += parts[1:]
        return build(builder, flat)

    return from_growing if spliced == {0} else from_parts


class Machine:
    """One text in the course of being parsed."""

    def __init__(self, rules: Rules, builder: Any, text: str) -> None:
        self._rules = rules.rules
        self._passed = rules.passed
        self._builder = builder
        self._text = text
        self.offset = 0
        """Where the next token is looked for."""
        self.states = [0]
        self.values: Parts = []
        """One per state, but the first."""
        self.misfit: Token | None = None
        """What `run` stopped at; None where no token starts at `offset`."""

    def run(self) -> bool:
        """Goes on to the end of the text, where `values` begins with what the whole is; false where it stops before."""
        text, states, take, offset = self._text, self.states, self.take, self.offset
        while (found := _next_token(text, offset)) is not None:
            kind = found.lastgroup
            assert kind is not None
            start, offset = found.span(kind)
            written = text[start:offset]
            if kind == "NAME" and (word := KEYWORDS.get(written)) is not None:
                row = _rows[states[-1]]
                if word in row or kind not in row:
                    kind = word
            token = Token(kind, written, start)
            if not take(token):
                self.offset, self.misfit = offset, token
                return False
        skipped = _skip(text, offset)
        assert skipped is not None
        self.offset = skipped.end()
        at_end = self.offset == len(text)
        self.misfit = Token(END, "", self.offset) if at_end else None
        return self.misfit is not None and take(self.misfit)

    def take(self, token: Token) -> bool:
        """Goes on behind `token`, if it fits."""
        rows, rules, states, values = _rows, self._rules, self.states, self.values
        kind, state = token.kind, self.states[-1]
        while (action := rows[state].get(kind)) is not None and action < 0:
            origin, size, build = rules[~action]
            if build is None:
                state = states[-1] = self._passed_on(states[-2], state, kind)
            else:
                if size:
                    parts = values[-size:]
                    del values[-size:], states[-size:]
                else:
                    parts = []
                state = rows[states[-1]][origin]
                states.append(state)
                values.append(build(self._builder, parts))
        if action is None:
            return False
        states.append(action)
        values.append(token)
        return True

    def _passed_on(self, below: int, state: int, kind: str) -> int:
        """The state instead of `state`, on top of `below`, once all rules have ended that only pass on their one part.
        Most values go through seven of them, one for each level of operators, so the way is remembered."""
        key = below, state, kind
        found = self._passed.get(key)
        if found is None:
            found, rules = state, self._rules
            while (action := _rows[found].get(kind, 0)) < 0 and rules[~action].build is None:
                found = _rows[below][rules[~action].origin]
            self._passed[key] = found
        return found

    def accepts(self) -> set[str]:
        """The kinds of tokens that fit here."""
        kinds = _rows[self.states[-1]]
        return {kind for kind in kinds if kind.isupper() and self.after(self.states, kind) is not None}

    def after(self, states: list[int], kind: str) -> list[int] | None:
        """The states once `states` have taken a token of `kind`; None where it does not fit. Nothing changes."""
        rules, states = self._rules, list(states)
        while (action := _rows[states[-1]].get(kind)) is not None and action < 0:
            origin, size, _ = rules[~action]
            del states[len(states) - size :]
            states.append(_rows[states[-1]][origin])
        return None if action is None else [*states, action]
