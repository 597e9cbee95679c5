"""What a call may mean of which only a run knows what it calls: a function out of a list, a callback, a parameter.

It is any function of the user's that code hands on: names without calling it, makes where it stands, decorates, or may
find by a name that it computes.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from apxm.effects.captures import is_handed_on, rebound_in
from apxm.effects.methods import Classes
from apxm.effects.roles import Kind, Summary
from apxm.effects.scopes import bound_names, own_names, own_nodes, parameters
from apxm.effects.summaries import summary_of
from apxm.effects.trees import children, walk
from apxm.effects.users import is_users
from apxm.kept import cached_weakly
from apxm.rewriting.resolver import NoTargets, Resolver, ResolverParts
from apxm.rewriting.sources import tree_of

Names = dict[str, Any]
Key = tuple[str, int, str]
"""The file, first line and name of a function."""
_NO_FUNCTIONS = frozenset({"property", "cached_property", "getter", "setter", "deleter", "overload", "pure"})
"""Decorators that make of a function what nobody calls, or what does nothing that others could see."""
_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__"})
_KEPT = frozenset(
    {"staticmethod", "classmethod", "abstractmethod", "override", "contextmanager", "flow", "step", "tool"}
)
"""Decorators that hand a function on to nobody else."""


class Targets:
    """Those of the modules that code from one of them on may meet."""

    def __init__(self, module: Names, parts: ResolverParts) -> None:
        self._module = module
        self._parts = parts
        self._included: dict[tuple[int, str | None], tuple[types.CodeType, bool]] = {}
        """By the `id` of code, which to compare takes long, and the name of a method."""

    def __reduce__(self) -> tuple[type[NoTargets], tuple[()]]:
        return NoTargets, ()  # a function in a flow may be pickled by its value, and no lane runs it elsewhere

    def _texts(self) -> list[tuple[str, Names, _Text]]:
        # Kept by nobody: these other modules may be made anew, or be gone, before this one is.
        trees = ((file, names, tree) for names in _modules(self._module) for file, tree in _trees(names))
        return [(file, names, text) for file, names, tree in trees if (text := _text(tree)) is not None]

    def _found(self) -> list[tuple[str, Names, Definition]]:
        texts = self._texts()
        every = [text for _, _, text in texts]
        named = frozenset[str]().union(*(text.named for text in every))
        attributes = frozenset[str]().union(*(text.attributes for text in every))
        called = frozenset[str]().union(*(text.called for text in every))
        any_method, any_function = any(text.any_method for text in every), any(text.any_function for text in every)

        def may_be(definition: Definition) -> bool:
            if definition.is_handed_on or definition.name in attributes:
                return True
            if not definition.is_method:
                is_outer = not definition.enclosing
                return definition.name in named or (is_outer and (any_function or definition.name in called))
            makes = definition.name in _CONSTRUCTORS and definition.classes[-1] in named
            return makes or (any_method and not _is_special(definition.name))

        return [(file, names, each) for file, names, text in texts for each in text.definitions if may_be(each)]

    def do(self) -> Summary:
        """What any one of them may do, beside what it does to what it is given."""
        return self._summary

    @cached_property
    def _summaries(self) -> dict[Key, Summary]:
        found = ((file, each, self._of(names, each)) for file, names, each in self._found())
        return {(file, each.line, each.name): summary for file, each, summary in found if summary is not None}

    @cached_property
    def _summary(self) -> Summary:
        summaries = self._summaries.values()
        late = any(each.meets for each in summaries)  # it may come behind a call of another one
        touches = (
            touch._replace(through=None, late=touch.late or late, whole=False)
            for each in summaries
            for touch in each.touches
            if touch.name.startswith((".", ":"))
        )
        specials = (special._replace(through=None) for each in summaries for special in each.specials)
        return Summary(
            tuple(dict.fromkeys(touches)),
            draws=any(each.draws for each in summaries),
            waits=True,
            gives=None,
            specials=tuple(dict.fromkeys(specials)),
        )

    @cached_property
    def changes(self) -> frozenset[str]:
        """The places that any function changes, called by its name or not; not those of the object that it makes."""
        return frozenset(
            touch.name
            for _, names, text in self._texts()
            for definition in text.definitions
            for touch in (self._of(names, definition) or Summary()).touches
            if touch.kind is not Kind.LOAD and (definition.name not in _CONSTRUCTORS or touch.through is None)
        )

    @cached_property
    def _methods(self) -> frozenset[Key]:
        return frozenset(
            (file, definition.line, definition.name)
            for file, _, text in self._texts()
            for definition in text.definitions
            if definition.is_method
        )

    def are_known_to_include(self, code: types.CodeType | None, name: str | None) -> bool:
        """Whether `include` has said so: that is asked at each call."""
        known = self._included.get((id(code), name))
        return known is not None and known[1]

    def include(self, code: types.CodeType, name: str | None) -> bool:
        """Whether the function with that code is among them, or a method with the `name` by which it is called."""
        known = self._included.get((id(code), name))
        if known is None:
            key = (code.co_filename, code.co_firstlineno, code.co_name)
            is_named = code.co_name in (name, "__call__") and key in self._methods
            if len(self._included) >= _MOST_INCLUDED:  # functions that are made anew all the time
                self._included.clear()
            known = self._included[id(code), name] = code, is_named or key in self._summaries
        return known[1]

    def _of(self, names: Names, definition: Definition) -> Summary | None:
        """What one of them does; None where that nests deeper than it can be gone through."""
        try:
            return summary_of(definition.function, _Inside(definition, names, self._parts))
        except RecursionError:
            return None


class Definition(NamedTuple):
    """A function that stands somewhere in a module."""

    node: ast.FunctionDef | ast.Lambda
    classes: tuple[str, ...]
    """The names of the classes around it."""
    enclosing: frozenset[str]
    """The names of the functions around it."""
    is_method: bool
    is_handed_on: bool
    """Whether that is seen where it stands."""

    @property
    def name(self) -> str:
        return self.node.name if isinstance(self.node, ast.FunctionDef) else "<lambda>"

    @property
    def line(self) -> int:
        decorators: Sequence[ast.expr] = self.node.decorator_list if isinstance(self.node, ast.FunctionDef) else ()
        return min((each.lineno for each in decorators), default=self.node.lineno)

    @property
    def function(self) -> ast.FunctionDef:
        if isinstance(self.node, ast.FunctionDef):
            return self.node
        body = ast.copy_location(ast.Return(self.node.body), self.node.body)
        return ast.copy_location(ast.FunctionDef("lambda", self.node.args, [body], []), self.node)


class _Inside(Resolver):
    """What names mean in a function of which there is only the text."""

    def __init__(self, definition: Definition, names: Names, parts: ResolverParts) -> None:
        functions = (each for each in list(names.values()) if getattr(each, "__globals__", None) is names)
        super().__init__(next((each for each in functions if isinstance(each, types.FunctionType)), _nothing), parts)
        self._cells = {}
        self._globals = names
        self._local = own_names(definition.node) | definition.enclosing
        self._enclosing = definition.enclosing
        every = [*definition.node.args.posonlyargs, *definition.node.args.args]
        self._first = every[0].arg if every and definition.is_method else None
        self.around: object = None
        for name in definition.classes:
            self.around = names.get(name) if self.around is None else getattr(self.around, name, None)

    def is_state(self, name: str) -> bool:
        return name in self._enclosing or super().is_state(name)


def _nothing() -> None: ...


_MOST_INCLUDED = 4096


class _Text(NamedTuple):
    """What a module says of functions."""

    named: frozenset[str]
    """The names that it hands on."""
    attributes: frozenset[str]
    """The attributes that it hands on."""
    called: frozenset[str]
    """Those that it calls of what may be any module."""
    any_method: bool
    """Whether it may find a method by a name that it computes."""
    any_function: bool
    """Whether it may find a function of a module so."""
    definitions: Sequence[Definition]


@cached_weakly
def _text(tree: ast.Module) -> _Text | None:
    reader = _Reader()
    try:
        reader.read(tree, None, _Place())
    except RecursionError:
        return None
    return _Text(
        frozenset(reader.named | _replaced(tree)),
        frozenset(reader.attributes),
        frozenset(reader.called),
        reader.any_method,
        reader.any_function,
        reader.definitions,
    )


def _replaced(tree: ast.Module) -> set[str]:
    """The names of functions of a module that a function in it may give to other ones."""
    said = {name for part in walk(tree) if isinstance(part, ast.Global) for name in part.names}
    return said & {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}


class _Place(NamedTuple):
    classes: tuple[str, ...] = ()
    enclosing: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    """Names of functions around that stand for no function which is defined there."""
    in_class: bool = False
    rebound: frozenset[str] = frozenset()
    """Names of functions that are defined there which may stand for others, too."""


class _Reader:
    def __init__(self) -> None:
        self.named: set[str] = set()
        self.attributes: set[str] = set()
        self.called: set[str] = set()
        self.any_method = self.any_function = False
        self.imported: set[str] = set()
        self.definitions: list[Definition] = []

    def read(self, node: ast.AST, parent: ast.AST | None, place: _Place) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, place)
            case ast.Lambda():
                handed_on = is_handed_on(node, parent)
                self.definitions.append(Definition(node, place.classes, place.enclosing, False, handed_on))
                self._all(_defaults(node.args), node, place)
                given = parameters(node)
                enclosing, variables = place.enclosing | given, place.variables | given
                self.read(node.body, node, place._replace(enclosing=enclosing, variables=variables, in_class=False))
            case ast.ClassDef(name=name):
                self._all([*node.decorator_list, *node.bases], node, place)
                self._all(node.body, node, place._replace(classes=(*place.classes, name), in_class=True))
            case ast.Import(names=names):
                self.imported.update(alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(names=names):
                self.imported.update(alias.asname or alias.name for alias in names)
                self.named.update(alias.name for alias in names if alias.asname is not None)
            case ast.Call(func=ast.Name(id="getattr" | "methodcaller" | "attrgetter" as name), args=[*_, _]):
                self._by_name(node, name)
                self._all(children(node), node, place)
            case ast.Call(func=ast.Attribute(attr="methodcaller" | "attrgetter" as name)):
                self._by_name(node, name)
                self._all(children(node), node, place)
            case ast.Subscript(value=ast.Call(func=ast.Name(id="globals" | "vars"))):
                self.any_function = True
                self._all(children(node), node, place)
            case ast.AnnAssign(target=target, value=value):
                self._all([target, *([] if value is None else [value])], node, place)
            case ast.Name(id=name, ctx=ast.Load()):
                if name not in place.variables and is_handed_on(node, parent) and not _is_looked_into(parent):
                    self.named.add(name)
            case ast.Attribute(value=value, attr=attribute):
                if isinstance(parent, ast.Call) and parent.func is node:
                    self.called |= set() if isinstance(value, ast.Name) and value.id in self.imported else {attribute}
                elif isinstance(node.ctx, ast.Load) and is_handed_on(node, parent) and not _is_looked_into(parent):
                    self.attributes.add(attribute)
                self.read(value, node, place)
            case _:
                self._all(children(node), node, place)

    def _all(self, nodes: Iterator[ast.AST] | Sequence[ast.AST], parent: ast.AST, place: _Place) -> None:
        for each in nodes:
            self.read(each, parent, place)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, place: _Place) -> None:
        decorators = {_name_of(each) for each in node.decorator_list}
        if isinstance(node, ast.FunctionDef) and decorators.isdisjoint(_NO_FUNCTIONS):
            handed_on = not decorators <= _KEPT or node.name in place.rebound
            self.definitions.append(Definition(node, place.classes, place.enclosing, place.in_class, handed_on))
        self._all([*node.decorator_list, *_defaults(node.args)], node, place)
        own = own_names(node)
        named = {each.name for each in node.body if isinstance(each, _NAMED)}
        imports = [each for each in own_nodes(*node.body) if isinstance(each, ast.ImportFrom)]
        variables = (place.variables - own) | (own - named - bound_names(imports))
        rebound = rebound_in(parameters(node), node.body)
        self._all(node.body, node, _Place((), place.enclosing | own, variables, rebound=rebound))

    def _by_name(self, call: ast.Call, function: str) -> None:
        """Something is read of an object by a name that is a value."""
        owner, *names = call.args if function == "getattr" else [None, *call.args]
        for name in names[:1]:
            if isinstance(name, ast.Constant):
                self.attributes.add(str(name.value).rpartition(".")[2])
            else:
                self.any_method = True
                self.any_function |= not isinstance(owner, ast.Name) or owner.id in self.imported


def _modules(names: Names) -> list[Names]:
    return Classes((names,)).modules


def _trees(names: Names) -> Iterator[tuple[str, ast.Module]]:
    """The files in which the functions of a module stand: in a notebook each cell is one."""
    files: dict[str, types.FunctionType | None] = {each.__code__.co_filename: each for each in _functions_of(names)}
    file = names.get("__file__")
    if isinstance(file, str) and file.endswith(".py"):
        files.setdefault(file, None)
    for each, function in files.items():
        if is_users(each):
            yield each, tree_of(each, names, function)


def _functions_of(names: Names) -> Iterator[types.FunctionType]:
    for value in list(names.values()):
        functions = vars(value).values() if isinstance(value, type) else (value, getattr(value, "function", None))
        for each in functions:
            if isinstance(each, types.FunctionType) and each.__globals__ is names:
                yield each


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_looked_into(parent: ast.AST | None) -> bool:
    """Whether something else is read of what stands there."""
    return isinstance(parent, ast.Attribute | ast.Subscript)


def _defaults(arguments: ast.arguments) -> list[ast.AST]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)]


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _name_of(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
