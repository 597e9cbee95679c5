"""Functions as lanes run them."""

from __future__ import annotations

import ast
from typing import Any

from apxm.effects.captures import around
from apxm.effects.closures import Around
from apxm.effects.rules import Rule
from apxm.effects.scopes import changeable_defaults, declared, free_loads, own_names, own_nodes, parameters
from apxm.rewriting.names import FunctionAround
from apxm.rewriting.nodes import RefusedError, at
from apxm.rewriting.statements import PlainStatements


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
        before = self._functions, self._loops, self._inner
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        node.args.kw_defaults = [each and self.visit(each) for each in node.args.kw_defaults]
        said = declared(node.body)
        every = [*node.args.posonlyargs, *node.args.args]
        outer_globals = {name for each in own_nodes(*node.body) if isinstance(each, ast.Global) for name in each.names}
        bound = own_names(node)
        function = FunctionAround(
            bound,
            said,
            outer_globals,
            parameters(node),
            every[0].arg if every else None,
            node.body,
            around(bound, parameters(node), node.body, self._role_of),
            frozenset(changeable_defaults(node.args)),
        )
        self._functions, self._loops, self._inner = [*self._functions, function], [], 0
        node.name = self._name(node.name)
        node.body = self._statements(node.body)
        docstring = 1 if ast.get_docstring(node, clean=False) is not None else 0
        node.body[docstring:docstring] = [at(setter, node.body[docstring]) for setter in function.setters.values()]
        self._functions, self._loops, self._inner = before
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        if self._loops:
            raise RefusedError("an `async` function is made in an iteration of an `each`", node)
        return node  # asyncio runs it, not lanes

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        late = [name for name in sorted(free_loads(node)) if self._rule(name) is Rule.TURN]
        around = self._loops, self._inner
        self._functions.append(FunctionAround(parameters(node), set(), set(), parameters(node), None, [], Around()))
        self._loops = []
        node.body = self.visit(node.body)
        self._functions.pop()
        self._loops, self._inner = around
        made: ast.expr = node
        for name in late:
            made = self._behind_turn(self._levels(name), made)
        return made
