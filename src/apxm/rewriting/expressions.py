"""Expressions as lanes evaluate them: calls, names, and what makes something new."""

from __future__ import annotations

import ast
from typing import Any, cast

from apxm.effects.closures import Captured
from apxm.effects.libraries import Known
from apxm.effects.patterns import called_back, may_go_through, printed_to, root
from apxm.effects.roles import Role, makes
from apxm.effects.rules import Rule
from apxm.rewriting.names import Names
from apxm.rewriting.nodes import PREFIX, TARGETS, RefusedError, at, load, one_argument


class Expressions(Names):
    """Rewrites expressions, and what is assigned to."""

    def visit_Call(self, node: ast.Call) -> Any:
        role = self._role_of(node.func)
        if role.each or (_takes_all(node.func) and role.summary is None):
            self._taken_whole += node.args
        if self._loops and isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            first = self._functions[-1].first
            if first is not None:
                node.args = [load("__class__"), load(first)]
                return at(node, node)
        shared = root(node.args[0]) if node.args else None
        if (
            role.known is Known.ITS_FIRST
            and shared is not None
            and (self._is_free(shared) or self._is_made_iterator(node.args[0]))
        ):
            node.args = [self.visit(each) for each in node.args]
            node.keywords = [self.visit(each) for each in node.keywords]
            return node
        calls_back = role.summary is None and any(called_back(node))
        file = printed_to(node)
        # As above: what is only used in front of the first calls is used in their order.
        is_free = file is not None and isinstance(file.value, ast.Name) and self._is_free(file.value.id)
        node.args = [self._gone_through(node, role, each) for each in node.args]
        node.keywords = [self.visit(each) for each in node.keywords]
        func = self._called(node.func)
        if file is not None and not is_free:
            file.value = at(self._ours("touch", file.value), file.value)
        # A container that is made belongs to who made it: that is seen to where it is called.
        sees_names = isinstance(node.func, ast.Name) and node.func.id == "dir" and not node.args
        is_plain = role.known is Known.NOTHING and not (makes(role, node.func) or calls_back or sees_names)
        if not (is_plain or role.each or role.asks):
            told = self._told(node.func, role, calls_back)
            node.func = at(self._ours("call", func, *told), node.func)
        return node

    def _told(self, callee: ast.expr, role: Role, calls_back: bool) -> list[ast.expr]:
        """What `call` is told of what is called, beside that: whether it only looks by its name, and, where only a run
        knows what it is, what that may be, and the name of the methods that it is taken for."""
        is_made = isinstance(callee, ast.Name) and any(each.around.makes(callee.id) for each in self._functions)
        targets: list[ast.expr] = []
        if not is_made and (role.may_be_any or calls_back):
            targets = [load(TARGETS)]
        if role.guessed and isinstance(callee, ast.Attribute):
            targets.append(ast.Constant(callee.attr))
        return [ast.Constant(not role.may_wait), *targets] if targets or not role.may_wait else []

    def _gone_through(self, call: ast.Call, role: Role, given: ast.expr) -> ast.expr:
        """What a call is given, once it may be gone through: an iterator is shared by all who have it."""
        computes = role.known in (Known.NOTHING, Known.CALLS_BACK, Known.LOOKS_OUTSIDE)
        return self._iterated(given) if may_go_through(call, computes) else self.visit(given)

    def _iterated(self, items: ast.expr) -> ast.expr:
        is_path = isinstance(items, ast.Name | ast.Attribute | ast.Subscript)
        own = isinstance(items, ast.Name) and self._needs_no_turn(items.id)
        found = self.visit(items)
        return at(self._ours("iterate", found), items) if is_path and not own else found

    def _is_made_iterator(self, items: ast.expr) -> bool:
        """Whether it is an iterator that the iteration itself made."""
        return isinstance(items, ast.Name) and not self._is_outer(items.id) and self._needs_no_turn(items.id)

    def _needs_no_turn(self, name: str) -> bool:
        """Whether an iterator was made by who goes through it, or nobody does so behind a call."""
        if not self._functions:
            return False
        function, around = self._functions[-1], self._functions[-1].around
        if not self._loops:
            return name in around.made_iterators and name in function.bound and name not in function.given
        loop = self._loops[-1]
        if name in loop.own:
            return name in around.made_iterators
        seen = name in around.iterators or (name not in function.bound and self._role_of.is_iterator(name))
        return seen and self._rule(name) is Rule.FREE

    def visit_Compare(self, node: ast.Compare) -> Any:
        node.left = self.visit(node.left)
        node.comparators = [
            self._iterated(each) if isinstance(op, ast.In | ast.NotIn) else self.visit(each)
            for op, each in zip(node.ops, node.comparators, strict=True)
        ]
        return node

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        node.iter = self._iterated(node.iter)
        node.ifs = [self.visit(each) for each in node.ifs]
        return node

    def _called(self, func: ast.expr) -> ast.expr:
        """What finds a function that is called: that an object has a method of that name does not change."""
        if not isinstance(func, ast.Attribute):
            return self.visit(func)
        func.value = self.visit(func.value)
        func.attr = self._name(func.attr)
        return func

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        read, own = self._role_of(node).read, self._role_of.place_of(node.value, node.attr)
        node = cast(ast.Attribute, self._called(node))
        if isinstance(node.ctx, ast.Load):
            others = {touch.name for touch in read.touches if touch.name.startswith((".", ":"))} if read else ()
            places = [ast.Constant(place) for place in (own, *sorted(others))]
            node.value = at(self._ours("reading", node.value, *places), node.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        is_read = isinstance(node.ctx, ast.Load) and not isinstance(node.slice, ast.Slice | ast.Constant)
        keyed = is_read and self._role_of.knows_defaults
        return at(self._ours("item_of", node.value, node.slice), node) if keyed else node

    def visit_Name(self, node: ast.Name) -> Any:
        name = node.id
        if name.startswith(PREFIX):
            return node
        node.id = self._name(name)
        if not isinstance(node.ctx, ast.Load):
            return node
        rule = self._rule(name)
        if rule is Rule.CARRIED:
            self._refuse_carried(name, node)
        if (place := self._place_around(name)) is not None:
            return self._reading(place, node)
        if self._functions and name in (imported := self._functions[-1].around.imported):
            return self._reading(f":{imported[name]}", node)
        if self._is_of_module(name) and self._role_of.is_state(name):
            return self._reading(f":{name}", node)
        if self._functions and not self._loops and name in self._functions[-1].defaults:
            return self._reading(f":{name}=", node)
        captured = self._functions[-1].around.captured.get(name, Captured()) if self._functions else Captured()
        if any(self._rule(each) is Rule.TURN for each in captured.reads | captured.changes | captured.binds):
            return self._behind_turn(ast.Constant(None), node)
        found = self._local(node) if self._may_be_unbound(name) else node
        return self._behind_turn(self._levels(name), found) if rule is Rule.TURN else found

    def _local(self, node: ast.Name) -> ast.expr:
        """A local variable, of which an error says that it is one."""
        no_arguments = ast.arguments([], [], None, [], [], None, [])
        return at(self._ours("local", ast.Lambda(no_arguments, node), ast.Constant(node.id)), node)

    def _reading(self, place: str, node: ast.expr) -> ast.expr:
        """A name that is read when a run says that it may be."""
        return at(ast.BoolOp(ast.Or(), [self._ours("reads", ast.Constant(place)), node]), node)

    def _behind_turn(self, levels: ast.expr, node: ast.expr) -> ast.expr:
        """An expression that is evaluated once it is the turn, and not before."""
        return at(ast.BoolOp(ast.Or(), [self._ours("turn", levels), node]), node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Any:
        name = node.target.id
        self._refuse_carried(name, node)
        node.value = self.visit(node.value)
        if self._rule(name) is Rule.TURN:
            node.value = self._ours("turn_of", self._levels(name), node.value)
        if self._loops and name in self._loops[-1].stored:
            return at(self._ours("later", self._levels(name, stored=True), self._setter(name), node), node)
        return at(node, node)

    def visit_List(self, node: ast.List) -> Any:
        return self._made(node) if isinstance(node.ctx, ast.Load) else self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> Any:
        return self._made(node)

    def visit_Dict(self, node: ast.Dict) -> Any:
        return self._made(node)

    def _made(self, node: ast.expr) -> ast.expr:
        self.generic_visit(node)
        return at(self._ours("own", node), node)

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        return self._comprehension(node, None)

    def visit_SetComp(self, node: ast.SetComp) -> Any:
        return self._comprehension(node, "set")

    def visit_DictComp(self, node: ast.DictComp) -> Any:
        return self._comprehension(node, "dict")

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehension(node, "iter")

    def _comprehension(self, node: Any, made: str | None) -> Any:
        first: ast.comprehension = node.generators[0]
        promised = self._promised(first.iter) if isinstance(first.iter, ast.Call) else None
        if promised is not None and made == "iter" and node not in self._taken_whole:
            raise RefusedError(
                "a generator over `each` calls for all items, and what goes through it may stop early",
                node,
                "a list, `[…]`, calls for all items; a `for` over `each` may end by `break`, and a generator without "
                "`each` calls as it is gone through",
            )
        if promised is None:
            if made != "iter" or node in self._taken_whole:
                self._taken_whole.append(first.iter)
            self.generic_visit(node)
            return node if made == "iter" else at(self._ours("own", node), node)
        items = self.visit_Call(promised)
        first.iter = at(ast.Tuple([load(f"{PREFIX}item")], ast.Load()), first.iter)
        element = ast.Tuple([node.key, node.value], ast.Load()) if isinstance(node, ast.DictComp) else node.elt
        inner = at(ast.ListComp(element, node.generators), node)
        _, loop = self._enter(inner, [ast.Expr(inner)], first.target)
        inner.elt = self.visit(inner.elt)
        for generator in inner.generators:
            generator.ifs = [self.visit(each) for each in generator.ifs]
            if generator is not first:
                generator.iter = self.visit(generator.iter)
        self._loops.pop()
        body = ast.Lambda(one_argument(), inner)
        gathered = self._ours("gather", items, body, ast.Constant(loop.draws_late), loop.told)
        if made is not None:
            gathered = self._ours(f"made_{made}", gathered)
        return at(gathered, node)

    def visit_Starred(self, node: ast.Starred) -> Any:
        self._taken_whole.append(node.value)
        node.value = self._iterated(node.value) if isinstance(node.ctx, ast.Load) else self.visit(node.value)
        return node

    def visit_Yield(self, node: ast.Yield | ast.YieldFrom) -> Any:
        if self._loops:
            raise RefusedError(
                "an iteration of an `each` yields for the function around it", node, "collect the items in a list"
            )
        return self.generic_visit(node)

    visit_YieldFrom = visit_Yield

    def _target(self, target: ast.expr) -> ast.expr:
        """What is assigned to, once it may be."""
        match target:
            case ast.Name(id=name):
                self._refuse_carried(name, target)
                return at(ast.Name(self._name(name), target.ctx), target)
            case ast.Attribute(value=value):
                target.attr = self._name(target.attr)
                target.value = self._changed(value)
            case ast.Subscript(value=value):
                target.value = self._changed(value)
                target.slice = self.visit(target.slice)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                target.elts = [self._target(part) for part in parts]
            case ast.Starred(value=value):
                target.value = self._target(value)
            case _:
                pass
        return target

    def _changed(self, value: ast.expr) -> ast.expr:
        name = root(value)
        if name is not None and self._is_outer(name):
            return self.visit(value)  # its name says when
        return at(self._ours("touch", self.visit(value)), value)


_TAKE_ALL = frozenset(
    (
        "Counter", "OrderedDict", "deque", "dict", "extend", "frozenset", "fsum", "join", "list", "max", "mean",
        "median", "min", "set", "sorted", "sum", "tuple", "update", "writelines",
    )
)  # fmt: skip


def _takes_all(func: ast.expr) -> bool:
    """Whether what is called goes through all that it is given, by its name."""
    return (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")) in _TAKE_ALL
