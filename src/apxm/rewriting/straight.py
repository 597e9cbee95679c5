"""Calls of models in a straight line, of which none needs what another one gives: they begin together."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import cast

from apxm.effects.libraries import Known
from apxm.effects.rules import Rule
from apxm.effects.trees import walk
from apxm.rewriting.expressions import Expressions
from apxm.rewriting.nodes import PREFIX, Statements, at, load, store

_NOT_SIMPLE = (
    ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip


class StraightLines(Expressions):
    """Finds and rewrites them."""

    def _independent(self, statements: Sequence[ast.stmt]) -> list[ast.Assign]:
        """The statements at the beginning that each bind a name to the answer of a call, of which none needs what
        another one binds."""
        found: list[ast.Assign] = []
        bound: set[str] = set()
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call) if (
                    self._role_of(call.func).asks
                    and self._is_simple(call, bound)
                    and name not in bound
                    and self._rule(name) is Rule.FREE
                ):
                    found.append(statement)
                    bound.add(name)
                case _:
                    break
        return found

    def _is_simple(self, call: ast.Call, bound: set[str]) -> bool:
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        for part in (node for argument in arguments for node in walk(argument)):
            if isinstance(part, ast.Name) and (part.id in bound or self._rule(part.id) is not Rule.FREE):
                return False
            if isinstance(part, ast.Call) and self._role_of(part.func).known is not Known.NOTHING:
                return False
            if isinstance(part, _NOT_SIMPLE):
                return False
        return True

    def _together(self, group: Sequence[ast.Assign]) -> Statements:
        begun = self._fresh_name()
        found: Statements = [at(ast.Assign([store(begun)], self._ours("deque")), group[0])]
        for statement in group:
            call = cast(ast.Call, statement.value)
            call.args = [load(begun), call.func, *(self.visit(each) for each in call.args)]
            call.keywords = [self.visit(each) for each in call.keywords]
            call.func = load(f"{PREFIX}begin")
            found.append(at(ast.Expr(call), statement))
        for statement in group:
            found.append(at(ast.Assign(statement.targets, self._ours("end", load(begun))), statement))
            found += self._bound_later(statement, cast(ast.Name, statement.targets[0]).id)
        return found
