"""Which plain loops of existing code are promised to be independent: by a comment behind them, or by their lines."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from apxm.errors import UsageError
from apxm.rewriting.nodes import PREFIX, at, load

EACH = f"{PREFIX}each"
"""The name by which a promised loop calls `each`."""
BEHIND = "__apxm_behind__"
"""The attribute of a function that stands in for one with such a loop: that one."""
COMMENT = "# apxm: each"
_MOST_LISTED = 20
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Loop(NamedTuple):
    """A loop in a file of Python, and what its iterations go through."""

    node: ast.AST
    header: ast.For | ast.comprehension | None
    """What names its items; None for a `while`, and for what asyncio runs."""
    scopes: tuple[ast.AST, ...]
    """The functions and classes around it, from the outermost."""
    last: int
    """The last line of its head."""

    @property
    def line(self) -> int:
        return self.node.lineno  # type: ignore[attr-defined,no-any-return]  # all loops have one

    @property
    def flaw(self) -> str | None:
        """Why nobody can promise anything of it."""
        if isinstance(self.node, ast.While):
            return "is a `while`, whose turns need each other: `each` is for what goes through items"
        around = self.scopes[-1] if self.scopes else None
        if self.header is None or isinstance(around, ast.AsyncFunctionDef):
            return "belongs to an `async` function, which an event loop runs, and not a lane"
        if isinstance(around, ast.ClassDef):
            return f"stands in the body of the class {around.name}, and not in a function"
        return None


def loops_in(tree: ast.Module) -> list[Loop]:
    """The loops of a file, in the order of their lines; of comprehensions what they go through first."""
    return sorted(_loops(tree, ()), key=lambda loop: (loop.line, isinstance(loop.header, ast.comprehension)))


def _loops(node: ast.AST, scopes: tuple[ast.AST, ...]) -> Iterator[Loop]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.For(iter=items):
                yield Loop(child, child, scopes, _last_of_head(child, items))
            case ast.AsyncFor(iter=items):
                yield Loop(child, None, scopes, _last_of_head(child, items))
            case ast.While(test=test):
                yield Loop(child, None, scopes, _last_of_head(child, test))
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                first = child.generators[0]
                yield Loop(child, None if first.is_async else first, scopes, child.end_lineno or child.lineno)
            case _:
                pass
        yield from _loops(child, (*scopes, child) if isinstance(child, _SCOPES) else scopes)


def _last_of_head(loop: ast.For | ast.AsyncFor | ast.While, head: ast.expr) -> int:
    return max(head.end_lineno or loop.lineno, loop.body[0].lineno - 1)


@cache
def _parsed(file: str, text: str) -> ast.Module | None:
    try:
        return ast.parse(text, file)
    except (SyntaxError, ValueError):
        return None


@cache
def _commented(file: str, text: str) -> frozenset[int]:
    """The lines of the loops that a comment promises. Raises `UsageError` where one stands behind no loop."""
    if COMMENT.split()[1] not in text or (tree := _parsed(file, text)) is None:
        return frozenset()
    loops, found = loops_in(tree), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or token.string.split() != COMMENT.split():
            continue
        line = token.start[0]
        around = [loop for loop in loops if loop.line <= line <= loop.last]
        statements = [loop for loop in around if not isinstance(loop.header, ast.comprehension)]
        loop = next(iter(statements or around), None)
        if loop is None:
            raise UsageError(f"`{COMMENT}` stands behind no loop", where=f"{file}:{line}", hint=_listed(file, text))
        _refuse(loop, file, text, f"{file}:{loop.line}")
        found.add(loop.line)
    return frozenset(found)


def _refuse(loop: Loop, file: str, text: str, where: str) -> None:
    if loop.flaw is not None:
        raise UsageError(f"the loop here {loop.flaw}", where=where, hint=_listed(file, text))


def _listed(file: str, text: str) -> str:
    tree = _parsed(file, text)
    loops = [loop for loop in loops_in(tree) if loop.flaw is None] if tree is not None else []
    if not loops:
        return "there is no loop in this file of which it could be"
    lines = text.splitlines()
    shown = [f"{file}:{loop.line}  {lines[loop.line - 1].strip()}" for loop in loops[:_MOST_LISTED]]
    more = [f"… and {len(loops) - _MOST_LISTED} more"] if len(loops) > _MOST_LISTED else []
    return "\n".join(["the loops of this file are", *(f"  {line}" for line in (*shown, *more))])


@dataclass(frozen=True)
class Promises:
    """Those that hold in a process while it runs a script."""

    named: Sequence[tuple[str, int]] = ()
    """Files, by their real paths, and lines of loops in them."""
    are_read: bool = False
    """Whether comments count, too."""

    @classmethod
    def of_script(cls, named: Sequence[str]) -> Promises:
        """Those of a script whose user names loops as ``FILE.py:LINE``. Raises `UsageError` for what is no loop."""
        return cls(tuple(map(_named, named)), are_read=True)

    def lines(self, file: str, text: str) -> frozenset[int]:
        """The lines of the loops in a file that are promised. Raises `UsageError`."""
        if not self.are_read:
            return frozenset()
        real = os.path.realpath(file)
        return _commented(file, text) | {line for named, line in self.named if named == real}


class _Process:
    """What holds in this process."""

    promises = Promises()
    overlap = True
    """Whether flows and promised loops overlap."""
    iterate: Callable[[Iterable[Any]], Iterator[Any]] = iter
    """What plain iteration over `each` is."""
    returned: Callable[[str, object], object] | None = None
    """Told of what each flow returns that is called in a lane, and of its name."""


HERE = _Process()


def _named(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    if not file or not (line.isascii() and line.isdigit()):
        raise UsageError(f"--each {place}: expected FILE.py:LINE, the place of a loop")
    try:
        with open(file, "rb") as opened:
            text = importlib.util.decode_source(opened.read())
    except OSError as error:
        raise UsageError(f"--each {place}: the file cannot be read: {error.strerror}") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"--each {place}: the file cannot be decoded: {error}") from None
    tree = _parsed(file, text)
    if tree is None:
        raise UsageError(f"--each {place}: the file is no Python")
    loops = [loop for loop in loops_in(tree) if loop.line == int(line)]
    if not loops:
        raise UsageError(f"--each {place}: there is no loop in that line", hint=_listed(file, text))
    _refuse(loops[0], file, text, f"--each {place}")
    return os.path.realpath(file), loops[0].line


def promised(tree: ast.Module, lines: frozenset[int]) -> ast.Module:
    """The tree of a file, with those loops made ones over `each`."""
    left = set(lines)
    for loop in loops_in(tree):
        if loop.line in left and loop.header is not None:
            left.discard(loop.line)
            items = loop.header.iter
            loop.header.iter = at(ast.Call(load(EACH), [items], []), items)
    return tree
