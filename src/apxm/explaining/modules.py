"""The names of a module, made from its text: nothing of it runs, and of what it imports only that is loaded which is
known to be harmless.

Functions and classes become real ones, which nobody calls, so that whoever reads functions that are loaded reads these
all the same. Of everything else there is something that stands in for it.
"""

from __future__ import annotations

import ast
import builtins
import collections
import importlib
import linecache
import logging
import random
import re
import types
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from apxm.effects.libraries import HARMLESS, MADE_NEW
from apxm.effects.scopes import bound_names, own_nodes
from apxm.effects.trees import walk
from apxm.errors import SourceError
from apxm.explaining.read_modules import ReadModule, Unread, UnreadModule, code_of, codes_of, source_of_module, tree_of
from apxm.source import SourceFile

Decorated = Callable[[object, types.FunctionType, ast.expr], object | None]
"""What a decorator of this package makes of a function, as it is written; None for any other decorator."""


class Modules:
    """The modules of a program, each read once."""

    def __init__(self, decorated: Decorated) -> None:
        self._decorated = decorated
        self._read: dict[str, ReadModule] = {}

    def read(self, path: str, text: str, name: str = "__main__") -> ReadModule:
        """A module with that text. Raises `SourceError` where it is no Python."""
        module = ReadModule(name, SourceFile(path, text))
        self._read[path] = module  # while it is read: it may import itself
        lines = [f"{line}\n" for line in text.split("\n")]  # as Python counts them
        linecache.cache[path] = (len(text), None, lines, path)
        _Maker(self, module, Path(path).parent, self._decorated).make()
        return module

    def neighbour(self, folder: Path, name: str) -> types.ModuleType | None:
        """A module of the user's, from the folder of the one that imports it; None where there is none."""
        for file in (folder / f"{name.replace('.', '/')}.py", folder / name.replace(".", "/") / "__init__.py"):
            if (found := self._read.get(str(file))) is not None:
                return found
            if file.is_file():
                try:
                    return self.read(str(file), file.read_text(encoding="utf-8"), name)
                except (SourceError, OSError, UnicodeDecodeError):
                    return UnreadModule(name)
        return None


