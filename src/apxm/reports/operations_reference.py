"""The operations of AIS for readers: ``apxm ops`` and docs/operations.md, both made from the one table."""

from __future__ import annotations

import json

from apxm.backends.protocol import ModelRequest
from apxm.errors import UsageError, hint_for
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Family, Operation, Parameter
from apxm.operations.functions import FUNCTIONS
from apxm.program.expressions import Literal
from apxm.program.nodes import Operate
from apxm.reports.tables import aligned, paragraph
from apxm.runtime.content import UnreadFiles
from apxm.runtime.handlers.model import ModelCall, RequestForm

_HEADER = """\
# Operations

Generated from the table of operations by `make docs`; `apxm ops NAME` shows one of them. An operation waits for its
operands and for nothing else; `effect` says what besides them can order it ([language.md](language.md)).

"""
_FUNCTIONS = """\
## Functions

A function computes a value from values: it waits for nothing, costs nothing and is no operation of a run. What it
cannot compute fails what needs it. `T` stands for any type, the same one wherever it occurs in a call.

"""
_SENDS = """\
**What it sends**, for the prompt `PROMPT`, the context `FIRST` and `["SECOND", 2]`, and `system: "SYSTEM"`{condition}:

"""


def find(name: str) -> Operation:
    """Raises `UsageError` with the nearest name."""
    if operation := OPERATIONS.get(name):
        return operation
    raise UsageError(f"there is no operation called {name!r}", hint=hint_for(name, OPERATIONS, "`apxm ops` lists them"))


def listing() -> str:
    """One line per operation: its name, its result, and what it does."""
    rows = [(o.name, result(o), o.summary + ("" if o.available else " [later]")) for o in OPERATIONS.values()]
    later = "[later]: known to the language, not built yet. `apxm ops NAME` tells more."
    return "\n".join([*aligned(rows, indent=""), "", *paragraph(later), ""])


def describe(name: str) -> str:
    """Everything about one operation, as plain text."""
    operation = find(name)
    lines = [*paragraph(f"{operation.signature} -> {result(operation)}"), "", *paragraph(operation.summary)]
    if not operation.available:
        lines.append("This version of apxm does not run it yet.")
    lines += ["", f"effect: {operation.effect.value}"]
    rows = _argument_rows(operation)
    if rows:
        lines += ["", "arguments:", *aligned(rows)]
    lines += ["", "example:", f"  {operation.example}", ""]
    return "\n".join(lines)


def as_json(name: str | None) -> str:
    """The table, or one entry of it, for programs."""
    if name is not None:
        return json.dumps(_entry(find(name)), indent=2)
    return json.dumps([_entry(operation) for operation in OPERATIONS.values()], indent=2)


def markdown() -> str:
    """The text of docs/operations.md."""
    functions = [operation for operation in OPERATIONS.values() if operation.family is Family.VALUE]
    available = [o for o in OPERATIONS.values() if o.available and o.family is not Family.VALUE]
    later = [operation for operation in OPERATIONS.values() if not operation.available]
    parts = [_HEADER, *(_section(o, "##") for o in available), _FUNCTIONS, *(_section(o, "###") for o in functions)]
    parts.append(
        "## Not built yet\n\nThe language knows these, checks their arguments, and then refuses them by name.\n\n"
    )
    parts += [f"- `{operation.signature}`: {operation.summary}\n" for operation in later]
    return "".join(parts)


def result(operation: Operation) -> str:
    """The result type as readers need it, also where it depends on the operands."""
    if operation.family is Family.VALUE:
        return " or ".join(dict.fromkeys(str(way.result) for way in FUNCTIONS[operation.name].signatures))
    if operation.result_of_text is None:
        return str(operation.result)
    return f"{operation.result_of_text} if all are str, else {operation.result}"


