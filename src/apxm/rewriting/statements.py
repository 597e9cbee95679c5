"""Statements as lanes run them, the iterations of an `each` among them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, cast

from apxm.effects.patterns import adding, counting, is_call_statement, is_plain, root, without_items
from apxm.effects.roles import UNKNOWN, is_text_or_number
from apxm.effects.rules import Rule
from apxm.effects.scopes import bound_names, free_loads
from apxm.effects.specials import Implied
from apxm.effects.trees import walk
from apxm.rewriting.nodes import PREFIX, RefusedError, Statements, at, load, one_argument, shown_binding, store
from apxm.rewriting.straight import StraightLines


class PlainStatements(StraightLines):
    """Rewrites statements."""

    def _statements(self, statements: Sequence[ast.stmt]) -> Statements:
        found: Statements = []
        rest = list(statements)
        while rest:
            group = self._independent(rest)
            if len(group) > 1:
                found += self._together(group)
                rest = rest[len(group) :]
                continue
            made = self.visit(rest.pop(0))
            found += made if isinstance(made, list) else [made]
        return found

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self._statements(cast(Statements, value)))
            elif isinstance(value, list):
                parts = cast(list[Any], value)
                setattr(node, name, [self.visit(each) if isinstance(each, ast.AST) else each for each in parts])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:
        if (found := self._counted(node)) is not None:
            return at(ast.Expr(found), node)
        if len(node.targets) == 1 and (made := self._placed(node.targets[0], node.value)) is not None:
            return at(ast.Expr(made), node)
        node.value = self.visit(node.value)
        for name in sorted(bound_names(node.targets)):
            if self._rule(name) is Rule.TURN:
                node.value = self._ours("turn_of", self._levels(name), node.value)
            elif name in self._functions[-1].outer and (place := self._place(load(name))) is not None:
                node.value = self._ours("setting", ast.Constant(place), node.value)
        node.targets = [self._target(target) for target in node.targets]
        return [node, *self._bound_later(node, *sorted(bound_names(node.targets)))]

    def _counted(self, node: ast.Assign) -> ast.expr | None:
        """Counts in a dict, where a run has a rule for that, or it is done later."""
        found = counting(node)
        if found is None:
            return None
        where = self._where(found.counts)
        if where is None:
            return None
        change = load(f"{PREFIX}{type(found.op).__name__.lower()}")
        parts = [change, found.default, *map(self.visit, (found.value, found.counts, found.key))]
        return self._ours("count", where, *parts)

    def _where(self, container: ast.expr) -> ast.expr | None:
        """Where a run has a rule for a change of a container: its place; or how many loops around it belongs, where it
        is only added to. None for anything else."""
        name = root(container)
        if name is None or not is_plain(container):
            return None
        if (place := self._place(container)) is not None:
            return ast.Constant(place)
        later = isinstance(container, ast.Name) and self._is_outer(name) and self._rule(name) is Rule.LATER
        return self._levels(name) if later else None

    def _placed(self, target: ast.expr, value: ast.expr, op: ast.operator | None = None) -> ast.expr | None:
        """Sets, or changes by an operator, what a run has a rule for; None for anything else."""
        change = ast.Constant(None) if op is None else load(f"{PREFIX}i{type(op).__name__.lower()}")
        evaluated = self.visit if op is None else self._iterated
        match target:
            case ast.Attribute(value=inner, attr=attribute):
                name = self._name(attribute)
                place = ast.Constant(self._role_of.place_of(inner, name))
                parts = [place, change, evaluated(value), self.visit(inner), ast.Constant(name)]
                return self._ours("set_attribute", *parts)
            case ast.Subscript():
                container, keys = without_items(target)
                where = self._where(container)
                if where is None:
                    return None
                parts = [where, change, evaluated(value), *map(self.visit, (container, *keys))]
                return self._ours("set_item", *parts)
            case _:
                return None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return node
        assigned = at(ast.Assign([node.target], node.value), node)
        return self.visit(assigned)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        target = node.target
        name = root(target)
        rule = Rule.FREE if name is None else self._rule(name)
        before: Statements = []
        if isinstance(target, ast.Name) and self._may_be_unbound(target.id):
            before.append(at(ast.Expr(self._local(load(self._name(target.id)))), node))
        is_plain_value = is_text_or_number(node.value, self._role_of)
        if rule is Rule.LATER and isinstance(target, ast.Name):
            levels, value = self._levels(target.id), self._iterated(node.value)
            change = self._ours("later_change", levels, self._setter(target.id, node.op), value)
            return [*before, at(ast.Expr(change), node)]
        if isinstance(target, ast.Name):
            if target.id in self._functions[-1].outer and (place := self._place(target)) is not None:
                value = self._iterated(node.value)
                return at(
                    ast.Expr(self._ours("adding", ast.Constant(place), self._setter(target.id, node.op), value)), node
                )
        elif (made := self._placed(target, node.value, node.op)) is not None:
            return at(ast.Expr(made), node)
        if rule is Rule.TURN or (
            any(isinstance(part, ast.Call) for part in walk(node.value)) and not isinstance(target, ast.Name)
        ):
            held = self._fresh_name()
            before.append(at(ast.Assign([store(held)], self._iterated(node.value)), node))
            node.value = at(load(held), node)
        else:
            node.value = self._iterated(node.value)
        if isinstance(target, ast.Name):
            self._refuse_carried(target.id, node)
            if rule is Rule.TURN:
                before.append(self._turn(target.id, node))
            elif not self._is_outer(target.id):
                changed = self._ours("augment", load(self._name(target.id)), ast.Constant(is_plain_value))
                before.append(at(ast.Expr(changed), node))
            node.target = at(ast.Name(self._name(target.id), ast.Store()), target)
            return [*before, node, *self._bound_later(node, target.id)]
        node.target = cast("ast.Attribute | ast.Subscript", self._target(target))
        return [*before, node]

    def visit_Delete(self, node: ast.Delete) -> Any:
        for target in node.targets:
            if isinstance(target, ast.Name) and self._loops and target.id not in self._loops[-1].own:
                raise RefusedError(f"an iteration of an `each` deletes `{target.id}`, which is not its own", node)
        node.targets = [self._target(target) for target in node.targets]
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        call = node.value
        item = adding(node)
        if item is not None and (where := self._where(item.container)) is not None:
            default = load(f"{PREFIX}NameError") if item.default is None else self.visit(item.default)
            keys = ast.Tuple([*map(self.visit, item.keys)], ast.Load())
            parts = [where, self.visit(item.container), keys, default, ast.Constant(item.method)]
            arguments = [self._gone_through(cast(ast.Call, call), UNKNOWN, each) for each in item.arguments]
            return at(ast.Expr(self._ours("add_to_item", *parts, *arguments)), node)
        if isinstance(call, ast.Call) and is_call_statement(node):
            assert isinstance(call.func, ast.Attribute)
            name = cast(str, root(call.func.value))
            rule = self._rule(name) if self._is_outer(name) else None
            if is_plain(call.func.value) and (place := self._place(call.func.value)) is not None:
                made = self._ours(
                    "call_of", ast.Constant(place), self._called(call.func), *self._all_gone_through(call)
                )
                made.keywords = [self.visit(each) for each in call.keywords]
                return at(ast.Expr(made), node)
            if rule is Rule.LATER:
                method = self._called(call.func)
                arguments = self._all_gone_through(call)
                keywords = [self.visit(each) for each in call.keywords]
                made = self._ours("later_call", self._levels(name), method, *arguments)
                made.keywords = keywords
                return at(ast.Expr(made), node)
            if rule is Rule.FREE:
                call.args = self._all_gone_through(call)
                call.func = self._ours("call_free", self._called(call.func))
                call.keywords = [self.visit(each) for each in call.keywords]
                return at(node, node)
            if rule is Rule.TURN and is_plain(call.func.value):
                return self._hoisted(node, call)
        node.value = self.visit(call)
        return node

    def _all_gone_through(self, call: ast.Call) -> list[ast.expr]:
        return [self._gone_through(call, UNKNOWN, each) for each in call.args]

    def _hoisted(self, node: ast.Expr, call: ast.Call) -> Statements:
        """A call whose arguments are evaluated before it waits for its turn."""
        before: Statements = []
        for k, argument in enumerate(call.args):
            if not isinstance(argument, ast.Starred) and any(isinstance(part, ast.Call) for part in walk(argument)):
                held = self._fresh_name()
                before.append(at(ast.Assign([store(held)], self.visit(argument)), argument))
                call.args[k] = at(load(held), argument)
        node.value = self.visit(call)
        return [*before, node]

    def visit_Return(self, node: ast.Return) -> Any:
        value = ast.Constant(None) if node.value is None else self.visit(node.value)
        return self._returning(value, node)

    def _returning(self, value: ast.expr, node: ast.AST) -> ast.stmt:
        if self._loops:
            self._loops[-1].has_return = True
            value = self._ours("Returned", value)
        return at(ast.Return(value), node)

    def visit_Break(self, node: ast.Break) -> Any:
        if not self._loops or self._inner:
            return node
        self._loops[-1].has_break = True
        return at(ast.Return(self._ours("Broke")), node)

    def visit_Continue(self, node: ast.Continue) -> Any:
        return node if not self._loops or self._inner else at(ast.Return(ast.Constant(None)), node)

    def visit_While(self, node: ast.While) -> Any:
        node.test = self.visit(node.test)
        node.body = self._plain_loop(node.body)
        node.orelse = self._statements(node.orelse)
        return node

    def _plain_loop(self, body: Statements, first: Statements | None = None) -> Statements:
        self._inner += 1
        found = [*(first or ()), *self._statements(body)]
        self._inner -= 1
        return found

    def visit_For(self, node: ast.For) -> Any:
        if isinstance(node.iter, ast.Call) and (found := self._promised(node.iter)) is not None:
            node.iter = found
            return self._each(node)
        before = [
            self._turn(name, node) for name in sorted(bound_names([node.target])) if self._rule(name) is Rule.TURN
        ]
        node.iter = (
            self._ours("iterate", self.visit(node.iter))
            if isinstance(node.iter, ast.Name | ast.Attribute | ast.Subscript)
            else self.visit(node.iter)
        )
        stored = self._bound_later(node, *sorted(bound_names([node.target])))
        node.target = self._target(node.target)
        node.body = self._plain_loop(node.body, stored)
        node.orelse = self._statements(node.orelse)
        return [*before, at(node, node)]

    def visit_With(self, node: ast.With) -> Any:
        names: list[str] = []
        for item in node.items:
            item.context_expr = self._ours("manage", self.visit(item.context_expr))
            if item.optional_vars is not None:
                names += sorted(bound_names([item.optional_vars]))
                item.optional_vars = self._target(item.optional_vars)
        before = [self._turn(name, node) for name in names if self._rule(name) is Rule.TURN]
        node.body = [*self._bound_later(node, *names), *self._statements(node.body)]
        return [*before, at(node, node)]

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> Any:
        return [node, *self._bound_later(node, *sorted(bound_names([node])))]

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        if node.type is not None:
            node.type = self.visit(node.type)
        node.body = self._statements(node.body)
        return node

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> Any:
        # The function that an iteration becomes says so itself.
        return at(ast.Pass(), node) if self._loops else node

    visit_Nonlocal = visit_Global

    def visit_AsyncFor(self, node: ast.AsyncFor) -> Any:
        raise RefusedError("`async for` in a function that lanes run", node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        raise RefusedError("`async with` in a function that lanes run", node)

    def _gone_through_by(self, given: Sequence[ast.expr]) -> set[str]:
        """What an `each` over that reads: also on its way, where a generator does."""
        found = set[str]().union(*map(free_loads, given))
        around, bound = self._functions[-1].around, self._functions[-1].bound
        found |= {f":{name}" for name in found - bound}
        for name in [name for name in found if name in around.captured]:
            found |= around.captured[name].reads
        for call in (part for each in given for part in walk(each) if isinstance(part, ast.Call)):
            summary = self._role_of(call.func).summary
            if summary is not None and summary.gives is None:
                names = {touch.name for touch in summary.touches if touch.name.startswith((".", ":"))}
                found |= names | ({name[1:] for name in names if name.startswith(":")} - bound)
        for part in (part for each in given for part in walk(each)):
            if isinstance(part, ast.Attribute):
                found.add(self._role_of.place_of(part.value, part.attr))
        for name in (each.id for each in given if isinstance(each, ast.Name)):
            made = around.constructed.get(name) if name in bound else load(name)  # else of any class
            methods = () if made is None else self._role_of.special_methods(Implied(made, ("__iter__", "__next__")))
            for summary in filter(None, map(self._role_of.summary_of, methods)):
                found |= {touch.name for touch in summary.touches if touch.name[0] in ".:"}
        return found

    def _each(self, node: ast.For) -> Statements:
        assert isinstance(node.iter, ast.Call)
        given = (*node.iter.args, *(keyword.value for keyword in node.iter.keywords))
        going_through = self._gone_through_by(given)
        ahead = len(given) > 1
        items = self.visit_Call(node.iter)
        uses, loop = self._enter(node, node.body, node.target, ahead)
        inner, self._inner = self._inner, 0
        name = self._fresh_name("body_")
        target = at(ast.Assign([self._target(node.target)], load(f"{PREFIX}item")), node.target)
        names = sorted(bound_names([node.target]))
        turns = [self._turn(name, node.target) for name in names if self._rule(name) is Rule.TURN]
        body: Statements = [*self._declarations(uses, loop), *turns, target]
        body += self._bound_later(node.target, *names)
        body += self._statements(node.body)
        self._loops.pop()
        self._inner = inner
        # A body that changes what the loop goes through decides what the next iteration gets.
        changes = uses.changes_what(going_through) or uses.sees_others(going_through) or uses.links_items
        one_by_one = bool(uses.shared) or changes or uses.puts_streams
        in_sequence = bool(uses.exits) or one_by_one
        if one_by_one:
            items.args = items.args[:1]  # without its `lookahead`
            items.keywords = [keyword for keyword in items.keywords if keyword.arg == "items"]
        left = self._fresh_name()
        run = self._ours(
            "run_each", items, load(name), ast.Constant(in_sequence), ast.Constant(loop.draws_late), loop.told
        )
        function = ast.FunctionDef(name, one_argument(), body, [], None, None)
        bound = (uses.bound - loop.own) | loop.stored
        found: Statements = [shown_binding(each) for each in sorted(bound) if self._binds(each)]
        found += [*loop.setters.values(), function, ast.Assign([store(left)], run)]
        if loop.has_return:
            value = ast.Attribute(load(left), "value", ast.Load())
            returned = ast.Call(load("isinstance"), [load(left), load(f"{PREFIX}Returned")], [])
            returned.func = load(f"{PREFIX}isinstance")
            found.append(ast.If(returned, [self._returning(value, node)], []))
        found += self._passed_on(node, sorted(uses.bound))
        orelse = self._statements(node.orelse)
        if orelse and loop.has_break:
            found.append(ast.If(ast.Compare(load(left), [ast.Is()], [ast.Constant(None)]), orelse, []))
        else:
            found += orelse
        return [at(statement, node) for statement in found]
