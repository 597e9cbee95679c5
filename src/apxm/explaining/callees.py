"""Who is called: which of the user's functions, and whether a model may be asked in there."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from apxm.effects.libraries import Known
from apxm.effects.methods import behind, function_in, unwrapped
from apxm.effects.roles import Role, Summary
from apxm.effects.scopes import mark, own_nodes
from apxm.effects.specials import Implied
from apxm.effects.trees import copied, walk
from apxm.effects.users import is_users, is_users_class
from apxm.explaining.model_calls import model_call
from apxm.explaining.read_modules import ReadModule, Unread, code_of, source_of_module, tree_of
from apxm.lanes.marks import PURE, Step
from apxm.rewriting.promises import HERE, promised
from apxm.rewriting.resolver import MISSING, Resolver
from apxm.rewriting.sources import source_of
from apxm.rewriting.twins import Twins


def is_ask(role: Role) -> bool:
    """Whether what has that role calls a model."""
    return role.asks or role.known is Known.ASKS


class Callees:
    """Finds them, for the functions of one program."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins
        self._scopes: dict[types.FunctionType, Scope] = {}
        self._asks: dict[types.FunctionType, bool] = {}
        self._asking: dict[types.FunctionType, Sequence[types.FunctionType]] = {}

    def scope(self, function: types.FunctionType) -> Scope:
        """What names mean in a function."""
        if function not in self._scopes:
            self._scopes[function] = Scope(function, self._twins.roles_of(function))
            self._scopes[function].scope_of = self.scope
        return self._scopes[function]

    def add_body(self, module: ReadModule) -> types.FunctionType:
        """The statements of a module, as a function that nobody calls."""
        function, source = types.FunctionType(code_of(module), module.__dict__), source_of_module(module)
        tree, lines = tree_of(module), HERE.promises.lines(source.path, source.text)
        tree = promised(copied(tree), lines) if lines else tree
        self._scopes[function] = MadeScope(function, self._twins.roles_of(function), _of_module(tree))
        return function

    def add_async(self, module: ReadModule, node: ast.AsyncFunctionDef, qualified: str) -> types.FunctionType:
        """A coroutine of a module."""
        alone = compile(ast.Module([node], []), source_of_module(module).path, "exec", dont_inherit=True)
        code = next(each for each in alone.co_consts if isinstance(each, types.CodeType) and each.co_name == node.name)
        function = types.FunctionType(code, module.__dict__, node.name, None, tuple(map(_empty, code.co_freevars)))
        function.__qualname__ = qualified
        self._scopes[function] = AsyncScope(function, self._twins.roles_of(function), _synchronous(node))
        named: object = module
        for part in qualified.split("."):
            named = vars(named).get(part) if named is not None else None
        if isinstance(named, Unread):
            named.function = function
        return function

    def may_ask(self, function: types.FunctionType) -> bool:
        """Whether a function, or one that it calls, calls a model."""
        if function not in self._asks:
            self._asks[function] = False  # while it is looked at: it may call itself
            found = self.scope(function).source()
            calls = [] if found is None else [part for part in walk(found[0]) if isinstance(part, ast.Call)]
            self._asks[function] = any(self._asks_at(call, self.scope(function)) for call in calls)
        return self._asks[function]

    def asking(self, function: types.FunctionType) -> Sequence[types.FunctionType]:
        """The functions that a function calls and that call a model, in the order in which they are found."""
        if function not in self._asking:
            scope = self.scope(function)
            found = scope.source()
            calls = [] if found is None else [part for part in walk(found[0]) if isinstance(part, ast.Call)]
            every = (called for call in calls for called in self.all_called(call.func, scope))
            self._asking[function] = list(dict.fromkeys(called for called in every if self.may_ask(called)))
        return self._asking[function]

    def _asks_at(self, call: ast.Call, scope: Scope) -> bool:
        if scope.asks(call.func):
            return True
        named = [call.func, *(part for part in call.args if isinstance(part, ast.Name | ast.Attribute))]
        return any(self.may_ask(called) for part in named if (called := self.called(part, scope)) is not None)

    def called(self, callee: ast.expr, scope: Scope) -> types.FunctionType | None:
        """The function of the user's that is called, as far as the text says which."""
        every = self.all_called(callee, scope)
        return next(filter(self.may_ask, every), every[0] if every else None)

    def all_called(self, callee: ast.expr, scope: Scope) -> list[types.FunctionType]:
        """All functions of the user's that may be called: of a method, those of derived classes, too."""
        function = scope.function_of(callee)
        methods = scope.methods(callee) if isinstance(callee, ast.Attribute) else []
        return list(dict.fromkeys([*([] if function is None else [function]), *methods]))


