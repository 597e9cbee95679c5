"""Text literals: quotes, indentation, escapes and the braces of f-strings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from os.path import commonprefix

from apxm.language.report import Report
from apxm.language.syntax import Constant, Expression, FieldOf, FormatText, Identifier, Item, Name, Part, Placeholder
from apxm.source import SourceFile, Span

MOST_FIELDS = 64
"""Fields and items that may follow each other, as in ``answer.items[0].first``; the language's limit on nesting."""

_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_SPECIAL = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair is one character, as in JSON
    r'|\\u[0-9a-fA-F]{4}|\\[nt"\\]|\\.?|[^\\{}]+|[{}]',
    re.DOTALL,
)
_LAST_LINE = re.compile(r"\n[ \t\r]*\Z")
_PLACEHOLDER = re.compile(r"\{[ \t]*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)[ \t]*\}")
_GOES_ON = re.compile(r'"[^\s,;)\]}]')
"""A quote that ends a text by mistake."""
_FORMAT = re.compile(r"[A-Za-z_][\w.]*\s*(?:![rsa]|=|:[^:]*)+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_text(source: SourceFile, start: int, token: str, report: Report) -> Constant | FormatText:
    """The literal whose text is `token`, at `start` of the source."""
    span = Span(source, start, start + len(token))
    formatted = token.startswith("f")
    quoted = token[1:] if formatted else token
    offset = start + formatted
    if quoted.startswith('"""'):
        lines = list(_dedented(quoted[3:-3], offset + 3))
    else:
        inner = quoted[1:-1]
        if "\\" not in inner and not formatted:
            return Constant(span=span, value=inner, placeholders=_placeholders(source, start, token))
        lines = [(offset + 1, inner)]
    reader = _Reader(source, report)
    for number, (position, line) in enumerate(lines):
        if number:
            reader.literal("\n", position)
        reader.read(position, line, formatted)
    parts = reader.finish()
    if all(isinstance(part, Constant) for part in parts):
        value = "".join(str(part.value) for part in parts if isinstance(part, Constant))
        placeholders = () if formatted else _placeholders(source, start, token)
        return Constant(span=span, value=value, placeholders=placeholders)
    return FormatText(span=span, parts=parts)


def _placeholders(source: SourceFile, start: int, token: str) -> tuple[Placeholder, ...]:
    """The placeholders of a plain text. Within other braces is JSON or code, which may well hold a name in braces."""
    found: list[Placeholder] = []
    depth = counted = 0
    for match in _PLACEHOLDER.finditer(token) if "{" in token else ():
        first, end = match.span()
        if token[first - 1] == "{" and token[end] == "}":
            first, end = first - 1, end + 1
        depth = max(0, depth + token.count("{", counted, first) - token.count("}", counted, first))
        counted = first
        if not depth:
            span = Span(source, start + first, start + end)
            found.append(Placeholder(span=span, name=match[1].partition(".")[0], field=match[1]))
    return tuple(found)


def _dedented(raw: str, start: int) -> Iterator[tuple[int, str]]:
    """The lines of a ``\"\"\"`` text, each with its offset in the source.

    A line break right after the opening quotes does not count, nor do the last one and the blanks before the closing
    quotes. Then the indentation that all lines share goes; lines of blanks do not count for it, and become empty.
    """
    opened_on_own_line = raw.lstrip(" \t\r").startswith("\n")
    if opened_on_own_line:
        skipped = raw.index("\n") + 1
        raw, start = raw[skipped:], start + skipped
    if last := _LAST_LINE.search(raw):
        raw = raw[: last.start()]
    lines: list[tuple[int, str]] = []
    for line in raw.split("\n"):
        lines.append((start, line.removesuffix("\r")))
        start += len(line) + 1
    measured = [line for _, line in (lines if opened_on_own_line else lines[1:]) if line.strip(" \t")]
    shared = commonprefix(measured)  # noqa: RUF071  # characters are meant
    margin = len(shared) - len(shared.lstrip(" \t"))
    for number, (position, line) in enumerate(lines):
        if number == 0 and not opened_on_own_line:
            yield position, line
        elif line.strip(" \t"):
            yield position + margin, line[margin:]
        else:
            yield position + len(line), ""


class _Reader:
    """Collects the parts of one literal."""

    def __init__(self, source: SourceFile, report: Report) -> None:
        self._source = source
        self._report = report
        self._parts: list[Expression] = []
        self._literal: list[str] = []
        self._literal_start = 0
        self._end = 0

    def literal(self, text: str, start: int) -> None:
        if not self._literal:
            self._literal_start = start
        self._literal.append(text)

    def read(self, start: int, line: str, formatted: bool) -> None:
        position = 0
        while match := _SPECIAL.match(line, position):
            found = match.group()
            at = start + position
            if formatted and found in "{}":
                position += self._brace(at, line, position)
            else:
                position += len(found)
                self._piece(at, found)
        self._end = start + len(line)

    def finish(self) -> tuple[Expression, ...]:
        self._flush(self._end)
        return tuple(self._parts)

    def _piece(self, start: int, found: str) -> None:
        span = Span(self._source, start, start + len(found))
        if found.startswith("\\u") and len(found) > 2:
            character = json.loads(f'"{found}"')
            if "\ud800" <= character <= "\udfff":
                message = "half of a surrogate pair is not a character"
                advice = "write the character itself, or both halves"
                self._report.error("bad-escape", message, span, advice)
            else:
                self.literal(character, start)
        elif not found.startswith("\\"):
            self.literal(found, start)
        elif found[1:] in _ESCAPES:
            self.literal(_ESCAPES[found[1:]], start)
        elif found == "\\u":
            self._report.error("bad-escape", "`\\u` needs four hexadecimal digits, as in `\\u00e9`", span)
        else:
            known = r"the escapes are `\n` `\t` `\"` `\\` and `\u00e9`; a backslash itself is written `\\`"
            shown = f"`{found}` is not an escape" if found[1:] else "a backslash at the end of a line is not an escape"
            self._report.error("bad-escape", shown, span, known)

    def _brace(self, start: int, line: str, position: int) -> int:
        """What stands at a brace of an f-string; returns its length."""
        if line[position : position + 2] in ("{{", "}}"):
            self.literal(line[position], start)
            return 2
        if placeholder := _PLACEHOLDER.match(line, position):
            self._flush(start)
            self._parts.append(self._reference(start - position + placeholder.start(1), placeholder.group(1)))
            return len(placeholder.group())
        closing = line.find("}", position + 1)
        length = 1 if line[position] == "}" or closing < 0 else closing + 1 - position
        span = Span(self._source, start, start + length)
        if line[position] == "}":
            message, advice = "a `}` that closes nothing", "write `}}` for a brace"
        elif closing < 0 and _GOES_ON.match(self._source.text, start - position + len(line)):
            message = 'this `{` is not closed before the `"` that ends the text'
            advice = r"braces hold a name and its fields, as in `{x.title}`; JSON is written with `{{`, `}}` and `\"`"
        elif closing < 0:
            message, advice = "this `{` is not closed on its line", "write `{{` for a brace"
        else:
            message = "the braces of an f-string hold a name and its fields, such as `{x}` or `{x.title}`, nothing else"
            advice = _field_advice(line[position + 1 : closing].strip())
        self._report.error("bad-interpolation", message, span, advice)
        return length

    def _reference(self, start: int, text: str) -> Expression:
        words = [
            Identifier(span=Span(self._source, start + word.start(), start + word.end()), text=word.group())
            for word in _WORD.finditer(text)
        ]
        return reference(words, self._report)

    def _flush(self, end: int) -> None:
        if self._literal:
            span = Span(self._source, self._literal_start, end)
            self._parts.append(Constant(span=span, value="".join(self._literal)))
            self._literal = []


def _field_advice(found: str) -> str:
    if not found:
        return "put a name between them; write `{{` and `}}` for braces"
    if found[0] in "\"'\\":
        return r"JSON is written with `{{`, `}}` and `\"`"
    if _FORMAT.fullmatch(found):
        return "there are no formats: a value has one text form"
    return "bind it first, with `let name = …`; write `{{` for a brace"


def reference(words: list[Identifier], report: Report) -> Expression:
    """``name`` or ``name.field.field``."""
    head = words[0]
    return fields_of(Name(span=head.span, text=head.text), words[1:], report)


def fields_of(value: Expression, fields: list[Identifier], report: Report) -> Expression:
    for name in fields:
        if is_deep(value, name.span, report):
            return value
        value = FieldOf(span=Span(value.span.source, value.span.start, name.span.end), value=value, name=name)
    return value


def is_deep(value: Expression, place: Span, report: Report) -> bool:
    """Whether as many fields and items follow each other in `value` as may, which is reported at the next one."""
    for _ in range(MOST_FIELDS):
        if not isinstance(value, FieldOf | Item | Part):
            return False
        value = value.value
    report.error("too-deep", f"more than {MOST_FIELDS} fields follow each other here", place)
    return True