class _Maker:
    """Makes the names of one module."""

    def __init__(self, modules: Modules, module: ReadModule, folder: Path, decorated: Decorated) -> None:
        self._modules = modules
        self._module = module
        self._folder = folder
        self._decorated = decorated
        self._names = module.__dict__
        self._names |= {"__file__": source_of_module(module).path, "__builtins__": builtins}
        self._codes = {(code.co_name, code.co_firstlineno): code for code in codes_of(code_of(module))}

    def make(self) -> None:
        tree = tree_of(self._module)
        declared = {name for part in walk(tree) if isinstance(part, ast.Global) for name in part.names}
        for name in sorted(declared | bound_names(tree.body)):
            self._names.setdefault(name, self._unread(name))
        for part in own_nodes(*tree.body):
            self._bind(part)

    def _unread(self, name: str) -> Any:
        return _made_by(self._module.__name__, name)

    def _bind(self, part: ast.AST) -> None:
        match part:
            case ast.Import(names=names):
                for alias in names:
                    found = self._imported(alias.name)
                    top = alias.name.partition(".")[0]
                    self._names[alias.asname or top] = found if alias.asname else self._imported(top)
            case ast.ImportFrom():
                self._import_from(part)
            case ast.FunctionDef():
                self._names[part.name] = self._function(part, part.name)
            case ast.AsyncFunctionDef():
                self._names[part.name] = Unread(self._module.__name__, part.name)
            case ast.ClassDef():
                self._names[part.name] = self._class(part, part.name)
            case ast.Assign(targets=targets, value=value):
                self._assign([target.id for target in targets if isinstance(target, ast.Name)], value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._assign([name], value)
            case _:
                pass

    # --- imports

    def _imported(self, name: str) -> types.ModuleType:
        found = self._modules.neighbour(self._folder, name)
        if found is not None:
            return found
        top = name.partition(".")[0]
        if top == "apxm" or top in HARMLESS:
            try:
                return importlib.import_module(name)
            except ImportError:
                pass
        return UnreadModule(name)

    def _import_from(self, statement: ast.ImportFrom) -> None:
        if statement.level:
            folder = self._folder
            for _ in range(statement.level - 1):
                folder = folder.parent
            module = self._modules.neighbour(folder, statement.module or "__init__") or UnreadModule(
                statement.module or "."
            )
        else:
            module = self._imported(statement.module or "")
        for alias in statement.names:
            if alias.name == "*":
                self._names |= {name: value for name, value in vars(module).items() if not name.startswith("_")}
                continue
            found = getattr(module, alias.name, None)
            if isinstance(module, ReadModule) and alias.name not in vars(module):
                found = self._modules.neighbour(Path(source_of_module(module).path).parent, alias.name)
            self._names[alias.asname or alias.name] = Unread(module.__name__, alias.name) if found is None else found

    # --- definitions

    def _function(self, node: ast.FunctionDef, qualified: str) -> Any:
        code = self._code(node)
        if code is None:
            return Unread(self._module.__name__, node.name)
        cells = tuple(types.CellType() for _ in code.co_freevars)
        function = types.FunctionType(code, self._names, node.name, None, cells)
        function.__qualname__, function.__module__ = qualified, self._module.__name__
        found: Any = function
        for decorator in reversed(node.decorator_list):
            found = self._decorate(decorator, function, found)
        return found

    def _code(self, node: ast.FunctionDef) -> types.CodeType | None:
        wanted = (node.name, min((each.lineno for each in node.decorator_list), default=node.lineno))
        if wanted not in self._codes:  # it stands behind what ends the module, where Python leaves it out
            alone = compile(ast.Module([node], []), source_of_module(self._module).path, "exec", dont_inherit=True)
            self._codes |= {(code.co_name, code.co_firstlineno): code for code in codes_of(alone)}
        return self._codes.get(wanted)

    def _decorate(self, decorator: ast.expr, function: types.FunctionType, found: Any) -> Any:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        meant = self._value(called)
        if meant is contextmanager and found is function:
            return contextmanager(function)  # which only keeps it
        if meant in (staticmethod, classmethod):
            return staticmethod(found)
        if meant is property:
            return Unread(self._module.__name__, function.__name__, function)
        made = self._decorated(meant, function, decorator)
        return Unread(self._module.__name__, function.__name__, function) if made is None else made

    def _class(self, node: ast.ClassDef, qualified: str) -> Any:
        members: dict[str, Any] = {"__module__": self._module.__name__, "__qualname__": qualified}
        for part in node.body:
            match part:
                case ast.FunctionDef(name=name):
                    members[name] = self._function(part, f"{qualified}.{name}")
                case ast.ClassDef(name=name):
                    members[name] = self._class(part, f"{qualified}.{name}")
                case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                    members |= {name: self._member(name, value) for name in bound_names([part])}
                case ast.AsyncFunctionDef(name=name):
                    members[name] = self._unread(name)
                case _:
                    pass
        bases = [self._value(base) for base in node.bases]
        if self._keeps(node, bases):
            members.setdefault("__dataclass_fields__", {})
        if "__slots__" in members:
            del members["__slots__"]
        plain = [base for base in bases if isinstance(base, type) and type(base) is type]
        if len(plain) < len([base for base in bases if not _is_known_base(base)]):
            members.setdefault("__init__", Unread(self._module.__name__, "__init__"))  # one that nobody has read
        try:
            return type(node.name, tuple(plain), members)
        except TypeError:  # of bases that do not go together
            return Unread(self._module.__name__, node.name)

    def _keeps(self, node: ast.ClassDef, bases: Iterable[object]) -> bool:
        """Whether objects of a class keep what they are given, as a dataclass does."""
        decorators = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
        return any(_is_dataclass(self._value(each)) for each in decorators) or any(map(_is_known_base, bases))

    # --- values

    def _assign(self, names: Iterable[str], value: ast.expr) -> None:
        for name in names:
            self._names[name] = self._made(name, value)

    def _member(self, name: str, value: ast.expr) -> Any:
        """An attribute of a class: what all its objects share, and can change."""
        made = self._made(name, value)
        return made if isinstance(made, MADE_NEW) else self._unread(name)

    def _made(self, name: str, value: ast.expr) -> Any:
        match value:
            case ast.Constant(value=constant):
                return constant
            case ast.List(elts=items):
                return [self._made(name, item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._made(name, item) for item in items)
            case ast.Dict(values=items):
                return {number: self._made(name, item) for number, item in enumerate(items)}  # nobody asks for a key
            case ast.ListComp():
                return list[object]()
            case ast.DictComp():
                return dict[object, object]()
            case ast.Set() | ast.SetComp():
                return set[object]()
            case ast.Name() | ast.Attribute():
                return self._value(value)
            case ast.Call(func=func):
                return self._called(name, self._value(func))
            case _:
                return self._unread(name)

    def _called(self, name: str, made: object) -> Any:
        if callable(made) and (stand_in := _STAND_INS.get(f"{made.__module__}.{getattr(made, '__name__', '')}")):
            return stand_in()
        if isinstance(made, Unread):
            return _made_by(made.__module__, made.__name__)
        if isinstance(made, type) and made.__module__ == self._module.__name__:
            return cast(Any, made).__new__(made)
        return self._unread(name)

    def _value(self, expression: ast.expr) -> Any:
        match expression:
            case ast.Name(id=name):
                return self._names.get(name, getattr(builtins, name, None))
            case ast.Attribute(value=value, attr=attribute):
                owner = self._value(value)
                found = getattr(owner, attribute, None) if isinstance(owner, types.ModuleType | type) else None
                return Unread(self._module.__name__, attribute) if found is None else found
            case ast.Subscript(value=value):  # ``Generic[T]``
                return self._value(value)
            case _:
                return Unread(self._module.__name__, "")


def _made_by(module: str, name: str) -> Any:
    """An object of a class that is not loaded."""
    return type(name, (Unread,), {"__module__": module})(module, name)


_STAND_INS: dict[str, Callable[[], object]] = {
    "_contextvars.ContextVar": lambda: ContextVar[object](""),
    "collections.Counter": collections.Counter,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "collections.deque": collections.deque,
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.set": set,
    "logging.getLogger": lambda: logging.Logger(""),
    "random.Random": random.Random,
    "re.compile": lambda: re.compile(""),
}
"""Objects of the classes that some functions give, whose methods are known."""


def _is_dataclass(decorator: object) -> bool:
    return getattr(decorator, "__name__", "") in ("dataclass", "define", "frozen", "attrs")


def _is_known_base(base: object) -> bool:
    """Whether a class is derived from one whose objects keep what they are given."""
    return getattr(base, "__name__", "") in _KEEPING or base is object


_KEEPING = frozenset(
    {"NamedTuple", "TypedDict", "Struct", "BaseModel", "Enum", "IntEnum", "StrEnum", "Protocol", "ABC", "Generic"}
)