class Scope:
    """What names mean in one function, as far as its text and its module say."""

    def __init__(self, function: types.FunctionType, roles: Resolver) -> None:
        self.function = function
        self._roles = roles
        found = self.source()
        self.classes: Mapping[str, type] = {} if found is None else dict(self._classes(found[0]))
        """Names of the function, and the classes of the user's of which they stand for objects."""

    scope_of: Callable[[types.FunctionType], Scope] | None = None
    """That of other functions of the program; None where nobody asks for it."""

    def source(self) -> tuple[ast.FunctionDef, str | None] | None:
        """Its definition, which is read and not changed, and the class around it; None where there is none."""
        return source_of(self.function)

    def body(self) -> Sequence[ast.stmt]:
        """Its statements."""
        found = self.source()
        return () if found is None else found[0].body

    @property
    def names(self) -> Mapping[str, object]:
        """Those of the module."""
        return self.function.__globals__

    def __call__(self, callee: ast.expr) -> Role:
        return self.role_of(callee)

    def asks(self, callee: ast.expr) -> bool:
        """Whether what is called asks a model itself."""
        return self._roles.asks(callee) or (model_call(callee) is not None and is_ask(self.role_of(callee)))

    def is_state(self, name: str) -> bool:
        """Whether a name of the module stands for what can change."""
        return self._roles.is_state(name)

    def same_as(self, place: str) -> frozenset[str]:
        """The names of the module, and the attributes, that may hold what one of them holds."""
        return self._roles.same_as(place)

    def place_of(self, owner: ast.expr, attribute: str) -> str:
        return self._roles.place_of(owner, attribute)

    def is_shared(self, attribute: str) -> bool:
        return self._roles.is_shared(attribute)

    def special_methods(self, of: Implied) -> Sequence[types.FunctionType]:
        """The special methods of the user's that may be called there."""
        found = self._roles.special_methods(of)
        made = self.class_of(of.operand)
        if made is None:
            return found
        classes = [*made.__mro__, *made.__subclasses__()]
        methods = [behind(function_in(each)) for one in classes for each in vars(one).values()]
        return [each for each in found if each in methods]

    def summary_of(self, function: types.FunctionType) -> Summary | None:
        return self._roles.summary_of(function)

    def factories(self, container: ast.expr) -> Sequence[types.FunctionType] | None:
        """The functions of the user's that make the items of a `defaultdict`; None for what is not evidently one."""
        return self._roles.factories(container)

    @property
    def knows_defaults(self) -> bool:
        return self._roles.knows_defaults

    def targets(self) -> Summary | None:
        return self._roles.targets()

    def may_wait(self, function: types.FunctionType) -> bool:
        return self._roles.may_wait(function)

    def is_iterator(self, name: str) -> bool:
        """Whether a name from around the function stands for what can be gone through only once."""
        return self._roles.is_iterator(name)

    def role_of(self, callee: ast.expr) -> Role:
        role = self._roles(callee)
        if (role.is_unknown or role.looks_only) and model_call(callee) is not None:
            return Role(known=Known.ASKS, found=True, makes=True)
        return role

    def found(self, expression: ast.expr) -> object:
        """What a name or a path stands for; `MISSING` where only a run knows."""
        return self._roles.found(expression)

    def function_of(self, callee: ast.expr) -> types.FunctionType | None:
        """The function of the user's behind what is called, whatever a decorator made of it."""
        return function_behind(self._meant(callee))

    def is_run_as_written(self, callee: ast.expr) -> bool:
        """Whether lanes run the function that is called as it is written, and not what a decorator made of it."""
        found = self._meant(callee)
        return isinstance(found, _AS_WRITTEN) or "lanes" in vars(type(found)) or found is MISSING

    def has_turns(self, callee: ast.expr) -> bool:
        """Whether waits are put into the function that is called; not into one that the user calls pure."""
        return not getattr(self._meant(callee), PURE, False)

    def _meant(self, callee: ast.expr) -> object:
        found = self.found(callee)
        if found is MISSING and isinstance(callee, ast.Attribute):
            made = self.class_of(callee.value)
            found = found if made is None else inspect.getattr_static(made, callee.attr, None)
        return found

    def class_of(self, value: ast.expr) -> type | None:
        """The class of the user's that an expression gives an object of, as far as that is known."""
        match value:
            case ast.Name(id=name) if name in self.classes:
                return self.classes[name]
            case ast.Call(func=func):
                made = self.found(func)
                return made if isinstance(made, type) and is_users_class(made) else None
            case ast.Name():
                made = type(self.found(value))
                return made if made is not Unread and _is_users_own(made) else None
            case _:
                return None

    def class_of_first(self, name: str) -> type | None:
        """The class around a method whose first parameter has that name."""
        around, code = self._roles.around, self.function.__code__
        is_first = code.co_argcount > 0 and code.co_varnames[0] == name
        return around if is_first and isinstance(around, type) else None

    def methods(self, callee: ast.Attribute) -> list[types.FunctionType]:
        """The methods of the user's classes that may be meant."""
        found = map(function_behind, self._roles.methods(callee))
        return [each for each in found if each is not None]

    def _classes(self, node: ast.FunctionDef) -> Iterator[tuple[str, type]]:
        bound: dict[str, set[type | None]] = {}
        for part in own_nodes(*node.body):
            match part:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        if isinstance(target, ast.Name):
                            bound.setdefault(target.id, set()).add(self._constructed(value))
                case ast.Name(id=name, ctx=ast.Store()):
                    bound.setdefault(name, set())
                case ast.For(target=target):
                    for name in walk(target):
                        if isinstance(name, ast.Name):
                            bound.setdefault(name.id, set()).add(None)
                case _:
                    pass
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in every:
            if argument.annotation is not None and (made := self._class_named(argument.annotation)) is not None:
                bound.setdefault(argument.arg, set()).add(made)
        around = self._roles.around
        if every and isinstance(around, type) and not bound.get(every[0].arg):
            bound[every[0].arg] = {around}
        for name, classes in bound.items():
            if len(classes) == 1 and (made := next(iter(classes))) is not None:
                yield name, made

    def _constructed(self, value: ast.expr) -> type | None:
        return self._class_named(value.func) if isinstance(value, ast.Call) else None

    def _class_named(self, expression: ast.expr) -> type | None:
        made = self.found(expression) if isinstance(expression, ast.Name | ast.Attribute) else None
        return made if isinstance(made, type) and _is_users_own(made) else None


