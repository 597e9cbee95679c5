"""What is wrong with a file of Python, as far as its text and the configuration say: `apxm check FILE.py`.

Loops are judged as `explain` judges them, and calls by what would refuse them in a run.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, Literal, NamedTuple, cast

from apxm.effects.trees import walk
from apxm.errors import UsageError
from apxm.explaining.callees import Scope
from apxm.explaining.explainer import Explainer
from apxm.explaining.explanation import Given
from apxm.explaining.files import ReadFile, comments_promise, reading
from apxm.explaining.read_modules import Unread, tree_of
from apxm.explaining.shape import Place
from apxm.explaining.sources import Sources
from apxm.explaining.text import loop_diagnostic, span_of
from apxm.flows.calling import is_call, prepared
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow, marked, no_flow
from apxm.flows.twins import TWINS
from apxm.lanes.running import refuse_unknown
from apxm.operations.catalog import OPERATIONS
from apxm.source import Diagnostic, SourceFile

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_IN_DIALOGUES = ("tools", "max_rounds")
"""Options of `ask` that are none of the operation's in Python."""


class Configured(NamedTuple):
    """What finds names of the configuration; it raises `UsageError` for one that is none."""

    backend: Callable[[str], object]
    tool: Callable[[str], object]


@comments_promise()
def checked_file(path: str, text: str, configured: Configured) -> list[Diagnostic]:
    """What there is to say of a file, of which nothing runs, in the order of its lines. Raises `SourceError` where it
    is no Python, and `UsageError`."""
    with reading(path, TWINS):
        file = ReadFile(path, text, TWINS, marked)
        check = _Check(SourceFile(path, text), configured)
        check.loops(Explainer(file.callees, Sources(), Given()), file)
        check.decorators(tree_of(file.module), file.callees.scope(file.body))
        for function in (*(function for function, _ in file.functions), file.body):
            check.calls(function, file.callees.scope(function))
        return sorted(set(check.found), key=lambda found: (found.span.start, found.code))