def _section(operation: Operation, level: str) -> str:
    lines = [
        f"{level} `{operation.name}`",
        "",
        operation.summary,
        "",
        f"```text\n{operation.signature}\n```",
        "",
        f"- result: {result(operation)}",
        f"- effect: {operation.effect.value}",
        *(f"- `{name}`: {text}" for name, text in _argument_rows(operation)),
        "",
        f"```ais\n{operation.example}\n```",
        "",
    ]
    return "\n".join(lines) + "\n" + (_sent(operation) if operation.family is Family.MODEL else "")


def _argument_rows(operation: Operation) -> list[tuple[str, str]]:
    if operation.family is Family.VALUE:
        return _function_rows(operation)
    rows = [(p.name, _traits(p)) for p in operation.positional]
    if operation.variadic:
        rows.append((f"{operation.variadic.name}…", operation.variadic.doc))
    return rows + [(f"{p.name}:", _traits(p)) for p in operation.parameters if not p.by_position and not p.noted]


def _function_rows(operation: Operation) -> list[tuple[str, str]]:
    """The arguments with all types that a way to call the function gives them."""
    ways = FUNCTIONS[operation.name].signatures
    items = f", T being {' or '.join(map(str, ways[0].items))}" if ways[0].items else ""
    named = [(p.name, p.doc) for p in operation.positional]
    if operation.variadic:
        named.append((f"{operation.variadic.name}…", operation.variadic.doc))
    return [
        (name, f"{doc} ({' or '.join(dict.fromkeys(str(way.parameters[i]) for way in ways))}{items})")
        for i, (name, doc) in enumerate(named)
    ]


def _traits(parameter: Parameter) -> str:
    traits = [str(parameter.type)]
    if parameter.literal:
        traits.append("written out")
    if parameter.above is not None:
        traits.append(f"above {parameter.above:g}")
    if parameter.minimum is not None and parameter.maximum is not None:
        traits.append(f"{parameter.minimum:g} to {parameter.maximum:g}")
    elif parameter.minimum is not None:
        traits.append(f"at least {parameter.minimum:g}")
    if parameter.choices:
        traits.append(" or ".join(parameter.choices))
    return f"{parameter.doc} ({', '.join(traits)})"


def _entry(operation: Operation) -> dict[str, object]:
    return {
        "name": operation.name,
        "signature": operation.signature,
        "result": result(operation),
        "effect": operation.effect.value,
        "summary": operation.summary,
        "example": operation.example,
        "available": operation.available,
    }


def _sent(operation: Operation) -> str:
    if not operation.reasons:
        beside = "With `budget`, a backend that has a reasoning setting uses that, too.\n\n"
        sent = _SENDS.format(condition="") + _messages(sample_request(operation, can_reason=False))
        return sent + (beside if "budget" in operation.by_name else "")
    return (
        _SENDS.format(condition=", to a backend without a reasoning setting")
        + _messages(sample_request(operation, can_reason=False))
        + "To a backend with one, that setting (with `budget`, if given) replaces the instruction:\n\n"
        + _messages(sample_request(operation, can_reason=True))
    )


def sample_request(operation: Operation, can_reason: bool) -> ModelRequest:
    """The request of a model operation with the sample operands that the page names, made as a run makes it."""
    arguments = (Literal("PROMPT"), Literal("FIRST"), Literal(["SECOND", 2]))
    node = Operate(
        operation=operation.name,
        result=str(operation.result),
        arguments=arguments,
        options={"system": Literal("SYSTEM")},
    )
    return ModelCall(operation, node).request([], RequestForm(can_reason, UnreadFiles()))


def _messages(request: ModelRequest) -> str:
    texts = [("system", request.system_text(tells_format=False)), ("user", request.prompt)]
    shown = "".join(f"{role}:\n\n```text\n{text}\n```\n\n" for role, text in texts if text is not None)
    if request.answer is None:
        return shown
    return f"{shown}schema of the answer:\n\n```json\n{request.answer.schema}\n```\n\n"
