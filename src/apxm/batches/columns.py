"""Which column goes to which parameter, and how a row becomes the arguments of a flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apxm.batches.rows import Source
from apxm.errors import UsageError, hint_for
from apxm.operations.json_text import parse_json
from apxm.operations.types import STR, Type, Value, parse_type
from apxm.program.invocation import arguments_for, assign
from apxm.program.program import Flow, FlowParameter
from apxm.source import shortened

_WORDS = {"true": "true", "false": "false"}
"""Truth values as tables write them, in capital letters too."""


class Columns:
    """Rows as arguments of a flow. What is no parameter's column is left alone.

    A cell without a text, and a null of a table, are not given: then the parameter has its default.
    """

    def __init__(
        self, flow: Flow, records: Mapping[str, Type], shared: Mapping[str, Value], *, holds_text: bool, is_table: bool
    ) -> None:
        """`shared` are values that all inputs have, by parameter. `holds_text` and `is_table` are about the rows:
        whether their values are texts, and whether each has all columns, so that null is none."""
        self._flow = flow
        self._records = records
        self._shared = shared
        self._holds_text = holds_text
        self._is_table = is_table
        self._types = {p.name: parse_type(p.type, records) for p in flow.parameters}

    def arguments(self, values: Mapping[str, object]) -> list[Value]:
        """The arguments in order. Raises `UsageError`."""
        given = dict(self._shared)
        for name, type_ in self._types.items():
            if name in values and name not in given:
                value = values[name]
                if self._holds_text:
                    if value == "" and type_ != STR:
                        continue
                    value = from_text(name, type_, str(value))
                elif value is None and self._is_table and not (type_.is_optional or type_.name == "json"):
                    continue
                given[name] = value  # type: ignore[assignment]  # `arguments_for` makes it plain
        return arguments_for(self._flow, assign(self._flow, (), given), self._records)


def from_text(name: str, type_: Type, text: str) -> Value:
    """What the text of a cell stands for: the text itself, else JSON. Raises `UsageError`."""
    wanted = type_.present if type_.is_optional else type_
    if wanted == STR:
        return text
    written = text.strip()
    if wanted.name == "bool":
        written = _WORDS.get(written.lower(), written)
    try:
        return parse_json(written, once=True)
    except (ValueError, RecursionError):
        shown = shortened(repr(text), 60)
        raise UsageError(f"{name} must be of type {type_}, and {shown} is not one; all but str is JSON") from None


def refuse_columns(
    source: Source, parameters: Sequence[FlowParameter], shared: Mapping[str, Value], signature: str
) -> None:
    """Raises `UsageError` where a column of the header is missing, or is given besides."""
    if source.columns is None:
        return
    for name in shared:
        if name in source.columns:
            raise UsageError(f"{name} is given twice: as a column, and for all inputs", where=source.name)
    missing = [p.name for p in parameters if p.required and p.name not in shared and p.name not in source.columns]
    if missing:
        shown = ", ".join(source.columns)
        near = hint_for(missing[0], [c for c in source.columns if c not in {p.name for p in parameters}], "")
        raise UsageError(
            f"there is no column {', '.join(missing)}; the columns are {shortened(shown, 200)}",
            where=source.name,
            hint=f"{near}; the flow is {signature}" if near else f"the flow is {signature}",
        )


def unused_columns(source: Source, parameters: Sequence[FlowParameter]) -> list[str]:
    """The columns of the header that no parameter has."""
    names = {parameter.name for parameter in parameters}
    return [column for column in source.columns or () if column not in names]