class MadeScope(Scope):
    """That of a function of which only the definition is made, and that nobody calls."""

    def __init__(self, function: types.FunctionType, roles: Resolver, definition: ast.FunctionDef) -> None:
        self._definition = mark(definition)
        super().__init__(function, roles)

    def source(self) -> tuple[ast.FunctionDef, str | None] | None:
        return self._definition, None


class AsyncScope(MadeScope):
    """That of a coroutine."""


def _of_module(tree: ast.Module) -> ast.FunctionDef:
    """The statements of a module as a function; its names are its own."""
    body = [copied(part) for statement in tree.body for part in _main(statement)]
    nothing = ast.arguments([], [], None, [], [], None, [])
    made = ast.FunctionDef("<module>", nothing, body or [ast.Pass()], [], lineno=1, col_offset=0)
    return ast.fix_missing_locations(made)


def _synchronous(coroutine: ast.AsyncFunctionDef) -> ast.FunctionDef:
    """A coroutine as if it waited for nothing."""
    node = cast(ast.AsyncFunctionDef, _Synchronous().visit(copied(coroutine)))
    made = ast.FunctionDef(node.name, node.args, node.body, node.decorator_list, node.returns)
    return ast.copy_location(made, node)


def _empty(_: str) -> types.CellType:
    return types.CellType()


class _Synchronous(ast.NodeTransformer):
    """Code without what an event loop waits for."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.For(node.target, node.iter, node.body, node.orelse), node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.With(node.items, node.body), node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.is_async = 0
        return node

    def visit_Yield(self, node: ast.Yield) -> ast.AST:
        self.generic_visit(node)
        return node.value or ast.copy_location(ast.Constant(None), node)


def _main(statement: ast.stmt) -> list[ast.stmt]:
    """What a script does by a statement of its own; definitions and imports are known by their names."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return []
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]), body=body):
            return body
        case _:
            return [statement]


def _is_users_own(made: type) -> bool:
    return made.__module__ != "builtins" and is_users_class(made) and not issubclass(made, Unread)


_AS_WRITTEN = (types.FunctionType, types.MethodType, staticmethod, classmethod, type, Step)
_BEHIND = ("function", "__func__", "__wrapped__")
"""Where a flow, a step, a static method or a decorated function has the one that it was made of."""


def function_behind(found: Any) -> types.FunctionType | None:
    """The function of the user's behind what a name stands for."""
    for _ in range(4):
        if isinstance(found, types.FunctionType):
            found = unwrapped(found)
            return found if is_users(found.__code__.co_filename) else None
        if isinstance(found, type):
            found = vars(found).get("__init__") if _is_users_own(found) else None
        else:
            found = next(filter(None, (getattr(found, name, None) for name in _BEHIND)), None)
    return None