class _Check:
    """What is found in one file."""

    def __init__(self, source: SourceFile, configured: Configured) -> None:
        self.found: list[Diagnostic] = []
        self._source = source
        self._configured = configured

    def _say(
        self, severity: Literal["error", "warning"], code: str, message: str, node: ast.AST, help: str | None = None
    ) -> None:
        spot = Sources().spot(Place(self._source.path, node))
        self.found.append(Diagnostic(severity, code, message, span_of(spot, {spot.file: self._source}), help))

    def _unless(self, refuse: Callable[[], object], code: str, node: ast.AST) -> bool:
        """Says what a run would refuse something with; True where it would not."""
        try:
            refuse()
        except UsageError as error:
            self._say("error", code, error.message, node, error.hint)
            return False
        return True

    # --- loops and flows

    def loops(self, explainer: Explainer, file: ReadFile) -> None:
        """Those over `each` that no lane can run, or whose calls wait for each other."""
        files = {self._source.path: self._source}
        for function in explainer.explanation(self._source.path, file.asking).functions:
            said = [loop_diagnostic(loop, files) for loop in function.loops if loop.promised or loop.is_error]
            self.found += [diagnostic for diagnostic in said if diagnostic.severity != "note"]

    def decorators(self, tree: ast.Module, scope: Scope) -> None:
        for node in walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if scope.found(called) is not flow:
                    continue
                if called is not decorator:
                    message = "`flow` is a decorator as it is, and takes no options"
                    self._say("error", "bad-flow", message, decorator, "write `@flow`, and say options by `.using(…)`")
                if isinstance(node, ast.ClassDef):
                    message, hint = f"a flow is a function, and {node.name} is a class", "put `@flow` above its methods"
                    self._say("error", "bad-flow", message, decorator, hint)
                elif isinstance(node, ast.AsyncFunctionDef):
                    error = no_flow(node.name)
                    self._say("error", "bad-flow", error.message, decorator, error.hint)

    # --- calls

    def calls(self, function: FunctionType, scope: Scope) -> None:
        found = scope.source()
        if found is None:
            return
        for node in walk(found[0]):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._unused(node.value, scope)
            if not isinstance(node, ast.Call):
                continue
            called = scope.found(node.func)
            if is_call(called):
                self._ask(node, cast(FunctionType, called), scope, function)
            elif called is each:
                self._fits(node, each)
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "using":
                self._using(node, scope)

    def _unused(self, call: ast.Call, scope: Scope) -> None:
        if is_call(scope.found(call.func)) and not any(given.arg in (None, "tools") for given in call.keywords):
            message = "this call is made in vain: nothing gets its answer"
            self._say("warning", "unused-result", message, call, "use the answer, or leave the call out")

    def _fits(self, call: ast.Call, function: Callable[..., Any]) -> bool:
        """Says where a function of ours does not take what it is given."""
        if any(isinstance(given, ast.Starred) for given in call.args) or any(
            given.arg is None for given in call.keywords
        ):
            return True
        try:
            inspect.signature(function).bind(*call.args, **{str(given.arg): given for given in call.keywords})
        except TypeError as unfit:
            self._say("error", "wrong-arguments", f"`{function.__name__}`: {unfit}", call)
            return False
        return True

    def _using(self, call: ast.Call, scope: Scope) -> None:
        """A flow that is told options."""
        assert isinstance(call.func, ast.Attribute)
        if not isinstance(scope.found(call.func.value), Flow):
            return
        for given in call.keywords:
            if (name := given.arg) is not None and self._unless(
                partial(refuse_unknown, {name: None}), "unknown-option", given
            ):
                self._backend(given)

    def _backend(self, given: ast.keyword) -> None:
        match given:
            case ast.keyword(arg="backend", value=ast.Constant(value=str(name))):
                self._unless(partial(self._configured.backend, name), "unknown-backend", given.value)
            case _:
                pass

    def _ask(self, call: ast.Call, function: FunctionType, scope: Scope, around: FunctionType) -> None:
        name = function.__name__
        if not self._fits(call, function):
            return
        for given in call.keywords:
            option = given.arg
            if option is None or (option in _IN_DIALOGUES and name == "ask"):
                self._tools(given)
            elif option == "schema" and name == "ask":
                self._schema(given.value, scope)
            elif self._unless(partial(_refuse_option, name, option, _literal(given.value)), "bad-option", given):
                self._backend(given)
        for argument in call.args:
            self._placeholders(argument, around)

    def _tools(self, given: ast.keyword) -> None:
        if given.arg != "tools" or not isinstance(given.value, ast.List | ast.Tuple):
            return
        for tool in given.value.elts:
            match tool:
                case ast.Constant(value=str(name)):
                    self._unless(partial(self._configured.tool, name), "unknown-tool", tool)
                case ast.Constant():
                    message = f"{ast.unparse(tool)} in tools= is no tool"
                    self._say("error", "unknown-tool", message, tool, "give functions, or names of configured tools")
                case _:
                    pass

    def _schema(self, given: ast.expr, scope: Scope) -> None:
        """Says where a schema is seen to be no class."""
        match given:
            case ast.Constant(value=None):
                return
            case ast.Constant() | ast.Dict() | ast.List() | ast.Tuple() | ast.JoinedStr() | ast.Lambda():
                what = "a value"
            case ast.Name() | ast.Attribute() if isinstance(scope.found(given), FunctionType):
                what = "a function"
            case ast.Call(func=func) if isinstance(made := scope.found(func), type) and not issubclass(made, Unread):
                what = f"an object of {made.__name__}"
            case _:
                return
        message = f"`schema` is a class, such as a dataclass, and this is {what}"
        hint = "give a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"
        self._say("error", "bad-schema", message, given, hint)

    def _placeholders(self, argument: ast.expr, around: FunctionType) -> None:
        """Says where a plain text has a name of the function in braces."""
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            return
        code = around.__code__
        for name in dict.fromkeys(_PLACEHOLDER.findall(argument.value)):
            if name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars) or name in around.__globals__:
                message = f"`{{{name}}}` stays as it is in a plain text, and `{name}` is a name here"
                self._say("warning", "placeholder", message, argument, "an `f` in front of the text puts the value in")


_UNKNOWN = object()


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN


def _refuse_option(operation: str, name: str, value: object) -> None:
    """Raises `UsageError` for a name that is none of an option, or a value that it does not take."""
    known = {option.name for option in OPERATIONS[operation].parameters if not (option.noted or option.by_position)}
    if value is not _UNKNOWN or name not in known:
        prepared(operation, "", (), {name: "" if value is _UNKNOWN else value})
