"""From one syntax error to the next: what to say, and where to go on.

Lark stops at a token that fits nowhere and asks `Recovery.recover`. If one missing token explains the error, it is put
in. Otherwise the statement or declaration in hand is given up, and parsing goes on at the first token of a later line
that can start one. The tree is lost either way; only further errors are of interest, and one mistake should give one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

from lark import Token
from lark.exceptions import UnexpectedInput
from lark.parsers.lalr_analysis import Shift

from apxm.language.expectation import describe_character, describe_token
from apxm.language.report import Report
from apxm.source import SourceFile

_INSERTABLE = {"RPAR": ")", "RSQB": "]", "LBRACE": "{", "COMMA": ",", "COLON": ":", "ARM": "=>", "ARROW": "->"}

_LEXEME = re.compile(
    r'(?P<text>"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)|"(?:[^"\\\n]++|\\[^\n])*+"?)'
    r"|(?P<blank>[ \t\r\f;]++|//[^\n]*+|/\*.*?(?:\*/|\Z))|(?P<line>\n)|(?P<word>\w++)|(?P<sign>.)",
    re.DOTALL,
)
_WITHOUT_END = ('"""', 'f"""', "/*")
"""Where no token starts, one of these runs to the end of the file."""
_BLANKS = re.compile(r"[ \t\r\f;]*")
_BEFORE_COLON = re.compile(r"\s*:")

_STATEMENT_WORDS = {
    word: word.upper() for word in ("let", "return", "switch", "if", "loop", "for", "try", "until", "next")
}
_OUTER_WORDS = {word: word.upper() for word in ("agent", "flow", "capability", "case", "default")} | {"@": "AT"}

_AGENT, _FLOW = ("AGENT", "NAME", "LBRACE"), ("FLOW", "NAME", "LBRACE")
_HEADERS = {
    "AGENT": {"": _AGENT, "flow": (*_AGENT, *_FLOW), "@": (*_AGENT, *_FLOW)},
    "FLOW": {"": _FLOW},
    "LET": {"": ("IF", "TRUE", "LBRACE"), "switch": ("SWITCH", "NAME", "LBRACE")},
    "CASE": {"": ("CASE", "TEXT", "ARM", "LBRACE")},
}
"""Tokens that open a body, in place of a header that could not be read: by what the body around it may hold, and by
the word that the header started with, where that matters."""


@dataclass
class _Resume:
    """Where parsing goes on, with so many states left on the stack."""

    offset: int
    states: int
    header: str | None = None
    """Where the token before `offset` opened a body whose header was lost: the first word of that header."""


class Recovery:
    """The errors of one parse."""

    def __init__(self, source: SourceFile, report: Report) -> None:
        self._source = source
        self._report = report
        self._resumed_at = -1

    def recover(self, error: UnexpectedInput) -> bool:
        """Reports `error` and moves lark's parser behind it; false where there is nothing to go on with."""
        parser: Any = error.interactive_parser  # pyright: ignore[reportAttributeAccessIssue]  # not declared by lark
        token = cast("Token | None", getattr(error, "token", None))
        offset: int = parser.lexer_thread.state.line_ctr.char_pos if token is None else token.start_pos or 0
        if not self._follows_from_another(offset, token):
            if token is None:
                describe_character(offset, parser, self._source, self._report)
            else:
                describe_token(token, parser, self._source, self._report)
        swallowed = token is None and self._source.text.startswith(_WITHOUT_END, offset)
        if swallowed or _is_end(token) or self._report.full:
            return False
        if token is not None and self._insert_missing(parser, token):
            return True
        return self._resynchronize(parser, offset)

    def _follows_from_another(self, offset: int, token: Token | None) -> bool:
        """Whether an error is a consequence of one that is reported: more often than not where that is on its line or
        where the token before it stands, and where the end of the file comes too early."""
        if _is_end(token):
            return self._report.failed
        text, before = self._source.text, offset
        while before and text[before - 1].isspace():
            before -= 1
        lines = {self._source.position(offset)[0], self._source.position(max(0, before - 1))[0]}
        return any(map(self._report.has_error_on, lines))

    def _insert_missing(self, parser: Any, token: Token) -> bool:
        """Goes on as if one token stood before `token`, if that is enough for `token` to fit."""
        state = parser.parser_state
        for kind, text in _INSERTABLE.items():
            after = _shifted(state, state.state_stack, kind)
            if after is not None and _shifted(state, after, token.type) is not None:
                parser.feed_token(_made_up(kind, text, token.start_pos))
                parser.feed_token(token)
                return True
        return False

    def _resynchronize(self, parser: Any, offset: int) -> bool:
        state = parser.parser_state
        resume = self._find_resumption(state, offset)
        if resume is None:
            return False
        del state.state_stack[resume.states :]
        del state.value_stack[resume.states - 1 :]
        if resume.header is not None:
            shifts = _shifts(state, state.state_stack[-1])
            headers = next(headers for kind, headers in _HEADERS.items() if kind in shifts)
            for kind in headers.get(resume.header, headers[""]):
                parser.feed_token(_made_up(kind, '""' if kind == "TEXT" else "", resume.offset))
        parser.lexer_thread.state.line_ctr.char_pos = resume.offset
        self._resumed_at = resume.offset
        return True

    def _find_resumption(self, state: Any, offset: int) -> _Resume | None:
        bodies = [
            (height, shifts)
            for height in range(len(state.state_stack), 0, -1)
            if not _HEADERS.keys().isdisjoint(shifts := _shifts(state, state.state_stack[height - 1]))
        ]
        innermost, inner_shifts = bodies[0]
        given_up = state.value_stack[innermost - 1 :]
        first_word = str(given_up[0]) if given_up and isinstance(given_up[0], Token) else ""
        # braces of objects that are given up on the way to the body
        depth = sum(1 for value in given_up if isinstance(value, Token) and value.type == "LBRACE")
        closed = any(isinstance(value, Token) and value.type == "RBRACE" for value in given_up)
        opened_after: list[int] = []
        text = self._source.text
        line_start = self._source.line_starts[self._source.position(offset)[0] - 1]
        first_on_line = _BLANKS.fullmatch(text, line_start, offset) is not None
        for lexeme in _LEXEME.finditer(text, offset):
            kind, found, start = lexeme.lastgroup, lexeme.group(), lexeme.start()
            if kind == "blank":
                continue
            if kind == "line":
                if opened_after:
                    return _Resume(opened_after[-1], innermost, header=first_word)
                first_on_line, first_word = True, ""
                continue
            first_word = first_word or found
            if start > self._resumed_at and first_on_line and not opened_after:
                if terminal := _OUTER_WORDS.get(found):
                    height = next((height for height, shifts in bodies if terminal in shifts), None)
                    if height is not None:
                        return _Resume(start, height)
                elif depth == 0 and kind == "word":
                    terminal = _STATEMENT_WORDS.get(found, "NAME")
                    in_agent = "FLOW" in inner_shifts
                    if terminal in inner_shifts and (not in_agent or _BEFORE_COLON.match(text, lexeme.end())):
                        return _Resume(start, innermost)
            first_on_line = False
            if found == "{":
                opened_after.append(lexeme.end())
            elif found == "}":
                if opened_after:
                    opened_after.pop()
                elif depth:
                    depth -= 1
                elif start > self._resumed_at and "RBRACE" in inner_shifts and not closed:
                    return _Resume(start, innermost)
        return None


def _is_end(token: Token | None) -> bool:
    return token is not None and token.type == "$END"


def _shifts(state: Any, position: Any) -> set[str]:
    """The terminals that the parser takes in state `position` without finishing anything first."""
    table = state.parse_conf.states[position]
    return {name for name, (action, _) in table.items() if action is Shift and name.isupper()}


def _shifted(state: Any, stack: list[Any], terminal: str) -> list[Any] | None:
    """The stack of states after `terminal`; None where it does not fit."""
    stack = list(stack)
    while True:
        found = state.parse_conf.states[stack[-1]].get(terminal)
        if found is None:
            return None
        action, argument = found
        if action is Shift:
            return [*stack, argument]
        if argument.expansion:
            del stack[-len(argument.expansion) :]
        stack.append(state.parse_conf.states[stack[-1]][argument.origin.name][1])


def _made_up(kind: str, text: str, offset: int | None) -> Token:
    return Token(kind, text, offset, end_pos=offset)
