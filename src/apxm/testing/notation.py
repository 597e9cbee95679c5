"""Reads the examples that stand beside the flows of a source, as comments (docs/testing.md has the grammar).

// example: main("bees") answers {"Facts": "They dance.", "": "Bees dance."}
//     gives "Bees dance." calls 2 takes 2s
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import NoReturn, cast

from apxm.errors import BackendError, UsageError
from apxm.language.parser import line_comments
from apxm.operations.types import Value
from apxm.source import Diagnostic, SourceFile, Span
from apxm.testing.answers import Script
from apxm.testing.example import CODE, Clause, Example, MalformedExample

_BEGINS = re.compile(r"//[ \t]*example:")
_BLANK = re.compile(r"\s*")
_FLOW = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?", re.ASCII)
_NAME = re.compile(r"([A-Za-z_]\w*)\s*:", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w*|\S", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}(?![0-9])")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)\s*(ms|s|min)\b")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_BROKEN = "as the example says"


def read_examples(source: SourceFile) -> tuple[list[Example], list[Diagnostic]]:
    """The examples of a source, and what is wrong with those that cannot be read."""
    found: list[Example] = []
    wrong: list[Diagnostic] = []
    for start, text in _blocks(source):
        try:
            found.append(_Reader(source, start, text).example())
        except MalformedExample as error:
            wrong.append(error.diagnostic)
    return found, wrong


def _blocks(source: SourceFile) -> Iterator[tuple[int, str]]:
    """Where each example begins, and its text with blanks in place of what makes it a comment. It goes on over the
    comments right below, up to an empty one and to the next example."""
    block: list[Span] = []
    for comment in line_comments(source):
        written = source.text[comment.start : comment.end]
        goes_on = bool(block) and not source.text[block[-1].end : comment.start].strip(" \t\r\n")
        goes_on = goes_on and comment.line == block[-1].line + 1
        if block and (not goes_on or not written[2:].strip() or _BEGINS.match(written)):
            yield _block(source, block)
            block = []
        if block or _BEGINS.match(written):
            block.append(comment)
    if block:
        yield _block(source, block)


def _block(source: SourceFile, comments: list[Span]) -> tuple[int, str]:
    start, end = comments[0].start, comments[-1].end
    parts: list[str] = []
    at = start
    for comment in comments:
        parts += [source.text[at : comment.start], "  ", source.text[comment.start + 2 : comment.end]]
        at = comment.end
    return start, "".join(parts)[: end - start]


class _Reader:
    """Reads one example. Values are written as JSON."""

    def __init__(self, source: SourceFile, start: int, text: str) -> None:
        self._source = source
        self._start = start
        self._text = text
        self._at = text.index(":") + 1
        self._clauses: dict[str, Callable[[], object]] = {
            "answers": self._answers,
            "failing": self._failing,
            "tools": self._tools,
            "latency": self._duration,
            "gives": self._value,
            "prints": self._lines,
            "fails": self._kind,
            "calls": self._count,
            "takes": self._duration,
        }

    def example(self) -> Example:
        self._blank()
        start = self._at
        flow = self._match(_FLOW, "the name of a flow is expected, as in `example: main(…)`")
        values, named = self._arguments()
        example = Example(self._span(start), flow[0], tuple(values), named)
        while self._blank() < len(self._text):
            word, clause = self._clause(example)
            example = replace(example, clauses={**example.clauses, word: clause})
        return example

    def _arguments(self) -> tuple[list[Value], dict[str, Value]]:
        values: list[Value] = []
        named: dict[str, Value] = {}
        self._expect("(")
        while not self._take(")"):
            if name := _NAME.match(self._text, self._at):
                if name[1] in named:
                    self._refuse(f"{name[1]} is given twice", self._at, name.end(1))
                self._at = name.end()
                named[name[1]] = self._value()
            elif named:
                self._refuse("a value in order stands after one that is given by name")
            else:
                values.append(self._value())
            if not self._take(","):
                self._expect(")")
                break
        return values, named

    def _clause(self, example: Example) -> tuple[str, Clause]:
        start = self._at
        word = self._match(_WORD, "")[0]
        read = self._clauses.get(word)
        if read is None:
            near = get_close_matches(word, self._clauses, 1)
            known = f"there are {', '.join(self._clauses)}"
            self._refuse(
                f"`{word}` is no part of an example", start, self._at, f"did you mean {near[0]}?" if near else known
            )
        if word in example.clauses:
            self._refuse(f"`{word}` stands twice", start, self._at)
        if word in ("gives", "fails") and not example.clauses.keys().isdisjoint(("gives", "fails")):
            self._refuse("a run either gives a value or fails", start, self._at)
        value = read()
        return word, Clause(self._span(start), value)

    # --- what clauses hold

    def _value(self, decoder: json.JSONDecoder | None = None) -> Value:
        start = self._blank()
        try:
            value, self._at = (decoder or _decoder).raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            why = f"{error.msg[0].lower()}{error.msg[1:]}"
            self._refuse(f"a value is expected: {why}", max(error.pos, start), help="values are JSON")
        except (ValueError, RecursionError) as error:
            self._refuse(f"this value cannot be used: {error}", start)
        return value

    def _answers(self) -> list[tuple[str, object]]:
        return [(pattern, _without_pairs(answer)) for pattern, answer in self._patterns("answer", "answers")]

    def _tools(self) -> list[tuple[str, object]]:
        start = self._blank()
        found = self._value(_pairs_decoder)
        if not isinstance(found, _Pairs):
            self._refuse('tools are expected, as in `tools {"search": "what it gives"}`', start, self._at)
        return [(name, _without_pairs(value)) for name, value in found]

    def _failing(self) -> list[tuple[str, object]]:
        start = self._blank()
        kinds = self._patterns("timeout", "failing")
        if not all(isinstance(kind, str) for _, kind in kinds):
            self._refuse('kinds of failure are expected, as in `failing {"pattern": "timeout"}`', start, self._at)
        return [(pattern, BackendError(cast(str, kind), _BROKEN, retryable=False)) for pattern, kind in kinds]

    def _patterns(self, what: str, word: str) -> _Pairs:
        """Patterns, which may stand several times."""
        start = self._blank()
        found = self._value(_pairs_decoder)
        if not isinstance(found, _Pairs):
            self._refuse(f'patterns are expected, as in `{word} {{"pattern": "{what}"}}`', start, self._at)
        try:
            Script(found)
        except UsageError as error:
            self._refuse(error.message, start, self._at)
        return found

    def _lines(self) -> list[str]:
        lines: list[str] = []
        while True:
            start = self._blank()
            line = self._value()
            if not isinstance(line, str):
                self._refuse('printed lines are expected, as in `prints "one", "two"`', start, self._at)
            lines.append(line)
            if not self._take(","):
                return lines

    def _kind(self) -> str | None:
        """``fails`` alone is any failure."""
        self._blank()
        if not self._text.startswith("with", self._at):
            return None
        self._at += len("with")
        return self._match(_WORD, "a kind of failure is expected, as in `fails with no_match`")[0]

    def _count(self) -> int:
        return int(self._match(_NUMBER, "a number of calls is expected, as in `calls 3`")[0])

    def _duration(self) -> float:
        found = self._match(_DURATION, "a time is expected, as in `2s`, `500ms` or `1.5 min`")
        return float(found[1]) * _SECONDS[found[2]]

    # --- the text

    def _blank(self) -> int:
        """Skips blanks; where it then is."""
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None
        self._at = blank.end()
        return self._at

    def _take(self, text: str) -> bool:
        self._blank()
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._refuse(f"`{text}` is expected")

    def _match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = pattern.match(self._text, self._blank())
        if found is None:
            self._refuse(expected)
        self._at = found.end()
        return found

    def _span(self, start: int, end: int | None = None) -> Span:
        return Span(self._source, self._start + start, self._start + (self._at if end is None else end))

    def _refuse(
        self, message: str, start: int | None = None, end: int | None = None, help: str | None = None
    ) -> NoReturn:
        first = min(self._at if start is None else start, len(self._text.rstrip()))
        span = self._span(first, first + 1 if end is None else end)
        raise MalformedExample(Diagnostic("error", CODE, message, span, help))


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


class _Pairs(list[tuple[str, object]]):
    """An object of JSON, with keys that may be repeated."""


def _without_pairs(value: object) -> object:
    if isinstance(value, _Pairs):
        return {key: _without_pairs(item) for key, item in value}
    return [_without_pairs(item) for item in cast(list[object], value)] if isinstance(value, list) else value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_pairs_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_Pairs)
