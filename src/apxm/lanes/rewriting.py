"""The body of a function as lanes run it: the user's own statements, with the waits for turns put in.

Everything keeps its line and column, so that tracebacks, debuggers and coverage see what the user wrote. What is put in
begins with `PREFIX`, which no name of the user's may.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from apxm.lanes.known import Known
from apxm.lanes.roles import Role, RoleOf, is_call_statement, is_plain, root
from apxm.lanes.scopes import bound_names, declared, free_loads, own_nodes, parameters
from apxm.lanes.summaries import Captured, captured_by, same_in
from apxm.lanes.uses import Around, Kind, Rule, Use, Uses, uses_in

PREFIX = "_apxm_"
Statements = list[ast.stmt]
_RANK = {Rule.FREE: 0, Rule.LATER: 1, Rule.TURN: 2, Rule.CARRIED: 3}
_NOT_SIMPLE = (
    ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip


class RefusedError(Exception):
    """A function cannot be run in lanes: what stands at `node` has no meaning there."""

    def __init__(self, message: str, node: ast.AST, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


@dataclass
class _Loop:
    """An `each` around what is rewritten."""

    own: set[str]
    """The names that each iteration has for itself."""
    stored: set[str]
    """Those of them that are seen when the loop is over: the last iteration's."""
    rules: dict[str, Rule]
    """Those of the names from around it."""
    draws_late: bool
    """Whether an iteration may draw random numbers behind a call: then those in front of it wait for their turn."""
    setters: dict[str, ast.stmt] = field(default_factory=dict[str, ast.stmt])
    """The functions that it needs, which set names around it, by their names."""
    has_return: bool = False
    has_break: bool = False


@dataclass
class _Function:
    """A function around what is rewritten; not the body of an `each`, which belongs to the function around it."""

    bound: set[str]
    """Its own names."""
    outer: set[str]
    """Those that it declares as `global` or `nonlocal`."""
    globals: set[str]
    first: str | None
    """Its first parameter."""
    body: Sequence[ast.stmt]
    around: Around


