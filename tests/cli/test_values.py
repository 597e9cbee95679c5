"""Values on a command line, and how they meet a flow's parameters."""

from __future__ import annotations

from typing import Any

import pytest

from apxm.cli.values import read_arguments
from apxm.errors import UsageError
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


def test_an_error_never_carries_control_characters_of_a_value() -> None:
    with pytest.raises(UsageError) as caught:
        read_arguments(flow(n="int"), ["\x1b[2J"], [])
    assert "\x1b" not in str(caught.value)
