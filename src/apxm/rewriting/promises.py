"""Which plain loops of existing code are promised to be independent: by a comment behind them, or by their lines."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from apxm.effects.trees import children
from apxm.errors import Problems, SourceUsageError, UsageError
from apxm.rewriting.nodes import PREFIX, at, load
from apxm.rewriting.reached import Reached
from apxm.source import Diagnostic, SourceFile, Span

EACH = f"{PREFIX}each"
"""The name by which a promised loop calls `each`."""
COMMENT = "# apxm: each"
OF_WHILE = "each turn of a `while` decides whether there is another one"
OF_ASYNC = "an event loop runs this function, and lanes run none of its loops"
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
    def flaw(self) -> tuple[str, str] | None:
        """Why nobody can promise anything of it: how `explain` judges it, and its words."""
        if isinstance(self.node, ast.While):
            return "carried", OF_WHILE
        around = self.scopes[-1] if self.scopes else None
        if self.header is None or isinstance(around, ast.AsyncFunctionDef):
            return "unknown", OF_ASYNC
        if isinstance(around, ast.ClassDef):
            return "unknown", f"it stands in the body of the class {around.name}, and not in a function"
        if isinstance(around, ast.Lambda):
            return "unknown", "it stands in a lambda, and not in a function under `def`"
        return None

    def promisable(self, file: SourceFile) -> None:
        """Raises `SourceUsageError` where nobody can promise anything of it."""
        if self.flaw is not None:
            raise _wrong(file, *self.flaw, self.line)


def loops_in(tree: ast.Module) -> list[Loop]:
    """The loops of a file, in the order of their lines; of comprehensions what they go through first."""
    return sorted(_loops(tree, ()), key=lambda loop: (loop.line, isinstance(loop.header, ast.comprehension)))


def _loops(node: ast.AST, scopes: tuple[ast.AST, ...]) -> Iterator[Loop]:
    for child in children(node):
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


@lru_cache(maxsize=32)
def _parsed(file: str, text: str) -> ast.Module | None:
    try:
        return ast.parse(text, file)
    except (SyntaxError, ValueError):
        return None


@lru_cache(maxsize=1024)
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
        source = SourceFile(file, text)
        if loop is None:
            raise _wrong(source, "no-loop", f"`{COMMENT}` stands behind no loop", line, token.start[1])
        loop.promisable(source)
        found.add(loop.line)
    return frozenset(found)


def _wrong(file: SourceFile, code: str, message: str, line: int, column: int | None = None) -> SourceUsageError:
    """What is said of a promise of something that is none, in a line of a file, from its character `column` on."""
    text = file.line(line)
    start = file.line_starts[line - 1]
    span = Span(
        file, start + (len(text) - len(text.lstrip()) if column is None else column), start + len(text.rstrip())
    )
    return SourceUsageError((Diagnostic("error", code, message, span, _nearest(file, line)),))


def _nearest(file: SourceFile, line: int) -> str:
    tree = _parsed(file.path, file.text)
    loops = [loop for loop in loops_in(tree) if loop.flaw is None] if tree is not None else []
    if not loops:
        return "there is no loop in this file that could be promised"
    nearest = min(loops, key=lambda loop: abs(loop.line - line))
    return f"the nearest loop is {file.path}:{nearest.line}: `{file.line(nearest.line).strip()}`"


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
        problems = Problems()
        places = [problems.of(partial(_named, place), None) for place in named]
        problems.raise_all()
        return cls(tuple(place for place in places if place is not None), are_read=True)

    def lines(self, file: str, text: str) -> frozenset[int]:
        """The lines of the loops in a file that are promised. Raises `UsageError`."""
        if not self.are_read:
            return frozenset()
        real = os.path.realpath(file)
        return _commented(file, text) | {line for named, line in self.named if named == real}


class _Process:
    """What holds in this process."""

    promises = Promises()
    reached = Reached()
    overlap = True
    """Whether flows and promised loops overlap."""
    iterate: Callable[[Iterable[Any]], Iterator[Any]] = iter
    """What plain iteration over `each` is."""
    prepared: Callable[[ast.Module], ast.Module] | None = None
    """What is made of the user's modules before they run, where they may have an `each`."""
    returned: Callable[[str, object], object] | None = None
    """Told of what each flow returns that is called in a lane, and of its name."""


HERE = _Process()


def heads_of(places: Sequence[str]) -> list[list[str]]:
    """How the loops at ``FILE.py:LINE`` are written, and all that are written so in their files by their places: they
    are known by that where lines have moved. Raises `UsageError`."""
    found: list[list[str]] = []
    for place in places:
        file, line = _named(place)
        same = _written_alike(place.rpartition(":")[0], _head_at(file, line))
        found.append([_head_at(file, line), *same])
    return found


def found_again(place: str, head: str, alike: Sequence[str]) -> str:
    """Where the loop is now that was at a place, `alike` with others. Raises `UsageError` where that is not evident."""
    file, _, line = place.rpartition(":")
    now, then = _written_alike(file, head), f"{file}:{int(line)}"
    if len(now) != len(alike) or then not in alike:
        raise UsageError(
            f"the loop that --each promised is not found again: `{head}`",
            where=then,
            hint=f"promise it where it stands, by `{COMMENT}` behind its head, and begin a new run",
        )
    return now[alike.index(then)]


def _head_at(file: str, line: int) -> str:
    return next(_written(loop) for loop in _loops_of(file) if loop.line == line)


def _written_alike(file: str, head: str) -> list[str]:
    lines = dict.fromkeys(loop.line for loop in _loops_of(file) if _written(loop) == head)
    return [f"{file}:{line}" for line in lines]


def _written(loop: Loop) -> str:
    header = loop.header
    return "" if header is None else f"for {ast.unparse(header.target)} in {ast.unparse(header.iter)}"


def _loops_of(file: str) -> list[Loop]:
    try:
        with open(file, "rb") as opened:
            tree = _parsed(file, importlib.util.decode_source(opened.read()))
    except (OSError, SyntaxError, UnicodeDecodeError):
        tree = None
    return [] if tree is None else loops_in(tree)


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
    source, number = SourceFile(file, text), int(line)
    loop = next((loop for loop in loops_in(tree) if loop.line == number), None)
    if loop is None:
        raise _no_loop(source, number)
    loop.promisable(source)
    return os.path.realpath(file), number


def _no_loop(file: SourceFile, number: int) -> SourceUsageError:
    count = file.text.count("\n") + (not file.text.endswith("\n"))
    if not 0 < number <= count:
        return _wrong(file, "no-loop", f"there is no line {number}: the file has {count}", max(1, count))
    text = file.line(number).strip()
    why = ": it is empty" if not text else ": it is a comment" if text.startswith("#") else ""
    return _wrong(file, "no-loop", f"no loop begins in this line{why}", number)


def promised(tree: ast.Module, lines: frozenset[int]) -> ast.Module:
    """The tree of a file, with those loops made ones over `each`."""
    left = set(lines)
    for loop in loops_in(tree) if left else ():
        if loop.line in left and loop.header is not None:
            left.discard(loop.line)
            items = loop.header.iter
            loop.header.iter = at(ast.Call(load(EACH), [items], []), items)
    return tree
