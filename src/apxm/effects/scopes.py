"""Which names a piece of a function binds and reads, in the order in which it does."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeVar

from apxm.effects.trees import children, walk

Tree = TypeVar("Tree", bound=ast.AST)
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def own_nodes(*roots: ast.AST) -> Iterator[ast.AST]:
    """All nodes that belong to the same scope as `roots`: of functions, lambdas and classes inside only what is
    evaluated outside of them; of comprehensions everything."""
    left = list(reversed(roots))
    while left:
        node = left.pop()
        yield node
        inner = list(_outside(node)) if isinstance(node, _SCOPES) else children(node)
        left += reversed(inner)


def _outside(scope: ast.AST) -> Iterator[ast.AST]:
    """What of a definition is evaluated where it stands."""
    if isinstance(scope, ast.ClassDef):
        yield from (*scope.decorator_list, *scope.bases, *(keyword.value for keyword in scope.keywords))
        return
    assert isinstance(scope, Scope)
    if not isinstance(scope, ast.Lambda):
        yield from scope.decorator_list
    yield from (*scope.args.defaults, *(default for default in scope.args.kw_defaults if default is not None))


def bound_names(statements: Iterable[ast.AST]) -> set[str]:
    """The names that statements bind or delete in their own scope."""
    found: set[str] = set()
    for node in _in_scope(statements):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name.partition(".")[0] for alias in names}
            case _:
                pass
    return found


def mark(tree: Tree) -> Tree:
    """The tree, in which the targets of comprehensions are marked: they are names of theirs."""
    for node in walk(tree):
        if isinstance(node, _COMPREHENSIONS):
            _mark(node)
    return tree


def _mark(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
    for generator in node.generators:
        for target in walk(generator.target):
            target.of_comprehension = True  # type: ignore[attr-defined]


def _in_scope(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """As `own_nodes`, without the targets of comprehensions, which are names of theirs."""
    for node in own_nodes(*statements):
        if isinstance(node, ast.Name) and getattr(node, "of_comprehension", False):
            continue
        if isinstance(node, _COMPREHENSIONS):
            _mark(node)
        yield node


def declared(statements: Iterable[ast.AST]) -> set[str]:
    """The names that statements declare as `global` or `nonlocal` in their own scope."""
    return {
        name for node in own_nodes(*statements) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names
    }


def parameters(scope: Scope) -> set[str]:
    arguments = scope.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in every if argument is not None}


def changeable_defaults(arguments: ast.arguments) -> dict[str, ast.expr]:
    """The parameters for which something else than a constant is there where nothing is given, with that."""
    last = [*arguments.posonlyargs, *arguments.args]
    defaults = [*zip(reversed(last), reversed(arguments.defaults), strict=False)]
    defaults += [(name, of) for name, of in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if of]
    return {argument.arg: default for argument, default in defaults if not isinstance(default, ast.Constant)}


def own_names(node: ast.AST) -> set[str]:
    """The names that a function or a lambda has for itself."""
    match node:
        case ast.Lambda():
            return parameters(node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return (parameters(node) | bound_names(node.body)) - declared(node.body)
        case _:
            return set()


def free_loads(node: ast.AST) -> set[str]:
    """The names that an expression or a definition reads from around it."""
    if isinstance(node, ast.Lambda):
        return (_loads(node.body) - parameters(node)) | _outer_loads(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return (_all_loads(node.body) - own_names(node)) | _outer_loads(node)
    if isinstance(node, ast.ClassDef):
        return _all_loads(node.body) | _outer_loads(node)
    return _loads(node)


def _outer_loads(scope: ast.AST) -> set[str]:
    return _all_loads(_outside(scope))


def _all_loads(nodes: Iterable[ast.AST]) -> set[str]:
    return {name for node in nodes for name in _loads(node)}


def _loads(node: ast.AST) -> set[str]:
    if isinstance(node, _SCOPES):
        return free_loads(node)
    if isinstance(node, _COMPREHENSIONS):
        targets = {
            name.id for generator in node.generators for name in walk(generator.target) if isinstance(name, ast.Name)
        }
        inner = _all_loads(children(node))
        return (inner - targets) | _loads(node.generators[0].iter)
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    found = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set[str]()
    return found.union(*map(_loads, children(node)))
