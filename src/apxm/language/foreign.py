"""Recognizes what other languages write where AIS expects something else. `apxm.language.elsewhere` has the words."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, TypeGuard, cast

from apxm.language import later
from apxm.language.elsewhere import TYPES, WORDS, method_advice, word_advice
from apxm.language.lalr import STATEMENT_WORDS, Token
from apxm.language.report import Report
from apxm.language.syntax import CallExpression, Identifier
from apxm.operations.catalog import OPERATIONS
from apxm.source import SourceFile, Span

BINDING = ("EQUAL", "COLON", "ARROW", "PLUS", "DOT", "LSQB")
"""What follows a name that somebody wants to bind or to change, whatever the name is elsewhere."""
_WINDOW = 100
"""Characters in front of a place that are looked at."""
_SUBSCRIPT = re.compile(r"\[[^\[\]\n]*\]")
_METHOD = re.compile(r"\.[ \t]*(\w+)(?=[ \t]*\()")
_METHOD_BEFORE = re.compile(r"[)\]}\"][ \t]*\.[ \t]*(\w+)[ \t]*\Z")
_VALUE_END = re.compile(r'[)\]}"][ \t]*\Z')
_INSIDE_TEXT = re.compile(r'"[^\s"(),\[\]{}]*\Z')
_SIGN = re.compile(r"[-*/%&|?!<>=.:~^]+")
_LAMBDA = re.compile(r"\blambda[ \t]*\Z")
_LABELS = "a case has one label: write one `case` for each"
_SEVERAL = 'several values are a list, `[a, b]`, or an object, `{"a": a, "b": b}`'
_PARAMETER = 'a parameter is written with its type, `x: str` or `x: str = "default"`'

_LATER_OPERATORS = frozenset("-*/%")
_OPERATORS = {
    "&&": "it is written `and`",
    "||": "it is written `or`",
    "!": "it is written `not`",
    "?.": "a field is read by `.`; where it is missing, what needs it fails",
    "??": "a field that is missing fails what needs it; there is no other value for it",
    "|>": "a result is bound, `ask(…) -> x`, and used by its name",
    "?": "there is no `a ? b : c`; `switch text { … } -> x` chooses, and `if … else … -> x` with a later version",
    "**": "there is no power",
    "*": "arguments are written one by one",
    "-": "only a number that is written out has a sign, as in `-1`; `0 - x` comes with a later version",
    "`": 'texts stand in `"…"`; `f"…{name}…"` puts values in',
    "$": 'values are put into text by `f"…{name}…"`',
    "\\": "nothing is needed: a statement may go on in the next line",
}
_ASCII = {"→": "->", "⇒": "=>", "–": "-", "—": "-", "−": "-", "。": ".", "、": ","}


def describe_foreign(token: Token, values: list[Any], expected: set[str], source: SourceFile, report: Report) -> bool:
    """Reports what can be named better than by what was expected; whether `token` is that."""
    kind, text = token.kind, source.text
    start, end = token.start, token.end
    before: Any = values[-1] if values else None
    if kind == "LSQB" and _follows_value(expected):
        inside = _SUBSCRIPT.match(text, start)
        form = "xs[a:b]" if inside and ":" in inside[0] else "xs[i]"
        advice = "a field of json is read by `x.name`, and a list goes on as a whole"
        report.not_yet(form, Span(source, start, inside.end() if inside else end), advice)
    elif kind == "NUMBER" and token.text.startswith("-") and _follows_value(expected):
        report.not_yet("-", Span(source, start, start + 1))
    elif method := _called_method(token, source):
        name = Span(source, method.start(1), method.end(1))
        report.error("unknown-operation", f"found a call of `.{method[1]}`", name, method_advice("x", method[1]))
    elif (word := _later_word(before, token, expected, source)) is not None:
        report.not_yet(later.WORDS.get(word.text, "x not in xs"), word.span)
    elif kind in ("NAME", "TYPE") and token.text in later.WORDS and expected & {"AGENT", "CASE", "LET"}:
        advice = "the result of a call is bound by `->`" if token.text == "as" and "ARROW" in expected else None
        report.not_yet(later.WORDS[token.text], Span(source, start, end), advice)
    elif _is_name(before) and expected == {"COLON"} and not _is_in_parameters(values):
        return _describe_member(before, token, source, report)
    elif (name := _misused_type(token, values, expected)) is not None:
        advice = "a list of such values is `list[T]`" if kind == "RSQB" else TYPES.get(name.text.lower())
        advice = advice or "a list is `list[str]`, with one type for all its items"
        written = source.text[name.start : end] + ("" if kind == "RSQB" else "…")
        report.error("unknown-type", f"there is no type `{written}`", name.span(source), advice)
    else:
        return False
    return True


def _follows_value(expected: set[str]) -> bool:
    """Whether a value stands in front, or a call that is a statement."""
    return "PLUS" in expected or {"ARROW", "LET"} <= expected


def _later_word(before: Any, token: Token, expected: set[str], source: SourceFile) -> Identifier | None:
    """A word between two values, which was taken for the start of a statement."""
    if not expected <= {"LPAR", "DOT"}:
        return None
    if _is_name(before):
        word = Identifier(span=before.span(source), text=before.text)
    elif isinstance(before, list):
        word = cast(list[Identifier], before)[0]
    else:
        return None
    binds = token.kind in BINDING and not (word.text == "in" and token.kind == "LSQB")
    return word if word.text in ("not", *later.WORDS) and not binds else None


def _called_method(token: Token, source: SourceFile) -> re.Match[str] | None:
    """A method of something that is no name; one of a name looks like a flow of an agent until names are known."""
    start = token.start
    line = max(0, start - _WINDOW)
    if token.kind == "DOT" and _VALUE_END.search(source.text, line, start):
        return _METHOD.match(source.text, start)
    return _METHOD_BEFORE.search(source.text, line, start) if token.kind == "LPAR" else None


def _describe_member(word: Token, token: Token, source: SourceFile, report: Report) -> bool:
    """A name in an agent without the `:` of a default."""
    if word.text in later.WORDS and token.kind not in BINDING:
        report.not_yet(later.WORDS[word.text], word.span(source))
        return True
    advice = word_advice(word.text)
    if word.text == "agent":
        advice = "an agent holds no agents; is a `}` missing above?"
    elif word.text in STATEMENT_WORDS or token.kind == "LPAR":
        advice = advice or "statements stand inside a flow: `flow name() { … }`"
    advice = report.near(word.text, ("flow", "capability")) or advice
    if advice is None:
        return False
    report.error("syntax", f"found `{word.text}`, expected a flow or a default of the agent", word.span(source), advice)
    return True


def _misused_type(token: Token, values: list[Any], expected: set[str]) -> Token | None:
    """The name in ``dict[str, int]``, ``Literal["a"]``, ``string[]`` and ``list<str>``."""
    before = values[-1] if values else None
    if token.kind == "COMPARE" and _is_name(before) and "LSQB" in expected and "PLUS" not in expected:
        return before
    if (token.kind == "COMMA" and expected == {"RSQB"}) or (expected == {"NAME"} and _is(before, "LSQB")):
        opener = max(i for i, value in enumerate(values) if _is(value, "LSQB"))
        return values[opener - 1] if _is_name(values[opener - 1]) else None
    return None


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Token) and value.kind == kind


def _is_name(value: Any) -> TypeGuard[Token]:
    return _is(value, "NAME")


def _is_in_parameters(values: list[Any]) -> bool:
    opener = next(
        (i for i in reversed(range(len(values))) if isinstance(values[i], Token) and values[i].kind in _OPEN), 1
    )
    return (
        _is(values[opener], "LPAR")
        and opener > 1
        and (_is(values[opener - 2], "FLOW") or _is(values[opener - 2], "CAPABILITY"))
    )


_OPEN = ("LPAR", "LBRACE", "LSQB")


# --- help beside what was expected -----------------------------------------------------------------------------------


def foreign_advice(token: Token, values: list[Any], expected: set[str], source: SourceFile) -> str | None:
    return (
        (WORDS["lambda"] if _LAMBDA.search(source.text, max(0, token.start - _WINDOW), token.start) else None)
        or _advice_in_switch(token, expected)
        or _advice_in_declaration(token, values, expected)
        or _advice_on_binding(token, values, expected)
        or _advice_on_text(token, values, expected, source)
        or _advice_on_value(token, values, expected)
        or (word_advice(token.text) if token.kind == "NAME" and expected & {"AGENT", "FLOW", "CATCH", "CASE"} else None)
    )


def _advice_in_switch(token: Token, expected: set[str]) -> str | None:
    kind = token.kind
    if "ARM" in expected:
        if kind in ("OR", "COMMA"):
            return _LABELS
        return 'an arm is written `case "label" => …`' if kind in ("COLON", "EQUAL", "ARROW") else None
    if "CASE" in expected:
        if kind in ("TEXT", "NUMBER"):
            return 'an arm is written `case "label" => …`'
        if kind == "ELSE" or token.text in ("_", "otherwise", "else"):
            return "`default => …` takes what no case matches"
        return "an arm ends by itself" if token.text == "break" else None
    if kind == "NAME" and {"TEXT", "NUMBER", "TRUE"} <= expected and "LSQB" not in expected:
        return "`default => …` takes what no case matches" if token.text == "_" else "a label is a text in quotes"
    return None


def _advice_in_declaration(token: Token, values: list[Any], expected: set[str]) -> str | None:
    kind, before = token.kind, values[-1] if values else None
    if "COLON" in expected and _is_in_parameters(values):
        return _PARAMETER
    if kind == "EQUAL" and "COLON" in expected:
        return "a name and its value are separated by `:`"
    if kind == "COLON" and "LBRACE" in expected:
        return (
            "the type of what a flow gives stands behind `->`"
            if "ARROW" in expected
            else "a block stands in braces: `{ … }`"
        )
    if kind in ("ARM", "NAME") and {"ARROW", "LBRACE"} == expected:
        return "the type of what a flow gives stands behind `->`"
    if expected == {"NAME"} and _is(before, "ARROW") and not isinstance(values[-2], CallExpression | Token):
        return TYPES["void"] if kind == "LBRACE" else _SEVERAL if kind == "LPAR" else None
    if kind in ("NAME", "LPAR") and expected == {"LBRACE"} and len(values) > 1 and _is(values[-2], "AGENT"):
        return "an agent stands on its own: `agent Name { … }`"
    if kind == "LPAR" and expected == {"AT", "FLOW"}:
        return "an annotation has no arguments"
    if kind == "COMMA" and expected == {"IN"}:
        return "a `for` goes through one list, with one name"
    if expected == {"NAME"} and _is(before, "FOR"):
        return "a `for` has no parentheses: `for x in xs { … }`"
    if token.text == "in" and any(_is(value, "LOOP") for value in values[-4:]):
        return "for each item of a list: `for item in items { … }`"
    if kind == "COMMA" and "FLOW" in expected:
        return "nothing stands between the parts of an agent"
    return None


def _advice_on_binding(token: Token, values: list[Any], expected: set[str]) -> str | None:
    kind, before = token.kind, values[-1] if values else None
    if kind == "ARM" and "ARROW" in expected:
        return "the result of a call is bound by `->`"
    if kind == "ARROW" and "PLUS" in expected and not expected & {"RPAR", "RSQB"}:
        return "`->` binds the result of a call that is a statement of its own"
    if expected == {"EQUAL"} and kind == "COLON":
        return "a `let` has the type of its value"
    if (expected == {"EQUAL"} and kind == "COMMA") or (kind in ("LBRACE", "LSQB") and _is(before, "LET")):
        return "a `let` binds one name, and a field is read by `x.name`"
    if kind in ("COMMA", "DOT") and _is_name(before) and len(values) > 1 and _is(values[-2], "ARROW"):
        return "`->` binds one name"
    return None


def _advice_on_text(token: Token, values: list[Any], expected: set[str], source: SourceFile) -> str | None:
    start, before = token.start, values[-1] if values else None
    if token.kind == "TEXT" and expected & {"LET", "FLOW"} and "PLUS" not in expected:
        return "a comment starts with `//`; a value is bound by `let name = …`"
    if token.kind not in ("TEXT", "NAME", "NUMBER"):
        return None
    adjoining = _INSIDE_TEXT.search(source.text, max(0, start - _WINDOW), start)
    if adjoining:
        return r'a `"` inside a text is written `\"`, or the text stands in `"""`'
    if token.kind == "TEXT":
        word = re.search(r"(\w+)([ \t]*)\Z", source.text[max(0, start - _WINDOW) : start])
        if word and not word[2]:
            return 'the only letter in front of a text is `f`, as in `f"…{name}…"`'
        if word and "LPAR" in expected and (isinstance(before, list) or _is_name(before)):
            return word_advice(word[1]) or (
                f"a call has parentheses: `{word[1]}(…)`" if word[1] in OPERATIONS else None
            )
    return None


def _advice_on_value(token: Token, values: list[Any], expected: set[str]) -> str | None:
    kind = token.kind
    if kind == "COMMA" and (expected == {"RPAR"} or "LET" in expected):
        return _SEVERAL
    if kind == "FOR" and "RSQB" in expected:
        return "there are no comprehensions; `for x in xs { … } -> ys` comes with a later version"
    if token.text == "else" and "LBRACE" in expected:
        return "there is no `a if c else b`; `if c { … } else { … } -> x` chooses, with a later version"
    if kind == "NAME" and {"TEXT", "RBRACE"} <= expected and "LSQB" not in expected:
        return 'the keys of an object are texts: `{"key": value}`'
    if kind == "COMPARE" and token.text == ">" and _is(values[-1] if values else None, "COMPARE"):
        return "it is written `!=`"
    if kind == "EQUAL" and _is(values[-1] if values else None, "COMPARE"):
        return "it is written `==` or `!=`"
    if kind == "DOT" and {"TEXT", "NUMBER"} <= expected:
        return "a number begins with a digit: `0.5`"
    if kind == "PLUS" and {"TEXT", "NUMBER"} <= expected:
        return "a number has no `+` in front"
    if kind == "ARM" and "PLUS" in expected:
        return TYPES["callable"]
    return None


# --- characters that start no token ----------------------------------------------------------------------------------


def describe_operator(offset: int, expected: set[str], source: SourceFile, report: Report) -> bool:
    """Reports an operator that a later version has; whether one stands at `offset`."""
    sign = _SIGN.match(source.text, offset)
    if sign and sign[0] in _LATER_OPERATORS and _follows_value(expected) and "PLUS" in expected:
        formats = sign[0] == "%" and source.text[:offset].rstrip().endswith('"')
        report.not_yet(sign[0], Span(source, offset, offset + 1), _OPERATORS["$"] if formats else None)
    elif source.text[offset] == "?" and "LSQB" in expected and "TEXT" not in expected:
        report.not_yet("T?", Span(source, offset, offset + 1), TYPES["any"])
    else:
        return False
    return True


def foreign_character(text: str, offset: int, expected: set[str]) -> str | None:
    """Help for a character that AIS does not use."""
    if text[offset] == "|" and "ARM" in expected:
        return _LABELS
    if text[offset] == "|" and "LSQB" in expected and "TEXT" not in expected:
        return "a type has no alternatives; `json` holds any value"
    if re.compile(r"-[ \t]+>").match(text, offset):
        return "it is written `->`, without a blank"
    if text[offset] == "*" and "PLUS" not in expected:
        return _OPERATORS["*"]
    for sign in (text[offset : offset + 2], text[offset]):
        if sign in _OPERATORS:
            return _OPERATORS[sign]
    plain = _ASCII.get(text[offset]) or unicodedata.normalize("NFKC", text[offset])
    return f"it is written `{plain}`" if plain != text[offset] and plain.isascii() and plain.strip() else None
