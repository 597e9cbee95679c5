"""What a syntax error says."""

from __future__ import annotations

import re
import unicodedata

from apxm.language.elsewhere import VALUES, WORDS, word_advice
from apxm.language.foreign import (
    BINDING,
    OPENERS,
    Misfit,
    call_advice,
    describe_foreign,
    foreign_advice,
    foreign_character,
)
from apxm.language.lalr import END, RESERVED_WORDS, STATEMENT_KINDS, STATEMENT_WORDS, Machine, Token
from apxm.language.report import Report
from apxm.operations.catalog import OPERATIONS
from apxm.source import SourceFile, Span

_SIGNS = (
    "ARROW -> ARM => LBRACE { RBRACE } LPAR ( RPAR ) LSQB [ RSQB ] COMMA , COLON : EQUAL = DOT . AT @ QMARK ? "
    "PLUS + MINUS - STAR * SLASH / PERCENT %"
)
_kinds = _SIGNS.split()
_NAMES = {
    **dict(zip(_kinds[::2], map("`{}`".format, _kinds[1::2]), strict=True)),
    "COMPARE": "a comparison",
    "NAME": "a name",
    "TEXT": "a text",
    "NUMBER": "a number",
    END: "the end of the file",
}
"""What messages call the kinds of tokens that are no words."""
_EXPRESSION = {"NAME", "TEXT", "NUMBER", "TRUE", "FALSE", "NULL", "LSQB", "LBRACE", "LPAR", "MINUS", "NOT"}
_CONTINUATION = {
    "PLUS",
    "MINUS",
    "STAR",
    "SLASH",
    "PERCENT",
    "COMPARE",
    "IN",
    "AND",
    "OR",
    "DOT",
    "LSQB",
    "AS",
    "QMARK",
}
"""What may follow any expression: true, and no help."""

