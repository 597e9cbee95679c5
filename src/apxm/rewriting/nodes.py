"""The nodes that are put in when code is rewritten, and what is said of code that has no meaning in lanes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from apxm.effects.trees import walk
from apxm.effects.uses import Kind, Use

PREFIX = "_apxm_"
"""What the names begin with that are put in."""
TARGETS = f"{PREFIX}targets"
"""The name of what a call may mean of which only a run knows what it calls."""
Statements = list[ast.stmt]


class RefusedError(Exception):
    """A function cannot be run in lanes: what stands at `node` has no meaning there."""

    def __init__(self, message: str, node: ast.AST, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


def carried(name: str, node: ast.AST, uses: Iterable[Use]) -> RefusedError:
    changed = next((use for use in uses if use.name == name and use.kind is not Kind.LOAD), None)
    line = getattr(node, "lineno", 0)
    where = (
        f", which line {getattr(changed.node, 'lineno', 0)} {changed.kind.value}"
        if changed is not None and getattr(changed.node, "lineno", 0) != line
        else ""
    )
    return RefusedError(
        f"each iteration needs what the one before it left in `{name}`{where}",
        node,
        "write `for` without `each`, or collect what iterations find and use it behind the loop",
    )


def at(node: Any, origin: ast.AST) -> Any:
    """The node at the place of another one, as far as it has none."""
    for each in walk(node):
        if "lineno" in each._attributes and not hasattr(each, "lineno"):
            ast.copy_location(each, origin)
    return node


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def one_argument(name: str = "item") -> ast.arguments:
    return ast.arguments([], [ast.arg(PREFIX + name)], None, [], [], None, [])


def shown_binding(name: str) -> ast.stmt:
    """Shows the compiler that a scope has a name of its own."""
    return ast.If(ast.Constant(0), [ast.Assign([store(name)], ast.Constant(None))], [])
