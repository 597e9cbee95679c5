"""What every model operation sends, byte for byte: requests.golden beside this file.

To write it anew after a deliberate change: ``APXM_UPDATE_GOLDEN=1 pytest tests/runtime/test_requests.py``, and read
the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apxm.backends.chat import encode_call
from apxm.backends.settings import OpenAISettings
from apxm.operations.catalog import AVAILABLE
from apxm.operations.definition import Family
from apxm.operations.types import INT, STR, RecordField, Type, Value, list_of, optional, record_of
from apxm.program.expressions import Literal
from apxm.program.nodes import Operate
from apxm.runtime.content import UnreadFiles
from apxm.runtime.handlers.model import ModelCall, RequestForm

GOLDEN = Path(__file__).with_name("requests.golden")
OPERATIONS = [operation for operation in AVAILABLE.values() if operation.family is Family.MODEL]

CASES: dict[str, tuple[list[Value], dict[str, Value]]] = {
    "prompt alone": (["Why?"], {}),
    "context": (["Compare.", "first\nanswer", {"b": [1, 2.5, None]}, 7], {}),
    "context alone": (["", "only this"], {}),
    "prompt that is no text": ([["a", True]], {}),
    "system": (["Why?"], {"system": "Be brief."}),
    "choices": (["Which?"], {"choices": ["Yes", "no"]}),
    "options": (["Why?"], {"model": "other", "temperature": 0.0, "max_tokens": 5, "timeout": 3.0, "retries": 2}),
}


PERSON = record_of("Person", [RecordField("name", STR, "as written"), RecordField("age", optional(INT), "", "null")])


PLAIN = RequestForm(reasons=False, files=UnreadFiles())


def body(
    operation: str,
    arguments: list[Value],
    options: dict[str, Value],
    reasoning: bool,
    result: Type | None = None,
    *,
    takes_schema: bool = True,
) -> str:
    node = Operate(
        operation=operation,
        arguments=tuple(map(Literal, arguments)),
        options={name: Literal(value) for name, value in options.items()},
        result=str(result or AVAILABLE[operation].result),
    )
    settings = OpenAISettings(model="default-model", endpoint="http://127.0.0.1:1/v1")
    call = ModelCall(AVAILABLE[operation], node, {PERSON.name: PERSON})
    return encode_call(
        call.request([], RequestForm(reasoning, UnreadFiles())), settings, takes_schema=takes_schema
    ).decode()


def everything() -> str:
    lines: list[str] = []
    for operation in OPERATIONS:
        for reasoning in (False, True):
            setting = "with" if reasoning else "without"
            lines.append(f"# {operation.name}, to a backend {setting} a reasoning setting\n")
            for name, (arguments, options) in CASES.items():
                if not options.keys() <= operation.by_name.keys():
                    continue
                given = options if "budget" not in operation.by_name else {**options, "budget": 2000}
                lines += [name, body(operation.name, arguments, given, reasoning), ""]
    for expected in (PERSON, list_of(PERSON)):
        for takes_schema in (True, False):
            lines.append(f"# {expected}, of an endpoint that takes {'a schema' if takes_schema else 'none'}\n")
            system: dict[str, Value] = {"system": "Be brief."}
            lines += [body("ask", ["Who?"], system, False, expected, takes_schema=takes_schema), ""]
    return "\n".join(lines)


def test_requests_are_what_the_golden_file_says() -> None:
    found = everything()
    if os.environ.get("APXM_UPDATE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("operation", [operation.name for operation in OPERATIONS])
def test_a_system_text_of_the_program_comes_before_the_operations_own_instruction(operation: str) -> None:
    node = Operate(operation=operation, arguments=(Literal("x"),), options={"system": Literal("Mine.")}, result="str")
    system = ModelCall(AVAILABLE[operation], node).request([], PLAIN).system_text()
    assert system is not None
    assert system.startswith("Mine.")


@pytest.mark.parametrize("operation", [operation.name for operation in OPERATIONS])
def test_a_backends_own_system_text_does_not_displace_the_operations_instruction(operation: str) -> None:
    node = Operate(operation=operation, arguments=(Literal("x"),), result="str")
    instruction = AVAILABLE[operation].instruction
    sent = (
        ModelCall(AVAILABLE[operation], node)
        .request([], RequestForm(reasons=False, files=UnreadFiles()))
        .system_text("The backend's.")
    )
    assert sent == ("The backend's." if instruction is None else f"The backend's.\n\n{instruction}")