_BOUND_ONCE = "a name is bound once, and its value never changes: `let other = …`"
_STATEMENTS = {
    "EQUAL": "a result is bound behind its call, `ask(…) -> name`; other values by `let name = …`",
    "COLON": "a result is bound behind its call, `ask(…) -> name`; other values by `let name = …`",
    **dict.fromkeys(("PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "DOT", "LSQB"), _BOUND_ONCE),
    "ARROW": "`->` binds the result of a call; other values are bound by `let name = …`",
    "NAME": "a statement is a call, `let`, `return` or `switch`",
}
"""Help where a name starts no statement, by what follows it."""

UNCLOSED = {
    '"""': ("unclosed-text", 'this text is never closed by `"""`'),
    'f"""': ("unclosed-text", 'this text is never closed by `"""`'),
    "/*": ("unclosed-comment", "this comment is never closed by `*/`"),
}
"""Where no token starts, one of these runs to the end of the file."""
_OUTER = ("AGENT", "FLOW", "AT", "CAPABILITY", "CASE", "DEFAULT")
"""What starts something that stands further out than statements do."""
_SMALL_LETTERS = "the words of the language are in small letters: `{}`"
_WORD_BEFORE = re.compile(r"(\w+)[ \t]+\Z")
_SINGLE_QUOTED = re.compile(r"'[^'\n]*'?")
_STRANGE_WORD = re.compile(r"[^\W\d]\w*|.", re.DOTALL)


def describe_token(token: Token, machine: Machine, source: SourceFile, report: Report) -> None:
    """Reports that `token` does not fit where it stands."""
    values, expected = machine.values, machine.accepts()
    misfit = Misfit(token, values, expected, source)
    before, opened = misfit.before, misfit.opened
    opener = opened[-1] if opened else None
    path = misfit.path if expected <= {"LPAR", "DOT"} and not misfit.is_declaring else []
    name = Span(source, path[0].span.start, path[-1].span.end) if path else None
    mark = token if token.kind == "QMARK" else before
    if isinstance(mark, Token) and mark.kind == "QMARK" and "TEXT" not in expected:
        describe_character(mark.start, machine, source, report)
    elif token.kind == END:
        _describe_end(opener, expected, source, report)
    elif describe_foreign(misfit, report):
        pass
    elif isinstance(before, Token) and before.kind == "NAME" and before.text in RESERVED_WORDS:
        message = f"`{before.text}` is a word of the language, expected a name"
        advice = 'it stands before the description: `readonly "…"`' if before.text == "readonly" else None
        report.error("reserved-word", message, before.span(source), advice)
    elif name is not None and token.kind != "TEXT":
        # a name where a statement starts, and nothing after it that makes one
        written = source.text[name.start : name.end]
        advice = _statement_advice(name, token, source, report)
        report.error("syntax", f"found `{written}`, expected a statement", name, advice)
    else:
        found = "a text" if token.kind == "TEXT" else f"`{token.text}`"
        message = f"found {found}, expected {_in_words(expected)}"
        advice = _advice(misfit, opener)
        if advice is None and token.kind == "NAME":
            advice = report.near(token.text, [kind.lower() for kind in expected if kind.lower() in RESERVED_WORDS])
        elif advice is None and name is not None:
            advice = report.near(source.text[name.start : name.end], STATEMENT_WORDS)
        if advice is None and expected == {"CATCH"}:
            advice = "a `try` has a `catch` behind it, which gives what is used instead: `catch e { … }`"
        report.error("syntax", message, token.span(source), advice)


def _statement_advice(name: Span, token: Token, source: SourceFile, report: Report) -> str:
    written = source.text[name.start : name.end]
    before = _WORD_BEFORE.search(source.text, max(source.line_starts[name.line - 1], name.start - 100), name.start)
    if before and before[1] == "lambda":
        return WORDS["lambda"]
    if token.kind in BINDING:
        return _STATEMENTS[token.kind]
    advice = word_advice(written) or (VALUES.get(before[1]) if before else None)
    if advice is not None:
        return advice
    if name.start and source.text[name.start - 1].isdigit():
        return "a whole number is written in decimal digits alone: `1000`"
    if written.lower() in RESERVED_WORDS and written not in RESERVED_WORDS:
        return _SMALL_LETTERS.format(written.lower())
    if written in OPERATIONS:
        return call_advice(written)
    return report.near(written, STATEMENT_WORDS) or _STATEMENTS.get(token.kind, _STATEMENTS["NAME"])


def _describe_end(opener: Token | None, expected: set[str], source: SourceFile, report: Report) -> None:
    if opener is not None:
        message = f"the file ends before this `{opener.text}` is closed"
        report.error("unclosed-bracket", message, opener.span(source), f"add {_NAMES[OPENERS[opener.kind]]}")
    else:
        end = len(source.text.rstrip())
        message = f"the file ends here, expected {_in_words(expected)}"
        report.error("syntax", message, Span(source, max(0, end - 1), end))


def describe_character(offset: int, machine: Machine, source: SourceFile, report: Report) -> None:
    """Reports that no token starts at `offset`."""
    text = source.text
    expected = machine.accepts()
    character = text[offset]
    for opening, (code, message) in UNCLOSED.items():
        if text.startswith(opening, offset):
            report.error(code, message, Span(source, offset, offset + len(opening)))
            return
    if character == '"' or text.startswith('f"', offset):
        end = text.find("\n", offset)
        span = Span(source, offset, len(text.rstrip()) if end < 0 else end)
        advice = 'write `"` at its end, or `"""` around several lines'
        report.error("unclosed-text", "this text is not closed on its line", span, advice)
        return
    if character == "'":
        quoted = _SINGLE_QUOTED.match(text, offset)
        end = quoted.end() if quoted else offset + 1
        report.error("bad-character", "found `'`, expected a text in double quotes", Span(source, offset, end))
        return
    advice = foreign_character(text, offset, expected)
    end = offset + 1
    if character.isalpha() and (word := _STRANGE_WORD.match(text, offset)):
        end = word.end()
    visible = character.isprintable() and not unicodedata.combining(character)
    shown = f"`{character}`" if visible else "a character"
    if ord(character) > 126 or not character.isprintable():
        name = unicodedata.name(character, "")
        shown += f" (U+{ord(character):04X}{' ' + name if name else ''})"
    report.error("bad-character", f"found {shown}, which AIS does not use here", Span(source, offset, end), advice)


def _in_words(expected: set[str]) -> str:
    rest = expected - {"MEMORY"}  # which is accepted, and no help
    words: list[str] = []
    if rest >= STATEMENT_KINDS:
        rest -= STATEMENT_KINDS | {"NAME"}
        words.append("a statement")
    elif rest >= _EXPRESSION - {"NOT"}:
        rest -= _EXPRESSION
        words.append("an expression")
    if rest - _CONTINUATION or words:
        rest -= _CONTINUATION
    words += sorted((_NAMES.get(name) or f"`{name.lower()}`" for name in rest), key=lambda word: (word == "`}`", word))
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + f" or {words[-1]}"


def _advice(misfit: Misfit, opener: Token | None) -> str | None:
    token, values, expected, source = misfit
    kind = token.kind
    if kind in ("CASE", "DEFAULT") and expected == {"RBRACE"}:
        return "`default` is the last arm"
    if kind in ("FLOW", "AT", "CAPABILITY") and "AGENT" in expected:
        inside = f"{'capabilities' if kind == 'CAPABILITY' else 'flows'} stand inside an agent: `agent Name {{ … }}`"
        return f"{inside}; is there a `}}` too many above?" if values else inside
    closes_another = kind in OPENERS.values() and opener is not None and OPENERS[opener.kind] != kind
    if opener is not None and (closes_another or (kind in _OUTER and "RBRACE" in expected)):
        # By its kind: what recovery put in has no text.
        return f"the {_NAMES[opener.kind]} on line {source.position(opener.start)[0]} is not closed"
    if kind == "NAME" and token.text.lower() in RESERVED_WORDS and token.text not in RESERVED_WORDS:
        return _SMALL_LETTERS.format(token.text.lower())
    return foreign_advice(misfit)
