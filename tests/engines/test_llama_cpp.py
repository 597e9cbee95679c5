"""Answers of a type from a real engine: llama.cpp's own server, which constrains what a model says to a schema.

The model has random weights, so what it says is noise, and what makes it fit is the grammar that the engine makes of
the schema that we send. `make engine` installs it; docs/real-engine.md says what was seen.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import apxm
from tests.engines.llama_cpp import PYTHON, llama_cpp

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not PYTHON.exists(), reason="llama.cpp is not installed: make engine installs it (270 MB)"),
]

TYPES = """
type Address { street: str  city: str?  zip: int = 0 }
type Person {
    name: str "how they are called"
    age: int?
    score: float
    tags: list[str]
    home: Address?
    glad: bool = true
    past: list[Address]
}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with llama_cpp(tmp_path_factory.mktemp("engine")) as found:
        yield found


@pytest.fixture(scope="module")
def without_grammars(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with llama_cpp(tmp_path_factory.mktemp("engine"), "--without-space") as found:
        yield found


def run(folder: Path, endpoint: str, body: str, result: str, *, seed: int = 1, **settings: Any) -> apxm.Result:
    """One run of a flow, of which no call is tried again unless it is refused or its answer does not fit."""
    config = folder / "config.toml"
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in settings.items()
    ]
    config.write_text(
        f'[backends.llama]\nkind = "openai"\nmodel = "tiny"\nendpoint = "{endpoint}"\nmax_tokens = 4000\nretries = 1\n'
        + "\n".join([*lines, f"body = {{ seed = {seed} }}"])
    )
    program = apxm.compile_text(
        f"{TYPES}agent A {{ capability count(of: str) -> int readonly; @entry flow main() -> {result} {{ {body} }} }}"
    )
    return apxm.run(program, config=config, journal=False, tools={"count": _count})


def _count(of: str) -> int:
    return len(of)


def failure(folder: Path, endpoint: str, body: str, **settings: Any) -> tuple[str, str, int]:
    with pytest.raises(apxm.RunFailed) as caught:
        run(folder, endpoint, body, "int", **settings)
    (failed,) = caught.value.result.failures
    return failed.kind, failed.message, caught.value.result.trace.attempts


@pytest.mark.parametrize(
    "result",
    [
        "int", "float", "bool", "int?", "list[str]", "list[list[int?]]", "json", "list[json]", "Address", "Person",
        "Person?", "list[Person]",
    ],
)  # fmt: skip
def test_what_a_model_of_random_weights_says_fits_its_type(tmp_path: Path, endpoint: str, result: str) -> None:
    for seed in range(5):
        made = run(tmp_path, endpoint, f'return ask("Say.", schema: {result})', result, seed=seed)
        assert made.trace.attempts == 1, "nothing was asked twice"


def test_records_have_all_that_a_model_may_say_of_them(tmp_path: Path, endpoint: str) -> None:
    body = 'return ask("Who?", schema: Person)'
    found: list[Any] = [run(tmp_path, endpoint, body, "Person", seed=seed).value for seed in range(20)]
    assert all(list(person) == ["name", "age", "score", "tags", "home", "glad", "past"] for person in found)
    for optional in ("age", "home"):
        assert {person[optional] is None for person in found} == {True, False}
    assert {person["glad"] for person in found} == {True, False}, "null stands for the default"
    assert any(person["past"] for person in found)


def test_choices_are_said_as_they_are_written(tmp_path: Path, endpoint: str) -> None:
    labels = ["red", "dark green", 'é "q" \\\\n']
    written = '["red", "dark green", "é \\"q\\" \\\\\\\\n"]'
    said = {
        run(tmp_path, endpoint, f'return ask("Which?", choices: {written})', "str", seed=seed).value
        for seed in range(20)
    }
    assert said <= set(labels)
    assert len(said) > 1


def test_a_plan_and_a_verdict_are_records_as_any(tmp_path: Path, endpoint: str) -> None:
    body = 'plan("Do it.") -> made  verify("It is done.", made) -> verdict  return verdict.label'
    made = run(tmp_path, endpoint, body, "str")
    assert made.value in ("confirmed", "refuted", "insufficient")
    assert made.trace.attempts == 2


def test_calls_at_once_and_in_parts_fit_too(tmp_path: Path, endpoint: str) -> None:
    ask = 'ask(f"Who is {n}?", schema: Person, timeout_first_token: 60)'
    body = f"for n in [1, 2, 3, 4, 5, 6, 7, 8] {{ return {ask} }} -> all return all"
    made = run(tmp_path, endpoint, body, "list[Person]")
    assert made.trace.attempts == made.metrics.llm.streamed_requests == 8
    assert made.metrics.llm.total_output_tokens


def test_an_engine_that_makes_no_grammar_is_asked_once_and_told_in_words(tmp_path: Path, without_grammars: str) -> None:
    """Noise is no number, so the call is repaired once and fails: refused, answered, answered."""
    ask = 'return ask("How many?", schema: int, max_tokens: 20)'
    kind, message, attempts = failure(tmp_path, without_grammars, ask)
    assert (kind, attempts) == ("unfit_answer", 3), message
    assert failure(tmp_path, without_grammars, ask)[2] == 2, "it is remembered"


def test_an_engine_that_is_asked_in_words_alone_says_what_it_likes(tmp_path: Path, endpoint: str) -> None:
    ask = 'return ask("How many?", schema: int, max_tokens: 20)'
    kind, _, attempts = failure(tmp_path, endpoint, ask, structured="instruction")
    assert (kind, attempts) == ("unfit_answer", 2)


def test_an_answer_that_a_limit_cut_off_says_so(tmp_path: Path, endpoint: str) -> None:
    kind, message, attempts = failure(tmp_path, endpoint, 'return ask("Which?", schema: int, max_tokens: 5)')
    assert (kind, attempts) == ("unfit_answer", 1)
    assert "cut off by a limit of tokens" in message


@pytest.mark.parametrize(
    ("operand", "file", "said"),
    [
        ('image("photo.png")', b"\x89PNG\r\n\x1a\n\0", "image input is not supported"),
        ('file("report.pdf")', b"%PDF-1.7\n\xff", "unsupported content"),
    ],
)
def test_what_an_engine_does_not_take_is_told_in_its_words(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, operand: str, file: bytes, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / operand.split('"')[1]).write_bytes(file)
    kind, message, _ = failure(
        tmp_path, endpoint, f'return ask("See.", {operand}, schema: int)', can_see=True, can_read_pdf=True
    )
    assert (kind, said in message) == ("http_status", True), message


def test_an_engine_that_calls_no_tool_answers_at_once(tmp_path: Path, endpoint: str) -> None:
    """It is given the schema when it is told that noise is no number: while it may call tools it is told in words."""
    made = run(tmp_path, endpoint, 'return ask("How many?", tools: [count], schema: int, max_rounds: 2)', "int")
    assert (made.trace.attempts, made.metrics.llm.repairs) == (2, 1)


def test_an_engine_that_answers_for_any_model_is_not_asked_for_its_list(tmp_path: Path, endpoint: str) -> None:
    body = 'ask("First") -> a  return ask("Second", a, model: "another", schema: int)'
    assert isinstance(run(tmp_path, endpoint, body, "int").value, int)
