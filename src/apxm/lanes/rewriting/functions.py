"""Functions as lanes run them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from apxm.lanes.rewriting.names import FunctionAround
from apxm.lanes.rewriting.nodes import RefusedError
from apxm.lanes.rewriting.statements import PlainStatements
from apxm.lanes.scopes import bound_names, declared, free_loads, own_nodes, parameters
from apxm.lanes.summaries import Captured, captured_by, same_in
from apxm.lanes.uses import Around, Rule


class Rewriter(PlainStatements):
    """Rewrites one function. Raises `RefusedError`."""

    def function(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """The function, without its decorators."""
        found = self._definition(node)
        found.decorator_list = []
        return found

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        decorators = node.decorator_list
        found = self._definition(node)
        found.decorator_list = decorators
        return [found, *self._bound_later(node, node.name)]

    def _definition(self, node: ast.FunctionDef) -> ast.FunctionDef:
        around = self._functions, self._loops, self._inner
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        node.args.kw_defaults = [each and self.visit(each) for each in node.args.kw_defaults]
        said = declared(node.body)
        every = [*node.args.posonlyargs, *node.args.args]
        outer_globals = {name for each in own_nodes(*node.body) if isinstance(each, ast.Global) for name in each.names}
        function = FunctionAround(
            (parameters(node) | bound_names(node.body)) - said,
            said,
            outer_globals,
            every[0].arg if every else None,
            node.body,
            Around(self._captured(node.body), same_in(node.body)),
        )
        self._functions, self._loops, self._inner = [*self._functions, function], [], 0
        node.name = self._name(node.name)
        node.body = self._statements(node.body)
        self._functions, self._loops, self._inner = around
        return node

    def _captured(self, body: Sequence[ast.stmt]) -> dict[str, Captured]:
        """What the functions do to its names that a function makes."""
        found: dict[str, Captured] = {}
        for part in own_nodes(*body):
            match part:
                case ast.FunctionDef(name=name):
                    self._capture(found, {name}, part)
                case ast.Assign(targets=targets, value=ast.Lambda() as value):
                    self._capture(found, bound_names(targets), value)
                case _:
                    pass
        return found

    def _capture(self, found: dict[str, Captured], names: set[str], node: ast.FunctionDef | ast.Lambda) -> None:
        captured = captured_by(node, self._role_of)
        for name in names:
            found[name] = Captured(*(a | b for a, b in zip(captured, found.get(name, Captured()), strict=True)))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        if self._loops:
            raise RefusedError("an `async` function is made in an iteration of an `each`", node)
        return node  # asyncio runs it, not lanes

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        late = [name for name in sorted(free_loads(node)) if self._rule(name) is Rule.TURN]
        around = self._loops, self._inner
        self._functions.append(FunctionAround(parameters(node), set(), set(), None, [], Around()))
        self._loops = []
        node.body = self.visit(node.body)
        self._functions.pop()
        self._loops, self._inner = around
        made: ast.expr = node
        for name in late:
            made = self._behind_turn(self._levels(name), made)
        return made
