"""Leads from one syntax error to the next: what to say, and where to go on.

The machine stops at a token that fits nowhere, and `Recovery` says what to do. If one missing token explains the
error, it is put in. Otherwise the statement or declaration in hand is given up, and parsing goes on at the first token
of a later line that can start one. The tree is lost either way; only further errors are of interest, and one mistake
should give one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from apxm.language.expectation import UNCLOSED, describe_character, describe_token
from apxm.language.lalr import END, STATEMENT_WORDS, Machine, Token, shiftable
from apxm.language.report import Report
from apxm.source import SourceFile

_INSERTABLE = ("RPAR", "RSQB", "LBRACE", "COMMA", "COLON", "ARM", "ARROW")

_LEXEME = re.compile(
    r'(?P<text>"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)|"(?:[^"\\\n]++|\\[^\n])*+"?)'
    r"|(?P<blank>[ \t\r\f;]++|//[^\n]*+|/\*.*?(?:\*/|\Z))|(?P<line>\n)|(?P<word>\w++)|(?P<sign>.)",
    re.DOTALL,
)
_BLANKS = re.compile(r"[ \t\r\f;]*")
_BEFORE_COLON = re.compile(r"\s*:")

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


class _Resume(NamedTuple):
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

    def finish(self, machine: Machine) -> None:
        """Runs the machine, which has stopped, as far as it can be brought."""
        while self._recover(machine) and not machine.run():
            pass

    def _recover(self, machine: Machine) -> bool:
        """Reports what the machine stopped at, and moves it behind that; false where there is nothing to go on with."""
        token = machine.misfit
        offset = machine.offset if token is None else token.start
        if not self._follows_from_another(offset, token):
            if token is None:
                describe_character(offset, machine, self._source, self._report)
            else:
                describe_token(token, machine, self._source, self._report)
        swallowed = token is None and self._source.text.startswith(tuple(UNCLOSED), offset)
        if swallowed or _is_end(token) or self._report.full:
            return False
        if token is not None and self._insert_missing(machine, token):
            return True
        return self._resynchronize(machine, offset)

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

    def _insert_missing(self, machine: Machine, token: Token) -> bool:
        """Goes on as if one token stood before `token`, if that is enough for `token` to fit."""
        for kind in _INSERTABLE:
            after = machine.after(machine.states, kind)
            if after is not None and machine.after(after, token.kind) is not None:
                return machine.take(Token(kind, "", token.start)) and machine.take(token)
        return False

    def _resynchronize(self, machine: Machine, offset: int) -> bool:
        resume = self._find_resumption(machine, offset)
        if resume is None:
            return False
        del machine.states[resume.states :], machine.values[resume.states - 1 :]
        if resume.header is not None:
            shifts = shiftable(machine.states[-1])
            headers = next(headers for kind, headers in _HEADERS.items() if kind in shifts)
            for kind in headers.get(resume.header, headers[""]):
                machine.take(Token(kind, '""' if kind == "TEXT" else "", resume.offset))
        # A character that starts no token is not tried again.
        machine.offset = resume.offset + (machine.misfit is None and resume.offset == offset)
        self._resumed_at = resume.offset
        return True

    def _find_resumption(self, machine: Machine, offset: int) -> _Resume | None:
        bodies = [
            (height, shifts)
            for height in range(len(machine.states), 0, -1)
            if not _HEADERS.keys().isdisjoint(shifts := shiftable(machine.states[height - 1]))
        ]
        innermost, inner_shifts = bodies[0]
        given_up = machine.values[innermost - 1 :]
        first_word = given_up[0].text if given_up and isinstance(given_up[0], Token) else ""
        # braces of objects that are given up on the way to the body
        depth = sum(1 for value in given_up if isinstance(value, Token) and value.kind == "LBRACE")
        closed = any(isinstance(value, Token) and value.kind == "RBRACE" for value in given_up)
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
                    terminal = STATEMENT_WORDS.get(found, "NAME")
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
    return token is not None and token.kind == END
