"""The types that an artifact spells out: what must hold of them before anything reads a value by one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from apxm.errors import ArtifactError
from apxm.operations.types import BUILT_IN, SCALARS, STR, TYPE_NAMES, RecordField, Type, conforms, excess
from apxm.program.program import Program


def verify_records(program: Program) -> None:
    """Raises `ArtifactError` naming the first record that is none."""
    known: dict[str, Type] = {}
    for record in program.records:
        name = record.name
        if not name or name in TYPE_NAMES or name in known or record.fields is None:
            raise ArtifactError(f"the program is not valid: {name!r} cannot be a record of it")
        if flaw := excess(record) or _flaw_of_fields(record.fields, known):
            raise ArtifactError(f"the program is not valid: the record {name!r} {flaw}")
        known[name] = record


def flaw_of(found: Type, records: Mapping[str, Type]) -> str | None:
    """What is wrong with a type of a program with these records; None where nothing is."""
    return excess(found) or _flaw(found, records)


def _flaw(found: Type, records: Mapping[str, Type]) -> str | None:
    if found.is_list or found.is_optional:
        if found.element is None or found.fields is not None or (found.is_optional and found.element.is_optional):
            return f"has a malformed type {found.name!r}"
        return _flaw(found.element, records)
    if found.name:
        known = SCALARS.get(found.name) or BUILT_IN.get(found.name) or records.get(found.name)
        return None if found == known else f"has an unknown type {found.name!r}"
    if found.fields is None or found.element is not None:
        return "has a type without a name"
    return _flaw_of_fields(found.fields, records)


def _flaw_of_fields(fields: tuple[RecordField, ...], records: Mapping[str, Type]) -> str | None:
    if len({field.name for field in fields}) < len(fields):
        return "has two fields of one name"
    for field in fields:
        if flaw := _flaw(field.type, records):
            return flaw
        if field.choices and field.type != STR:
            return f"has choices for {field.name!r}, which is no text"
        if field.default is not None and not _is_default(field):
            return f"has a default for {field.name!r} that is no {field.type}"
    return None


def _is_default(field: RecordField) -> bool:
    try:
        return conforms(json.loads(field.default or ""), field.type)
    except (ValueError, RecursionError):
        return False
