"""Values on a command line, and how they meet a flow's parameters."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from apxm.cli.values import read_arguments, read_known
from apxm.errors import LinkError, UsageError
from apxm.program.program import Flow, FlowParameter


def flow(**types: str) -> Flow:
    """A flow `f` with required parameters of these types."""
    parameters = tuple(FlowParameter(name=name, type=kind) for name, kind in types.items())
    return Flow(agent="A", name="f", parameters=parameters, result=None, plan=0)


WITH_DEFAULT = Flow(
    agent="A",
    name="f",
    parameters=(
        FlowParameter(name="topic", type="str"),
        FlowParameter(name="depth", type="int", required=False, default=2),
    ),
    result=None,
    plan=0,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("str", "5", "5"),
        ("str", '"quoted"', '"quoted"'),
        ("str", "", ""),
        ("int", "-5", -5),
        ("float", "2", 2.0),
        ("float", "1e3", 1000.0),
        ("bool", "true", True),
        ("json", '{"k": [null]}', {"k": [None]}),
        ("list[str]", '["a", "b"]', ["a", "b"]),
        ("list[float]", "[1, 2.5]", [1.0, 2.5]),
    ],
)
def test_text_is_read_by_the_type_of_its_parameter(kind: str, text: str, value: Any) -> None:
    (read,) = read_arguments(flow(x=kind), [text], [])
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int", "five"),
        ("int", "2.5"),
        ("int", "true"),
        ("int", "9" * 5000),
        ("float", "NaN"),
        ("float", "1e999"),
        ("float", "1" + "0" * 400),
        ("bool", "True"),
        ("bool", "1"),
        ("list[str]", "a,b"),
        ("list[int]", '["a"]'),
        ("json", "{'k': 1}"),
        ("json", "[" * 100_000),
        ("json", "[" * 400 + "]" * 400),
        ("int", str(2**63)),
        ("str", "\udcff"),
    ],
)
def test_what_does_not_fit_the_type_is_refused_by_the_parameters_name(kind: str, text: str) -> None:
    with pytest.raises(UsageError, match="parameter_x"):
        read_arguments(flow(parameter_x=kind), [text], [])


def test_defaults_fill_in_and_names_may_be_mixed_with_order() -> None:
    assert read_arguments(WITH_DEFAULT, ["bees"], []) == ["bees", 2]
    assert read_arguments(WITH_DEFAULT, ["bees"], ["depth=3"]) == ["bees", 3]
    assert read_arguments(WITH_DEFAULT, [], ["depth=3", "topic=a=b"]) == ["a=b", 3]


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ([], [], "f needs a value for topic: str"),
        (["a", "1", "x"], [], "f takes 2 values, and 3 were given"),
        (["a"], ["topc=b"], "f has no parameter called 'topc' (hint: did you mean topic?"),
        (["a"], ["topic=b"], "topic is given twice: in order, and by its name"),
    ],
)
def test_wrong_counts_and_names_show_the_signature(values: list[str], named: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(WITH_DEFAULT, values, named)
    assert str(caught.value).startswith(message)
    assert "f(topic: str, depth: int = 2)" in str(caught.value)


@pytest.mark.parametrize("named", [["topic"], ["=x"], ["topic=a", "topic=b"]])
def test_a_malformed_or_repeated_arg_is_refused(named: list[str]) -> None:
    with pytest.raises(UsageError, match="--arg"):
        read_arguments(WITH_DEFAULT, [], named)


def test_an_at_sign_names_a_file_and_two_are_one(tmp_path: Path) -> None:
    (tmp_path / "topic.txt").write_bytes(b"\xef\xbb\xbfthe b\xc3\xa9e\r\n")
    (tmp_path / "depth.json").write_text("\n 3 ")
    named = [f"topic=@{tmp_path}/topic.txt", f"depth=@{tmp_path}/depth.json"]
    assert read_arguments(WITH_DEFAULT, [], named) == ["the bée\r\n", 3], "as it is, but for the byte order mark"
    assert read_arguments(WITH_DEFAULT, [], ["topic=@@bees"]) == ["@bees", 2]
    assert read_arguments(WITH_DEFAULT, [], ["topic=@@@"]) == ["@@", 2]
    assert read_arguments(WITH_DEFAULT, ["@bees"], []) == ["@bees", 2], "in order, a text is as it is"
    (tmp_path / "topic.txt").write_bytes(b"")
    assert read_arguments(WITH_DEFAULT, [], named[:1]) == ["", 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "data.json: this is empty, expected JSON"),
        (b'{"a": 1,\n "b" 2}', "data.json:2:6: this is not JSON: expecting ':' delimiter"),
        (b"[1, NaN]", "data.json: this JSON holds a number that is none here: NaN"),
        (b"[" * 100_000, "data.json: this JSON nests too deeply"),
        (b"[1,\n2,\xff]", "data.json:2: the byte 0xff here is not UTF-8"),
        (b'[1, "two"]', "x must be a list[int], and x[1] is a str"),
    ],
)
def test_a_file_that_does_not_fit_is_told_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_arguments(flow(x="list[int]"), [], [f"x=@{tmp_path}/data.json"])
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "there is no such file"),
        (".", "this is a directory, expected a file"),
        ("", "--arg x names no file: it is empty (hint: @- is standard input, @@ a literal @)"),
        ("/dev/zero", "this is larger than 64 MiB, the most that a value can be"),
        ("a\0b", "the file cannot be read: embedded null byte"),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(flow(x="str"), [], [f"x=@{path}"])
    assert message in str(caught.value)


def test_a_value_may_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = Thread(target=(tmp_path / "pipe").write_text, args=("from a pipe",))
    writer.start()
    assert read_arguments(flow(x="str"), [], [f"x=@{tmp_path}/pipe"]) == ["from a pipe"]
    writer.join()


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))

    given("bées".encode())
    assert read_arguments(WITH_DEFAULT, [], ["topic=@-"]) == ["bées", 2]
    given(b'{"topic": "bees", "depth": 4}')
    assert read_arguments(WITH_DEFAULT, [], [], "-") == ["bees", 4]
    given(b"bees")
    with pytest.raises(UsageError, match="standard input can be read once, and both --arg topic and --arg depth ask"):
        read_arguments(WITH_DEFAULT, [], ["topic=@-", "depth=@-"])
    given(b"[")
    with pytest.raises(UsageError, match="standard input:1:2: this is not JSON"):
        read_arguments(WITH_DEFAULT, [], [], "-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed, and --arg topic asks for it"):
        read_arguments(WITH_DEFAULT, [], ["topic=@-"])


def test_what_stands_on_the_line_goes_before_the_file_of_args(tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text('{"topic": "bees", "depth": 4}')
    assert read_arguments(WITH_DEFAULT, [], [], str(file)) == ["bees", 4]
    assert read_arguments(WITH_DEFAULT, ["ants"], ["depth=1"], str(file)) == ["ants", 1]
    assert read_known(WITH_DEFAULT, [], [], str(file)) == {"topic": "bees", "depth": 4}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"topc": 1}', "args.json: f has no parameter called 'topc' (hint: did you mean topic?"),
        ("[1]", "args.json: a JSON object with the flow's parameters is expected, not an array"),
        ("7", "args.json: a JSON object with the flow's parameters is expected, not 7"),
        ('{"topic": 5}', "topic must be a str, not 5"),
        ('{"depth": 5}', "f needs a value for topic: str"),
    ],
)
def test_a_file_of_args_must_fit_the_flow(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "args.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_arguments(WITH_DEFAULT, [], [], str(tmp_path / "args.json"))
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def test_all_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"topc": 1, "dept": 2}')
    with pytest.raises(LinkError) as caught:
        read_arguments(WITH_DEFAULT, [], ["topic=@missing", "depth=two"], str(tmp_path / "args.json"))
    assert [error.message for error in caught.value.missing] == [
        "f has no parameter called 'topc'",
        "f has no parameter called 'dept'",
        "there is no such file",
        "depth is of type int, and 'two' is not one; values other than str are JSON",
    ]
    with pytest.raises(LinkError, match=r"x must be an int, not a str[^\n]*\ny must be a bool, not 1"):
        read_arguments(flow(x="int", y="bool"), ['"a"', "1"], [])


def test_an_error_never_carries_control_characters_of_a_value() -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(flow(n="int"), ["\x1b[2J"], [])
    assert "\x1b" not in str(caught.value)
