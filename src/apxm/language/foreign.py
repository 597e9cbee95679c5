"""Recognizes what other languages write where AIS expects something else. `apxm.language.elsewhere` has the words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard, cast

from apxm.language.elsewhere import NO_CHOICES, NO_TERNARY, RECORD, TYPES, WORDS, method_advice, word_advice
from apxm.language.lalr import STATEMENT_WORDS, Token
from apxm.language.report import Report
from apxm.language.syntax import CallExpression, Identifier, TypeName
from apxm.operations.catalog import OPERATIONS
from apxm.source import SourceFile, Span

OPENERS = {"LBRACE": "RBRACE", "LPAR": "RPAR", "LSQB": "RSQB"}
BINDING = ("EQUAL", "COLON", "ARROW", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "DOT", "LSQB")
"""What follows a name that somebody wants to bind or to change, whatever the name is elsewhere."""
_WINDOW = 100
"""Characters in front of a place that are looked at."""
_METHOD = re.compile(r"\.[ \t]*(\w+)(?=[ \t]*\()")
_METHOD_BEFORE = re.compile(r"[)\]}\"][ \t]*\.[ \t]*(\w+)[ \t]*\Z")
_VALUE_END = re.compile(r'[)\]}"][ \t]*\Z')
_INSIDE_TEXT = re.compile(r'"[^\s"(),\[\]{}]*\Z')
_OR_NULL = re.compile(r"\|\s*(?:null|[Nn]one|nil|undefined)\b")
_LAMBDA = re.compile(r"\blambda[ \t]*\Z")
_WORD_BEFORE = re.compile(r"(\w+)([ \t]*)\Z")
_LABELS = "a case has one label: write one `case` for each"
_ARM = 'an arm is written `case "label" => …`'
_DEFAULT = "`default => …` takes what no case matches"
_RESULT = "the type of what a flow gives stands behind `->`"
_ONE_NAME = "a `let` binds one name, and a field is read by `x.name`"
_COMMENT = "a comment starts with `//`; a value is bound by `let name = …`"
_ONE_BY_ONE = "arguments are written one by one"
_NOT_IN = "it is written `not x in xs`"
_SEVERAL = 'several values are a list, `[a, b]`, or an object, `{"a": a, "b": b}`'

_OPERATORS = {
    "&&": "it is written `and`",
    "||": "it is written `or`",
    "!": "it is written `not`",
    "?.": "a field is read by `.`; where it is missing, what needs it fails",
    "??": "there is no other value for what is null: `if x != null { return x } else { return … } -> y` chooses",
    "|>": "a result is bound, `ask(…) -> x`, and used by its name",
    "?": NO_TERNARY,
    "`": 'texts stand in `"…"`; `f"…{name}…"` puts values in',
    "$": 'values are put into text by `f"…{name}…"`',
    "\\": "nothing is needed: a statement may go on in the next line",
    "#": "comments start with `//`",
    **dict.fromkeys("“”„‟«»", 'texts stand in straight quotes: `"`'),
}
_ASCII = {"→": "->", "⇒": "=>", "–": "-", "—": "-", "−": "-", "。": ".", "、": ","}

_TOOL_OF_SERVER = 'a tool of a server gets a name of its own in the configuration: `[tools.add] mcp = "server.add"`'


class Misfit(NamedTuple):
    """A token that fits nowhere, and what is known of the place."""

    token: Token
    values: list[Any]
    """What was read in front of it."""
    expected: set[str]
    """The kinds of tokens that would fit."""
    source: SourceFile

    @property
    def before(self) -> Any:
        return self.values[-1] if self.values else None

    @property
    def path(self) -> list[Identifier]:
        """The name or path that was just read, for places where `(` would fit: elsewhere lists may be other parts."""
        if _is_name(before := self.before):
            return [Identifier(span=before.span(self.source), text=before.text)]
        return cast(list[Identifier], before) if isinstance(before, list) else []

    @property
    def opened(self) -> list[Any]:
        """What was read up to the innermost bracket around it."""
        openers = (i for i, value in enumerate(self.values, 1) if isinstance(value, Token) and value.kind in OPENERS)
        return self.values[: max(openers, default=0)]

    @property
    def is_declaring(self) -> bool:
        """Whether what was just read is the name of a flow or of a capability."""
        return _end_with(self.values, "FLOW NAME") or _end_with(self.values, "CAPABILITY NAME")

    @property
    def is_in_parameters(self) -> bool:
        opened = self.opened
        return _end_with(opened, "FLOW NAME LPAR") or _end_with(opened, "CAPABILITY NAME LPAR")


def describe_foreign(misfit: Misfit, report: Report) -> bool:
    """Reports what can be named better than by what was expected; whether the token is that."""
    token, values, expected, source = misfit
    kind, end, before = token.kind, token.end, misfit.before
    if method := _called_method(token, source):
        name = Span(source, method.start(1), method.end(1))
        report.error("unknown-operation", f"found a call of `.{method[1]}`", name, method_advice("x", method[1]))
    elif kind == "IN" and (path := misfit.path) and path[0].text == "not":  # taken for the start of a statement
        report.error("syntax", "found `not` behind a value", path[0].span, _NOT_IN)
    elif _is_name(before) and expected == {"COLON"} and not misfit.is_in_parameters:
        return _describe_member(before, token, source, report)
    elif (name := _misused_type(token, values, expected)) is not None:
        advice = "a list of such values is `list[T]`" if kind == "RSQB" else TYPES.get(name.text.lower())
        advice = advice or "a list is `list[str]`, with one type for all its items"
        written = source.text[name.start : end] + ("" if kind == "RSQB" else "…")
        report.error("unknown-type", f"there is no type `{written}`", name.span(source), advice)
    else:
        return False
    return True


def _called_method(token: Token, source: SourceFile) -> re.Match[str] | None:
    """A method of something that is no name; one of a name looks like a flow of an agent until names are known."""
    start = token.start
    line = max(0, start - _WINDOW)
    if token.kind == "DOT" and _VALUE_END.search(source.text, line, start):
        return _METHOD.match(source.text, start)
    return _METHOD_BEFORE.search(source.text, line, start) if token.kind == "LPAR" else None


def _describe_member(word: Token, token: Token, source: SourceFile, report: Report) -> bool:
    """A name in an agent without the `:` of a default."""
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
    if token.text == "<" and isinstance(before, TypeName):
        return Token("NAME", before.name, before.span.start)
    if (token.kind == "COMMA" and expected == {"RSQB"}) or (expected == {"NAME"} and _is(before, "LSQB")):
        opener = max(i for i, value in enumerate(values) if _is(value, "LSQB"))
        return values[opener - 1] if _is_name(values[opener - 1]) else None
    return None


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Token) and value.kind == kind


def _end_with(values: list[Any], kinds: str) -> bool:
    wanted = kinds.split()
    return len(values) >= len(wanted) and all(map(_is, reversed(values), reversed(wanted)))


def _is_name(value: Any) -> TypeGuard[Token]:
    return _is(value, "NAME")


# --- help beside what was expected -----------------------------------------------------------------------------------


def foreign_advice(misfit: Misfit) -> str | None:
    token, text = misfit.token, misfit.source.text
    if _LAMBDA.search(text, max(0, token.start - _WINDOW), token.start):
        return WORDS["lambda"]
    for row in _ADVICE:
        if row.fits(misfit) and (advice := row.advice if isinstance(row.advice, str) else row.advice(misfit)):
            return advice
    starts = token.kind == "NAME" and misfit.expected & {"AGENT", "FLOW", "CATCH", "CASE"}
    return word_advice(token.text) if starts else None


def _parameter(misfit: Misfit) -> str | None:
    return 'a parameter is written with its type, `x: str` or `x: str = "default"`' if misfit.is_in_parameters else None


def _result_of_flow(misfit: Misfit) -> str | None:
    if isinstance(misfit.values[-2], CallExpression | Token):
        return None
    return TYPES["void"] if misfit.token.kind == "LBRACE" else _SEVERAL


def _beside_text(misfit: Misfit) -> str | None:
    start, text = misfit.token.start, misfit.source.text
    if _INSIDE_TEXT.search(text, max(0, start - _WINDOW), start):
        return r'a `"` inside a text is written `\"`, or the text stands in `"""`'
    word = _WORD_BEFORE.search(text, max(0, start - _WINDOW), start) if misfit.token.kind == "TEXT" else None
    if word and not word[2]:
        return 'the only letter in front of a text is `f`, as in `f"…{name}…"`'
    if word and "LPAR" in misfit.expected and misfit.path:
        return word_advice(word[1]) or (call_advice(word[1]) if word[1] in OPERATIONS else None)
    return None


def call_advice(operation: str) -> str:
    """How an operation is called that stands there without parentheses."""
    arguments = '"name", …' if operation == "inv" else "…"
    return f"a call has parentheses: `{operation}({arguments})`"


class _Row(NamedTuple):
    """Help, and where it helps. Kinds of tokens stand in one text, between blanks."""

    found: str
    """The kind of the token is one of these, or its text is one behind a `=`; anything where empty."""
    expected: str
    """All of these would fit."""
    advice: str | Callable[[Misfit], str | None]
    unless: str = ""
    """None of these would fit."""
    alone: bool = False
    """Whether nothing else would fit."""
    behind: str = ""
    """What was read last."""

    def fits(self, misfit: Misfit) -> bool:
        token, expected = misfit.token, set(self.expected.split())
        return (
            (not self.found or not {token.kind, f"={token.text}"}.isdisjoint(self.found.split()))
            and (misfit.expected == expected if self.alone else misfit.expected >= expected)
            and misfit.expected.isdisjoint(self.unless.split())
            and _end_with(misfit.values, self.behind)
        )


_ADVICE = (
    # in a `switch`
    _Row("OR COMMA", "ARM", _LABELS),
    _Row("COLON EQUAL ARROW", "ARM", _ARM),
    _Row("TEXT NUMBER", "CASE", _ARM),
    _Row("ELSE =_ =otherwise =else", "CASE", _DEFAULT),
    _Row("=break", "CASE", "an arm ends by itself"),
    _Row("=_", "TEXT NUMBER TRUE", _DEFAULT, unless="LSQB"),
    _Row("NAME", "TEXT NUMBER TRUE", "a label is a text in quotes", unless="LSQB"),
    # in a declaration, or in the head of a construct
    _Row("STAR", "NAME RPAR", _ONE_BY_ONE),
    _Row("", "COLON", _parameter),
    _Row("EQUAL", "COLON", "a name and its value are separated by `:`"),
    _Row("COLON", "LBRACE ARROW", _RESULT),
    _Row("COLON", "LBRACE", "a block stands in braces: `{ … }`"),
    _Row("ARM NAME", "ARROW LBRACE", _RESULT, alone=True),
    _Row("LBRACE LPAR", "NAME", _result_of_flow, alone=True, behind="ARROW"),
    _Row("NAME LPAR", "LBRACE", "an agent stands on its own: `agent Name { … }`", alone=True, behind="AGENT NAME"),
    _Row("LPAR", "AT FLOW", "an annotation has no arguments", alone=True),
    _Row("COMMA", "IN", "a `for` goes through one list, with one name", alone=True),
    _Row("", "NAME", "a `for` has no parentheses: `for x in xs { … }`", alone=True, behind="FOR"),
    _Row("LPAR", "LBRACE", "all stands in one pair: `loop (max: 4, x: start) { … }`", alone=True, behind="RPAR"),
    _Row("LPAR", "LBRACE NAME", "the name stands without parentheses: `catch e { … }`", alone=True, behind="CATCH"),
    _Row("TEXT", "NAME", NO_CHOICES, alone=True, behind="COLON"),
    _Row("COMMA", "FLOW", "nothing stands between the parts of an agent"),
    _Row("LBRACE", "NAME", RECORD, unless="TEXT", behind="COLON"),
    _Row("LBRACE", "NAME", RECORD, alone=True, behind="LSQB"),
    _Row("LSQB", "NAME", "a list is `list[str]`, with one type for all its items", alone=True, behind="COLON"),
    _Row("LSQB", "NAME", "a list is `list[str]`, with one type for all its items", alone=True, behind="ARROW"),
    _Row("=max", "LBRACE", "all stands in one pair: `loop (max: 4, x: start) { … }`", behind="RPAR"),
    _Row("DOT", "LPAR", _TOOL_OF_SERVER, alone=True, behind="CAPABILITY NAME"),
    # where something is bound
    _Row("ARM MINUS =as", "ARROW", "the result of a call is bound by `->`"),
    _Row("ARROW", "PLUS", "`->` binds the result of a call that is a statement of its own", unless="RPAR RSQB"),
    _Row("COMMA", "COLON EQUAL", _ONE_NAME, alone=True),
    _Row("LBRACE LSQB", "", _ONE_NAME, behind="LET"),
    _Row("COMMA DOT", "", "`->` binds one name", behind="ARROW NAME"),
    # in values
    _Row("RSQB", "COLON NAME", "a list of such values is `list[T]`", behind="LSQB"),
    _Row("TEXT", "LET", _COMMENT, unless="PLUS"),
    _Row("TEXT", "FLOW", _COMMENT, unless="PLUS"),
    _Row("TEXT NAME NUMBER", "", _beside_text),
    _Row("COMMA", "RPAR", _SEVERAL, alone=True),
    _Row("COMMA", "LET", _SEVERAL),
    _Row("FOR", "RSQB", "there are no comprehensions; `for x in xs { … return y } -> ys` gives a list"),
    _Row("=else", "LBRACE", "there is no `a if c else b`; `if c { return a } else { return b } -> x` chooses"),
    _Row("NAME", "TEXT RBRACE", 'the keys of an object are texts: `{"key": value}`', unless="LSQB"),
    _Row("=>", "", "it is written `!=`", behind="COMPARE"),
    _Row("EQUAL", "", "it is written `==` or `!=`", behind="COMPARE"),
    _Row("DOT", "TEXT NUMBER", "a number begins with a digit: `0.5`"),
    _Row("PLUS", "TEXT NUMBER", "a number has no `+` in front"),
    _Row("NOT", "IN", _NOT_IN),
    _Row("STAR", "TEXT NUMBER", "there is no power", behind="STAR"),
    _Row("STAR", "TEXT NUMBER", _ONE_BY_ONE),
    _Row("EQUAL", "TEXT NUMBER", "a name is bound once, and its value never changes: `let other = …`"),
    _Row("ARM", "PLUS", TYPES["callable"]),
)


# --- characters that start no token ----------------------------------------------------------------------------------


def foreign_character(text: str, offset: int, expected: set[str]) -> str | None:
    """Help for a character that AIS does not use."""
    if text[offset].isalpha() or unicodedata.combining(text[offset]):
        return "names are made of ASCII letters, digits and `_`"
    if text[offset] == "|" and "ARM" in expected:
        return _LABELS
    if text[offset] == "|" and "LSQB" in expected and "PLUS" not in expected:
        nothing = _OR_NULL.match(text, offset)
        return TYPES["optional"] if nothing else "a type has no alternatives; `json` holds any value"
    for sign in (text[offset : offset + 2], text[offset]):
        if sign in _OPERATORS:
            return _OPERATORS[sign]
    plain = _ASCII.get(text[offset]) or unicodedata.normalize("NFKC", text[offset])
    return f"it is written `{plain}`" if plain != text[offset] and plain.isascii() and plain.strip() else None
