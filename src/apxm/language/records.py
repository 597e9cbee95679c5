"""The types of a program: what its records declare, and what a written type means."""

from __future__ import annotations

import json

from apxm.language.cycles import around, cycles
from apxm.language.elsewhere import TYPES
from apxm.language.literals import constant_value, is_literal
from apxm.language.names import Names
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import Record, SyntaxTree, TypeName
from apxm.operations.types import BUILT_IN, SCALARS, TYPE_NAMES, RecordField, Type, excess, list_of, optional, record_of
from apxm.source import Span

Records = dict[str, Type]
"""The records of a program by name, each behind those in it; `UNKNOWN` in place of one that is none."""


def declare_records(tree: SyntaxTree, report: Report) -> Records:
    """The records and the types of their fields; of two records with the same name, the first."""
    names = Names(report)
    declared: dict[str, Record] = {}
    for record in tree.records:
        if record.name.text in TYPE_NAMES:
            message = f"`{record.name.text}` is a type of the language, so it cannot name a record"
            report.error("duplicate-name", message, record.name.span)
        elif names.add(record.name, "record"):
            declared[record.name.text] = record
    inside = {
        name: [inner for field in record.fields if (inner := _innermost(field.type)) in declared]
        for name, record in declared.items()
    }
    circular = _in_circles(declared, {name: [*inner] for name, inner in inside.items()}, report)
    records: Records = dict.fromkeys(declared, UNKNOWN)
    order = _inner_first(inside)
    for name in order:
        found = _declare(declared[name], records, report)
        if name not in circular:
            records[name] = found
    for record in tree.records:
        if declared.get(record.name.text) is not record:
            _declare(record, records, report)
    return {name: records[name] for name in order}


def _innermost(name: TypeName) -> str:
    while name.element is not None:
        name = name.element
    return name.name


def _inner_first(inside: dict[str, list[str]]) -> list[str]:
    """The names, each behind those in it as far as that can be. Records may nest as deep as a source is long."""
    found: dict[str, None] = {}
    waiting = [*reversed(inside)]
    begun: set[str] = set()
    while waiting:
        name = waiting.pop()
        missing = [inner for inner in inside[name] if inner not in begun]
        begun.add(name)
        if missing:
            waiting += [name, *missing]
        else:
            found.setdefault(name)
    return [*found]


def _in_circles(declared: dict[str, Record], inside: dict[str, list[str]], report: Report) -> set[str]:
    """The records that would hold themselves, each circle of which is reported."""
    found: set[str] = set()
    for cycle in cycles(inside, lambda name: declared[name].span.start):
        first = declared[cycle[0]]
        field = next(f for f in first.fields if _innermost(f.type) == cycle[1 % len(cycle)])
        message = f"the record `{cycle[0]}` holds itself: {around(cycle)}"
        advice = f"what is inside may be `json`, or `list[json]`, and is read where it is needed: `x as {cycle[0]}`"
        report.error("record-cycle", message, field.type.span, advice)
        found.update(cycle)
    return found


def _declare(record: Record, records: Records, report: Report) -> Type:
    names = Names(report)
    fields: list[RecordField] = []
    for member in record.fields:
        found = resolve(member.type, records, report)
        if names.add(member.name, "field"):
            default = "null" if found.is_optional or member.default is not None else None
            if member.default is not None and is_literal(member.default):
                value = constant_value(member.default, found)
                default = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            description = "" if member.description is None else str(member.description.value)
            fields.append(RecordField(member.name.text, found, description, default))
    try:
        return record_of(record.name.text, fields)
    except ValueError as flaw:
        report.error("too-deep", f"the record `{record.name.text}` {flaw}", record.name.span)
        return UNKNOWN


def resolve(name: TypeName, records: Records, report: Report) -> Type:
    """The type that `name` writes."""
    found = _resolve(name, records, report)
    if flaw := excess(found):
        report.error("too-deep", f"the type `{found}` {flaw}", name.span)
        return UNKNOWN
    return found


def _resolve(name: TypeName, records: Records, report: Report) -> Type:
    found = _without_null(name, records, report)
    return optional(found) if name.optional and found != UNKNOWN else found


def _without_null(name: TypeName, records: Records, report: Report) -> Type:
    if name.name == "list":
        if name.element is None:
            message = "`list` needs the type of its elements"
            report.error("unknown-type", message, name.span, "write `list[str]`, or `json` for values of any type")
            return UNKNOWN
        element = _resolve(name.element, records, report)
        return UNKNOWN if element == UNKNOWN else list_of(element)
    found = SCALARS.get(name.name) or BUILT_IN.get(name.name) or records.get(name.name)
    if found is None:
        written = Span(name.span.source, name.span.start, name.span.start + len(name.name))
        advice = _advice(name.name, records, report)
        report.error("unknown-type", f"there is no type `{name.name}`", written, advice)
        return UNKNOWN
    if name.element is not None:
        report.error("unknown-type", f"`{name.name}` has no elements, expected `{name.name}` alone", name.span)
        return UNKNOWN
    return found


def _advice(name: str, records: Records, report: Report) -> str:
    known = (*SCALARS, "list", *BUILT_IN)
    advice = TYPES.get(name.lower()) or report.near(name, records)
    if advice is None and name[0].isupper() and name.lower() not in known:
        return TYPES["record"]  # `Person` is no misspelt `json`
    listed = ", ".join(f"`{t}`" for t in (*SCALARS, "list[T]", "T?", *BUILT_IN))
    return advice or report.near(name, known) or f"the types are {listed}, and the records of the program"
