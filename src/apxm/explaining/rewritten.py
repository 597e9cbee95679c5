"""What rewriting makes of a function, where one of its loops is promised or is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from apxm.effects.trees import copied, walk
from apxm.explaining.callees import Scope
from apxm.rewriting.functions import Rewriter
from apxm.rewriting.names import Entered
from apxm.rewriting.nodes import PREFIX, RefusedError
from apxm.rewriting.promises import EACH

Position = tuple[int, int]
"""Line and column, as Python has them."""
AnyLoop = ast.For | ast.While | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Refusal(NamedTuple):
    """A loop that no lane can run as its `each` says."""

    node: ast.AST
    message: str
    hint: str | None
    is_carried: bool
    """Whether an iteration needs what the one before it left."""


class Rewritten(NamedTuple):
    """A function as lanes run it, its refused loops without their `each`."""

    node: ast.FunctionDef
    entered: Sequence[Entered]
    refused: dict[Position, Refusal]


def position(node: ast.AST) -> Position:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def rewritten(scope: Scope, promised: Position | None = None) -> Rewritten | None:
    """A function as lanes would run it, were the loop at `promised` an `each`; None where it has no source.

    Raises `RefusedError` where something has no meaning in lanes that stands in none of its loops.
    """
    refused: dict[Position, Refusal] = {}
    while True:
        found = scope.source()
        if found is None:
            return None
        node, around = copied(found[0]), found[1]
        for loop in loops_in(node):
            if position(loop) in refused:
                _release(loop, scope)
            elif position(loop) == promised:
                _promise(loop)
        rewriter = Rewriter(scope, around)
        before = copied(node)
        try:
            return Rewritten(ast.fix_missing_locations(rewriter.function(node)), rewriter.entered, refused)
        except RefusedError as error:
            carried = "needs what the one before it left" in error.message
            loop = rewriter.entered[-1].node if carried and rewriter.entered else _around(before, error.node, scope)
            if loop is None or position(loop) in refused:
                raise
            refused[position(loop)] = Refusal(error.node, error.message, error.hint, carried)


def loops_in(node: ast.AST) -> Iterator[AnyLoop]:
    """All loops and comprehensions of a function, those of functions in it included."""
    return (part for part in walk(node) if isinstance(part, AnyLoop))


def _around(function: ast.AST, inner: ast.AST, scope: Scope) -> AnyLoop | None:
    """The innermost `each` around a node."""
    found: AnyLoop | None = None
    for loop in loops_in(function):
        end = (loop.end_lineno or 0, loop.end_col_offset or 0)
        if position(loop) <= position(inner) < end and is_promised(loop, scope):
            found = loop
    return found


def is_promised(loop: AnyLoop, scope: Scope) -> bool:
    items = items_of(loop)
    return isinstance(items, ast.Call) and _each_in(items, scope) is not None


def items_of(loop: AnyLoop) -> ast.expr:
    """What a loop goes through; the condition of a `while`."""
    match loop:
        case ast.For():
            return loop.iter
        case ast.While():
            return loop.test
        case _:
            return loop.generators[0].iter


def _each_in(items: ast.Call, scope: Scope) -> ast.Call | None:
    """The `each` itself: other functions may stand around it."""
    if scope.role_of(items.func).each:
        return items
    inner = (_each_in(argument, scope) for argument in items.args if isinstance(argument, ast.Call))
    return next((found for found in inner if found is not None), None)


def _promise(loop: AnyLoop) -> None:
    items = items_of(loop)
    call = ast.copy_location(ast.Call(ast.copy_location(ast.Name(EACH, ast.Load()), items), [items], []), items)
    _put(loop, call)


def _release(loop: AnyLoop, scope: Scope) -> None:
    items = items_of(loop)
    promised = _each_in(items, scope) if isinstance(items, ast.Call) else None
    if promised is not None:
        _put(loop, cast(ast.expr, _Released(promised).visit(items)))


class _Released(ast.NodeTransformer):
    """What an `each` goes through in its place."""

    def __init__(self, promised: ast.Call) -> None:
        self._promised = promised

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return node.args[0] if node is self._promised else self.generic_visit(node)


def _put(loop: AnyLoop, items: ast.expr) -> None:
    if isinstance(loop, ast.For):
        loop.iter = items
    elif not isinstance(loop, ast.While):
        loop.generators[0].iter = items


def ours(node: ast.AST) -> str | None:
    """The name of a function of ours that a call was put in for."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name.startswith(PREFIX) and name != EACH:
            return name.removeprefix(PREFIX)
        case _:
            return None


def plain(node: ast.expr) -> ast.expr:
    """An expression as the user wrote it."""
    return cast(ast.expr, _Plain().visit(copied(node)))


def behind_turn(node: ast.expr) -> tuple[ast.Call, ast.expr] | None:
    """The turn that an expression is evaluated behind, and the expression; None for one that waits for none."""
    match node:
        case ast.BoolOp(op=ast.Or(), values=[ast.Call() as turn, inner]) if ours(turn) in ("turn", "reads"):
            return turn, inner
        case _:
            return None


class _Plain(ast.NodeTransformer):
    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        found = behind_turn(node)
        return node if found is None else found[1]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match ours(node):
            case "turn_of" | "later":
                return node.args[-1]
            case "setting":
                return node.args[1]
            case "item_of":
                return ast.copy_location(ast.Subscript(node.args[0], node.args[1], ast.Load()), node)
            case "local":
                return cast(ast.Lambda, node.args[0]).body
            case "reading" | "call" | "call_free" | "own" | "touch" | "iterate" | "manage" | "Returned":
                return node.args[0]
            case _:
                return node