class Rewriter(ast.NodeTransformer):
    """Rewrites one function. Raises `RefusedError`."""

    def __init__(self, role_of: RoleOf, mangle: str | None) -> None:
        """`mangle` is the class around the function, by whose name its private names are known."""
        self._role_of = role_of
        self._mangled = f"_{mangle.lstrip('_')}" if mangle and mangle.lstrip("_") else None
        self._functions: list[_Function] = []
        self._loops: list[_Loop] = []
        """The loops around, of the innermost function."""
        self._inner = 0
        """How many plain loops stand around, within the innermost `each`."""
        self._fresh = 0

    # --- functions -------------------------------------------------------------------------------------------------

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
        function = _Function(
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
        around = self._loops, self._inner
        self._functions.append(_Function(parameters(node), set(), set(), None, [], Around()))
        self._loops = []
        node.body = self.visit(node.body)
        self._functions.pop()
        self._loops, self._inner = around
        return node

    # --- statements ------------------------------------------------------------------------------------------------

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
        if len(node.targets) == 1 and isinstance(target := node.targets[0], ast.Subscript):
            name = root(target.value)
            if name is not None and self._rule(name) is Rule.LATER:
                parts = [self._levels(name), self.visit(node.value), self.visit(target.value), self.visit(target.slice)]
                return _at(ast.Expr(self._ours("later_item", *parts)), node)
        node.value = self.visit(node.value)
        for name in sorted(bound_names(node.targets)):
            if self._rule(name) is Rule.TURN:
                node.value = self._ours("turn_of", self._levels(name), node.value)
        node.targets = [self._target(target) for target in node.targets]
        return [node, *self._bound_later(node, *sorted(bound_names(node.targets)))]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return node
        assigned = _at(ast.Assign([node.target], node.value), node)
        return self.visit(assigned)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        target = node.target
        name = root(target)
        rule = Rule.FREE if name is None else self._rule(name)
        before: Statements = []
        if rule is Rule.LATER and name is not None:
            levels, value = self._levels(name), self.visit(node.value)
            if isinstance(target, ast.Name):
                return _at(ast.Expr(self._ours("later", levels, self._setter(name, node.op), value)), node)
            assert isinstance(target, ast.Subscript)
            change = ast.Name(f"{PREFIX}i{type(node.op).__name__.lower()}", ast.Load())
            parts = [levels, change, value, self.visit(target.value), self.visit(target.slice)]
            return _at(ast.Expr(self._ours("later_change", *parts)), node)
        if rule is Rule.TURN or (
            any(isinstance(part, ast.Call) for part in ast.walk(node.value)) and not isinstance(target, ast.Name)
        ):
            held = self._name_for(node)
            before.append(_at(ast.Assign([_store(held)], self.visit(node.value)), node))
            node.value = _at(_load(held), node)
        else:
            node.value = self.visit(node.value)
        if isinstance(target, ast.Name):
            self._refuse_carried(target.id, node)
            if rule is Rule.TURN:
                before.append(self._turn(target.id, node))
            node.target = _at(ast.Name(self._name(target.id), ast.Store()), target)
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
        if isinstance(call, ast.Call) and is_call_statement(node):
            assert isinstance(call.func, ast.Attribute)
            name = cast(str, root(call.func.value))
            rule = self._rule(name) if self._is_outer(name) else None
            if rule is Rule.LATER:
                method = self.visit_Attribute(call.func)
                arguments = [self.visit(each) for each in call.args]
                keywords = [self.visit(each) for each in call.keywords]
                made = self._ours("later_call", self._levels(name), method, *arguments)
                made.keywords = keywords
                return _at(ast.Expr(made), node)
            if rule is Rule.FREE:
                call.func = self._ours("call_free", self.visit_Attribute(call.func))
                call.args = [self.visit(each) for each in call.args]
                call.keywords = [self.visit(each) for each in call.keywords]
                return _at(node, node)
            if rule is Rule.TURN and is_plain(call.func.value):
                return self._hoisted(node, call)
        node.value = self.visit(call)
        return node

    def _hoisted(self, node: ast.Expr, call: ast.Call) -> Statements:
        """A call whose arguments are evaluated before it waits for its turn."""
        before: Statements = []
        for k, argument in enumerate(call.args):
            if not isinstance(argument, ast.Starred) and any(isinstance(part, ast.Call) for part in ast.walk(argument)):
                held = self._name_for(argument)
                before.append(_at(ast.Assign([_store(held)], self.visit(argument)), argument))
                call.args[k] = _at(_load(held), argument)
        node.value = self.visit(call)
        return [*before, node]

    def visit_Return(self, node: ast.Return) -> Any:
        value = ast.Constant(None) if node.value is None else self.visit(node.value)
        return self._returning(value, node)

    def _returning(self, value: ast.expr, node: ast.AST) -> ast.stmt:
        if self._loops:
            self._loops[-1].has_return = True
            value = self._ours("Returned", value)
        return _at(ast.Return(value), node)

    def visit_Break(self, node: ast.Break) -> Any:
        if not self._loops or self._inner:
            return node
        self._loops[-1].has_break = True
        return _at(ast.Return(self._ours("Broke")), node)

    def visit_Continue(self, node: ast.Continue) -> Any:
        return node if not self._loops or self._inner else _at(ast.Return(ast.Constant(None)), node)

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
        return [*before, _at(node, node)]

    def visit_With(self, node: ast.With) -> Any:
        names: list[str] = []
        for item in node.items:
            item.context_expr = self._ours("manage", self.visit(item.context_expr))
            if item.optional_vars is not None:
                names += sorted(bound_names([item.optional_vars]))
                item.optional_vars = self._target(item.optional_vars)
        before = [self._turn(name, node) for name in names if self._rule(name) is Rule.TURN]
        node.body = [*self._bound_later(node, *names), *self._statements(node.body)]
        return [*before, _at(node, node)]

    def visit_Import(self, node: ast.Import) -> Any:
        return [node, *self._bound_later(node, *sorted(bound_names([node])))]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        return [node, *self._bound_later(node, *sorted(bound_names([node])))]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        if node.type is not None:
            node.type = self.visit(node.type)
        node.body = self._statements(node.body)
        return node

    def visit_Global(self, node: ast.Global) -> Any:
        return self._declaring(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> Any:
        return self._declaring(node)

    def _declaring(self, node: ast.Global | ast.Nonlocal) -> ast.stmt:
        # The function that an iteration becomes says so itself.
        return _at(ast.Pass(), node) if self._loops else node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> Any:
        raise RefusedError("`async for` in a function that lanes run", node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        raise RefusedError("`async with` in a function that lanes run", node)

    def visit_Yield(self, node: ast.Yield) -> Any:
        if self._loops:
            raise RefusedError(
                "an iteration of an `each` yields for the function around it", node, "collect the items in a list"
            )
        return self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> Any:
        if self._loops:
            raise RefusedError(
                "an iteration of an `each` yields for the function around it", node, "collect the items in a list"
            )
        return self.generic_visit(node)

    # --- expressions -----------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> Any:
        role = self._role_of(node.func)
        if self._loops and isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            first = self._functions[-1].first
            if first is not None:
                node.args = [_load("__class__"), _load(first)]
                return _at(node, node)
        shared = root(node.args[0]) if node.args else None
        if (
            role.known is Known.ITS_FIRST
            and shared is not None
            and self._is_outer(shared)
            and self._rule(shared) is Rule.FREE
        ):
            node.args = [self.visit(each) for each in node.args]
            node.keywords = [self.visit(each) for each in node.keywords]
            return node
        node.args = [self.visit(each) for each in node.args]
        node.keywords = [self.visit(each) for each in node.keywords]
        func = self.visit_Attribute(node.func) if isinstance(node.func, ast.Attribute) else self.visit(node.func)
        if isinstance(node.func, ast.Name) and node.func.id == "print":
            for keyword in node.keywords:
                if keyword.arg == "file":
                    keyword.value = _at(self._ours("touch", keyword.value), keyword.value)
        plain = role.each or role.asks or role.known is Known.NOTHING
        if not plain:
            node.func = _at(self._ours("call_at_turn" if self._needs_turn(role) else "call", func), node.func)
        return node

    def _needs_turn(self, role: Role) -> bool:
        """Whether a function that is called uses a name of its module that waits for its turn here."""
        summary = role.summary
        return summary is not None and any(self._rule(name) is Rule.TURN for name in summary.reads | summary.changes)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        node.value = self.visit(node.value)
        node.attr = self._name(node.attr)
        return node

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
        captured = self._functions[-1].around.captured.get(name, Captured()) if self._functions else Captured()
        if any(self._rule(each) is Rule.TURN for each in captured.reads | captured.changes | captured.binds):
            return _at(self._ours("turn_of", ast.Constant(None), node), node)
        return _at(self._ours("turn_of", self._levels(name), node), node) if rule is Rule.TURN else node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Any:
        name = node.target.id
        self._refuse_carried(name, node)
        node.value = self.visit(node.value)
        if self._rule(name) is Rule.TURN:
            node.value = self._ours("turn_of", self._levels(name), node.value)
        if self._loops and name in self._loops[-1].stored:
            return _at(self._ours("later", self._levels(name, stored=True), self._setter(name), node), node)
        return _at(node, node)

    def visit_List(self, node: ast.List) -> Any:
        return self._made(node) if isinstance(node.ctx, ast.Load) else self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> Any:
        return self._made(node)

    def visit_Dict(self, node: ast.Dict) -> Any:
        return self._made(node)

    def _made(self, node: ast.expr) -> ast.expr:
        self.generic_visit(node)
        return _at(self._ours("own", node), node)

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
        if promised is None:
            self.generic_visit(node)
            return node if made == "iter" else _at(self._ours("own", node), node)
        items = self.visit_Call(promised)
        first.iter = _at(ast.Tuple([_load(f"{PREFIX}item")], ast.Load()), first.iter)
        element = ast.Tuple([node.key, node.value], ast.Load()) if isinstance(node, ast.DictComp) else node.elt
        inner = _at(ast.ListComp(element, node.generators), node)
        _, loop = self._enter([ast.Expr(inner)], first.target)
        inner.elt = self.visit(inner.elt)
        for generator in inner.generators:
            generator.ifs = [self.visit(each) for each in generator.ifs]
            if generator is not first:
                generator.iter = self.visit(generator.iter)
        self._loops.pop()
        body = ast.Lambda(_one_argument(), inner)
        gathered = self._ours("gather", items, body, ast.Constant(loop.draws_late))
        if made is not None:
            gathered = self._ours(f"made_{made}", gathered)
        return _at(gathered, node)

    # --- each ------------------------------------------------------------------------------------------------------

    def _each(self, node: ast.For) -> Statements:
        assert isinstance(node.iter, ast.Call)
        going_through = free_loads(node.iter)
        items = self.visit_Call(node.iter)
        uses, loop = self._enter(node.body, node.target, node)
        inner, self._inner = self._inner, 0
        name = f"{PREFIX}body_{self._next()}"
        target = _at(ast.Assign([self._target(node.target)], _load(f"{PREFIX}item")), node.target)
        body: Statements = [*self._declarations(uses, loop), target]
        body += self._bound_later(node.target, *sorted(bound_names([node.target])))
        body += self._statements(node.body)
        self._loops.pop()
        self._inner = inner
        # A body that changes what the loop goes through decides what the next iteration gets.
        in_sequence = bool(uses.exits) or bool(going_through & uses.changed)
        left = self._name_for(node)
        run = self._ours("run_each", items, _load(name), ast.Constant(in_sequence), ast.Constant(loop.draws_late))
        function = ast.FunctionDef(name, _one_argument(), body, [], None, None)
        bound = (uses.bound - loop.own) | loop.stored
        found: Statements = [_binding(each) for each in sorted(bound) if self._binds(each)]
        found += [*loop.setters.values(), function, ast.Assign([_store(left)], run)]
        if loop.has_return:
            value = ast.Attribute(_load(left), "value", ast.Load())
            returned = ast.Call(_load("isinstance"), [_load(left), _load(f"{PREFIX}Returned")], [])
            returned.func = _load(f"{PREFIX}isinstance")
            found.append(ast.If(returned, [self._returning(value, node)], []))
        found += self._passed_on(node, sorted(uses.bound))
        orelse = self._statements(node.orelse)
        if orelse and loop.has_break:
            found.append(ast.If(ast.Compare(_load(left), [ast.Is()], [ast.Constant(None)]), orelse, []))
        else:
            found += orelse
        return [_at(statement, node) for statement in found]

    def _promised(self, items: ast.Call) -> ast.Call | None:
        """The `each` that a loop goes through; None where it is a plain loop. ``enumerate(each(rows))`` is
        ``each(enumerate(rows))``."""
        if self._role_of(items.func).each:
            return items
        match items:
            case ast.Call(func=ast.Name(id="enumerate" as name), args=[ast.Call() as inner, *others]) if (
                self._role_of(inner.func).each and inner.args
            ):
                numbered = ast.Call(_at(_load(name), items.func), [inner.args[0], *others], items.keywords)
                inner.args[0] = _at(numbered, items)
                return inner
            case _:
                return None

    def _enter(self, body: Sequence[ast.stmt], target: ast.expr, node: ast.AST | None = None) -> tuple[Uses, _Loop]:
        function = self._functions[-1]
        outliving = self._read_elsewhere(body, node) if node is not None else set[str]()
        uses, own, rules = uses_in(body, target, self._role_of, function.outer, function.around)
        for name, rule in rules.items():
            if rule is Rule.CARRIED:
                of_name = [use for use in uses.found if use.name == name]
                raise _carried(name, next((u for u in of_name if u.kind is Kind.LOAD), of_name[0]).node, of_name)
        draws_late = any(self._role_of(call.func).draws for call in uses.called_late)
        loop = _Loop(own, own & outliving, rules, draws_late)
        self._loops.append(loop)
        return uses, loop

    def _read_elsewhere(self, body: Sequence[ast.AST], node: ast.AST) -> set[str]:
        """The names that the function around reads outside of `body`, or in a function that it makes."""
        inside = {id(each) for part in (*body, cast(ast.For, node).target) for each in ast.walk(part)}
        scope = self._functions[-1].body
        return {
            each.id
            for statement in scope
            for each in ast.walk(statement)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and id(each) not in inside
        }

    def _declarations(self, uses: Uses, loop: _Loop) -> Statements:
        """What the function of an iteration says of names that it binds, and that are not its own."""
        function = self._functions[-1]
        shared = sorted(name for name in uses.bound - loop.own if self._rule(name) is not Rule.LATER)
        of_module = [name for name in shared if name in function.globals]
        others = [name for name in shared if name not in function.globals]
        return [
            *([ast.Global([self._name(name) for name in of_module])] if of_module else []),
            *([ast.Nonlocal([self._name(name) for name in others])] if others else []),
        ]

    def _binds(self, name: str) -> bool:
        """Whether the scope around the loop has to be shown to bind a name."""
        function = self._functions[-1]
        return name not in function.outer and (not self._loops or name in self._loops[-1].own)

    # --- names -----------------------------------------------------------------------------------------------------

    def _is_outer(self, name: str) -> bool:
        """Whether a name comes from around the innermost `each`."""
        return bool(self._loops) and name not in self._loops[-1].own

    def _rule(self, name: str) -> Rule:
        """What holds for a name here, of all loops that it comes from around of."""
        found = Rule.FREE
        for loop in reversed(self._loops):
            if name in loop.own:
                break
            found = max(found, loop.rules.get(name, Rule.FREE), key=_RANK.__getitem__)
        if not self._loops and self._functions and name in self._functions[-1].outer:
            return Rule.TURN if self._functions[-1].outer and name in self._changed_outer() else Rule.FREE
        return found

    def _changed_outer(self) -> set[str]:
        function = self._functions[-1]
        return bound_names(function.body) & function.outer

    def _levels(self, name: str, *, stored: bool = False) -> ast.expr:
        """How many loops around belongs what a name stands for; None where that is not of this function."""
        loops = self._loops[:-1] if stored else self._loops
        levels = 1 if stored else 0
        for loop in reversed(loops):
            if name in loop.own:
                return ast.Constant(levels)
            levels += 1
        return ast.Constant(levels if name in self._functions[-1].bound else None)

    def _refuse_carried(self, name: str, node: ast.AST) -> None:
        if self._rule(name) is Rule.CARRIED:
            raise _carried(name, node, [])

    def _bound_later(self, node: ast.AST, *names: str) -> Statements:
        """Behind what binds names of an iteration that are seen when the loop is over."""
        stored = [name for name in names if self._loops and name in self._loops[-1].stored]
        return [
            _at(
                ast.Expr(
                    self._ours("later", self._levels(name, stored=True), self._setter(name), _load(self._name(name)))
                ),
                node,
            )
            for name in stored
        ]

    def _passed_on(self, node: ast.AST, names: Sequence[str]) -> Statements:
        """Behind a loop in an iteration of another one, whose iterations may have set names of that."""
        found: Statements = []
        for stored in self._bound_later(node, *names):
            unbound = ast.ExceptHandler(_load(f"{PREFIX}NameError"), None, [ast.Pass()])
            found.append(ast.Try([stored], [unbound], [], []))
        return found

    def _setter(self, name: str, op: ast.operator | None = None) -> ast.expr:
        """A function around the loop which sets a name there, or changes it by an operator."""
        loop, function = self._loops[-1], self._functions[-1]
        depth = len(self._loops)  # the loops around may need one of their own
        called = f"{PREFIX}{'set' if op is None else type(op).__name__.lower()}_{name}_{depth}"
        if called not in loop.setters:
            said = ast.Global if name in function.globals else ast.Nonlocal
            value, target = _load(f"{PREFIX}value"), _store(self._name(name))
            change: ast.stmt = ast.Assign([target], value) if op is None else ast.AugAssign(target, op, value)
            body: Statements = [said([self._name(name)]), change]
            loop.setters[called] = ast.FunctionDef(called, _one_argument("value"), body, [], None, None)
        return _load(called)

    def _target(self, target: ast.expr) -> ast.expr:
        """What is assigned to, once it may be."""
        match target:
            case ast.Name(id=name):
                self._refuse_carried(name, target)
                return _at(ast.Name(self._name(name), target.ctx), target)
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
        return _at(self._ours("touch", self.visit(value)), value)

    def _turn(self, name: str, node: ast.AST) -> ast.stmt:
        return _at(ast.Expr(self._ours("turn", self._levels(name))), node)

    def _name(self, name: str) -> str:
        """A name as the class around makes it private."""
        if self._mangled and name.startswith("__") and not name.endswith("__") and "." not in name:
            return self._mangled + name
        return name

    def _ours(self, name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(_load(PREFIX + name), list(arguments), [])

    def _next(self) -> int:
        self._fresh += 1
        return self._fresh

    def _name_for(self, node: ast.AST) -> str:
        del node
        return f"{PREFIX}{self._next()}"

    # --- calls that do not need each other -------------------------------------------------------------------------

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
        for part in (node for argument in arguments for node in ast.walk(argument)):
            if isinstance(part, ast.Name) and (part.id in bound or self._rule(part.id) is not Rule.FREE):
                return False
            if isinstance(part, ast.Call) and self._role_of(part.func).known is not Known.NOTHING:
                return False
            if isinstance(part, _NOT_SIMPLE):
                return False
        return True

    def _together(self, group: Sequence[ast.Assign]) -> Statements:
        found: Statements = []
        held: list[str] = []
        for statement in group:
            call = cast(ast.Call, statement.value)
            held.append(self._name_for(statement))
            call.args = [call.func, *(self.visit(each) for each in call.args)]
            call.keywords = [self.visit(each) for each in call.keywords]
            call.func = _load(f"{PREFIX}begin")
            found.append(_at(ast.Assign([_store(held[-1])], call), statement))
        for k, statement in enumerate(group):
            end = self._ours("end", *map(_load, held[k:]))
            found.append(_at(ast.Assign(statement.targets, end), statement))
            found += self._bound_later(statement, cast(ast.Name, statement.targets[0]).id)
        return found


def _carried(name: str, node: ast.AST, uses: Iterable[Use]) -> RefusedError:
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


def _at(node: Any, origin: ast.AST) -> Any:
    """The node at the place of another one, as far as it has none."""
    for each in ast.walk(node):
        if "lineno" in each._attributes and not hasattr(each, "lineno"):
            ast.copy_location(each, origin)
    return node


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def _one_argument(name: str = "item") -> ast.arguments:
    return ast.arguments([], [ast.arg(PREFIX + name)], None, [], [], None, [])


def _binding(name: str) -> ast.stmt:
    """Shows the compiler that a scope has a name of its own."""
    return ast.If(ast.Constant(0), [ast.Assign([_store(name)], ast.Constant(None))], [])
