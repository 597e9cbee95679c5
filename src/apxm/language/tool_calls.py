"""Calls of tools: by ``inv`` and a name, or by the name of a capability that the agent declares.

A name is one tool in the whole program: where any agent declares it, each call of it is checked against that.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

from apxm.language import syntax
from apxm.language.arguments import MatchedArguments
from apxm.language.checked import DeclaredCapability, ToolCall
from apxm.language.expressions import FlowExpressions
from apxm.language.report import UNKNOWN
from apxm.operations.catalog import TOOL_OPTIONS
from apxm.operations.definition import Callee, Operation, Parameter
from apxm.operations.types import JSON, Type, Value, conforms
from apxm.source import Span

_OPTIONS = frozenset(option.name for option in TOOL_OPTIONS)
_Arguments = Mapping[str, syntax.Expression] | syntax.Expression


class FlowToolCalls(FlowExpressions):
    """The expressions of one flow, calls of tools included."""

    @abstractmethod
    def _check(self, call: syntax.CallExpression, callee: Callee) -> tuple[MatchedArguments, list[Type]]:
        """The arguments by parameter, and the types of the variadic ones."""

    @abstractmethod
    def _check_argument(self, argument: syntax.Expression, parameter: Parameter, owner: str) -> None: ...

    def _capability(self, call: syntax.CallExpression, declared: DeclaredCapability) -> Type:
        """``search("x")``"""
        self._keep(call, declared.callee.name, *self._fitted(call, declared), declared)
        return declared.callee.result

    def _inv(self, call: syntax.CallExpression, inv: Operation) -> Type:
        """``inv("search", "x")``"""
        name, rest = _without_name(call)
        if name is None:
            message, advice = f"this call of `{inv.name}` lacks `tool`", f"the call is {inv.signature}"
            self._report.error("missing-argument", message, call.callee[-1].span, advice)
        else:
            self._check_argument(name, inv.by_name["tool"], inv.name)
        if not isinstance(name, syntax.Constant) or not isinstance(name.value, str):
            for argument in rest.expressions:
                self.value(argument)
            return UNKNOWN
        if self.is_blank(name):
            self._report.error("empty-name", "the name of a capability is empty", name.span)
        rest = rest.but(callee=(syntax.Identifier(span=name.span, text=name.value),))  # where messages point to
        entries = self._entries(rest.arguments)
        declared = self._findings.capabilities.get(name.value)
        if entries is not None:
            # In an object each name is one of the tool's own; beside it stand options alone.
            options, _ = self._check(rest.but(arguments=()), Callee(name=name.value, parameters=TOOL_OPTIONS))
            rest = rest.but(arguments=(), named=entries)
            arguments = self._named(rest) if declared is None else self._fitted(rest, declared, options=False)[0]
            self._keep(call, name.value, arguments, options.given, declared)
        elif declared is not None:
            self._keep(call, name.value, *self._fitted(rest, declared), declared)
        else:
            self._keep(call, name.value, *self._undeclared(rest), None)
        return JSON if declared is None else declared.callee.result

    def _fitted(
        self, call: syntax.CallExpression, declared: DeclaredCapability, *, options: bool = True
    ) -> tuple[_Arguments, Mapping[str, syntax.Expression]]:
        """The arguments in the order of the declaration, its defaults filled in, and the options, where it may have
        any: a parameter goes before an option of its name."""
        own = declared.callee
        more = tuple(option for option in TOOL_OPTIONS if options and option.name not in own.by_name)
        callee = Callee(name=own.name, parameters=own.parameters + more, declaration=own.declaration)
        given = self._check(call, callee)[0].given
        defaults = {parameter.name.text: parameter.default for parameter in declared.capability.parameters}
        arguments = {name: value for name in own.by_name if (value := given.get(name, defaults[name])) is not None}
        return arguments, {option.name: given[option.name] for option in more if option.name in given}

    def _undeclared(self, call: syntax.CallExpression) -> tuple[_Arguments, Mapping[str, syntax.Expression]]:
        name = call.written
        own = tuple(argument for argument in call.named if argument.name.text not in _OPTIONS)
        beside = tuple(argument for argument in call.named if argument.name.text in _OPTIONS)
        options, _ = self._check(call.but(arguments=(), named=beside), Callee(name=name, parameters=TOOL_OPTIONS))
        if not call.arguments:
            return self._named(call.but(named=own)), options.given
        types = [self.value(argument) for argument in (*call.arguments, *(argument.value for argument in own))]
        if len(types) > 1 or types[0] not in (JSON, UNKNOWN):
            message = f"no capability `{name}` is declared, so its arguments are given by name, or as one json object"
            advice = f"declare it, as in `capability {name}(q: str) -> json`" if name.isidentifier() else None
            self._report.error("wrong-type", message, call.arguments[0].span, advice)
        return call.arguments[0], options.given

    def _named(self, call: syntax.CallExpression) -> _Arguments:
        """The named arguments of a call, whatever they are."""
        self._check(call, Callee(name=call.written, open_arguments=True))
        return {argument.name.text: argument.value for argument in call.named}

    def _keep(
        self,
        call: syntax.CallExpression,
        tool: str,
        arguments: _Arguments,
        options: Mapping[str, syntax.Expression],
        declared: DeclaredCapability | None,
    ) -> None:
        readonly = declared is not None and declared.capability.readonly
        if "retries" in options and not readonly:
            message = f"`{tool}` is not declared `readonly`, so no call of it is made again"
            advice = "leave `retries:` out; a capability that changes nothing is declared `readonly`"
            self._report.error("unknown-argument", message, options["retries"].span, advice)
        self._findings.calls[call] = ToolCall(tool=tool, arguments=arguments, options=options, declared=declared)

    def _entries(self, arguments: Sequence[syntax.Expression]) -> tuple[syntax.NamedArgument, ...] | None:
        """The entries of an object that is given alone, as itself or as a literal text that is one; else None."""
        match arguments:
            case (syntax.DictDisplay() as display,):
                entries = zip(display.keys, display.values, strict=True)
                return tuple(_entry(key.span, str(key.value), value) for key, value in entries)
            case (syntax.Constant(value=str() as text, span=span),):
                found = _object(text)
                if found is None:
                    return None
                return tuple(_entry(span, key, self._written(value, span)) for key, value in found.items())
            case _:
                return None

    def _written(self, value: Value, span: Span) -> syntax.Expression:
        """A value as if it stood in the source."""
        match value:
            case list():
                items = tuple(self._written(item, span) for item in cast(list[Value], value))
                return syntax.ListDisplay(span=span, items=items)
            case dict():
                entries = cast(dict[str, Value], value)
                keys = tuple(syntax.Constant(span=span, value=key) for key in entries)
                values = tuple(self._written(item, span) for item in entries.values())
                return syntax.DictDisplay(span=span, keys=keys, values=values)
            case _:
                return syntax.Constant(span=span, value=value)


def _without_name(call: syntax.CallExpression) -> tuple[syntax.Expression | None, syntax.CallExpression]:
    """What names the tool, and the call without that."""
    if call.arguments:
        return call.arguments[0], call.but(arguments=call.arguments[1:])
    name = next((argument for argument in call.named if argument.name.text == "tool"), None)
    if name is None:
        return None, call
    return name.value, call.but(named=tuple(argument for argument in call.named if argument is not name))


def _entry(span: Span, name: str, value: syntax.Expression) -> syntax.NamedArgument:
    return syntax.NamedArgument(span=span, name=syntax.Identifier(span=span, text=name), value=value)


def _object(text: str) -> dict[str, Any] | None:
    """The object that a text is the JSON of; None where it is no such text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) and conforms(found, JSON) else None
