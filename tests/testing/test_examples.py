"""Examples as they stand in a source: how they are read, and what is wrong with them."""

from __future__ import annotations

import pytest

import apxm
from apxm.errors import BackendError
from apxm.source import SourceFile
from apxm.testing.checking import check_example, equal
from apxm.testing.example import Example, MalformedExample
from apxm.testing.notation import read_examples

FLOWS = """
agent A {
    @entry flow main(topic: str, depth: int = 1) -> json {
        print("depth", depth)
        print("topic", topic)
        ask("Facts about " + topic) -> facts
        return {"facts": facts, "sum": ask("Sum up.", facts)}
    }
    flow pick(x: str) -> str { switch x { case "a" => "A" } -> y return y }
    flow use() -> json { inv("t") -> a inv("t") -> b inv("t") -> c return [a, b, c] }
}
"""


def read(text: str) -> list[Example]:
    found, wrong = read_examples(SourceFile("a.ais", text))
    assert not wrong, wrong[0].render()
    return found


def said(example: Example) -> dict[str, object]:
    return {word: clause.value for word, clause in example.clauses.items()}


def test_an_example_goes_on_over_the_comments_right_below_it() -> None:
    found = read("""
        // Not one. example: neither()
        // example: A.main("a // b", 2.5, depth: {"x":
        //     [null, true]})
        //   answers {"p": "q"} prints "one",
        //     "two" takes 1.5 min
        // example: other() calls 3 latency 20ms fails
        //
        // This is prose.
        let x = "// example: neither()"   // example: last() gives "x"

        // gives "y"
    """)
    assert [(example.flow, example.values, example.named) for example in found] == [
        ("A.main", ("a // b", 2.5), {"depth": {"x": [None, True]}}),
        ("other", (), {}),
        ("last", (), {}),
    ]
    assert [said(example) for example in found] == [
        {"answers": [("p", "q")], "prints": ["one", "two"], "takes": 90.0},
        {"calls": 3, "latency": 0.02, "fails": None},
        {"gives": "x"},
    ]
    assert found[0].call == 'A.main("a // b", 2.5, depth: {"x": [null, true]})'
    assert [example.clauses["fails"].span.place for example in found[1:2]] == ["a.ais:7:50"]


def test_patterns_may_be_repeated_and_lose_none_of_their_answers() -> None:
    (example,) = read('// example: f() answers {"p": {"k": {"l": [{}]}}, "p": 2} failing {"q": "timeout"}')
    assert example.clause("answers") == [("p", {"k": {"l": [{}]}}), ("p", 2)]
    failing = example.clause("failing")
    assert isinstance(failing, list)
    ((pattern, error),) = failing
    assert (pattern, isinstance(error, BackendError), error.kind) == ("q", True, "timeout")


@pytest.mark.parametrize(
    ("text", "column", "message", "help"),
    [
        ("// example:", 12, "the name of a flow is expected, as in `example: main(…)`", None),
        ("// example: f", 14, "`(` is expected", None),
        ("// example: f(1", 16, "`)` is expected", None),
        ("// example: f(1 2)", 17, "`)` is expected", None),
        ("// example: f(x)", 15, "a value is expected: expecting value", "values are JSON"),
        ("// example: f(NaN)", 15, "this value cannot be used: NaN is no number of JSON", None),
        ("// example: f(a: 1, a: 2)", 21, "a is given twice", None),
        ("// example: f(a: 1, 2)", 21, "a value in order stands after one that is given by name", None),
        ("// example: f() give 1", 17, "`give` is no part of an example", "did you mean gives?"),
        ("// example: f() , 1", 17, "`,` is no part of an example", None),
        ('// example: f() gives {"a": }', 29, "a value is expected: expecting value", "values are JSON"),
        ("// example: f() gives", 22, "a value is expected: expecting value", "values are JSON"),
        ("// example: f() gives 1 gives 2", 25, "`gives` stands twice", None),
        ("// example: f() gives 1 fails", 25, "a run either gives a value or fails", None),
        ("// example: f() fails with", 27, "a kind of failure is expected, as in `fails with no_match`", None),
        ("// example: f() calls many", 23, "a number of calls is expected, as in `calls 3`", None),
        ("// example: f() calls " + 5000 * "9", 23, "a number of calls is expected, as in `calls 3`", None),
        ("// example: f() takes 2", 23, "a time is expected, as in `2s`, `500ms` or `1.5 min`", None),
        ("// example: f() takes " + 400 * "9" + "s", 23, "a time is expected, as in `2s`, `500ms` or `1.5 min`", None),
        ("// example: f() prints 5", 24, 'printed lines are expected, as in `prints "one", "two"`', None),
        ('// example: f() answers "x"', 25, 'patterns are expected, as in `answers {"pattern": "answer"}`', None),
        ('// example: f() answers {"(": 1}', 25, "'(' is not a regular expression: missing ), unterminated", None),
        ("// example: f() tools 5", 23, 'tools are expected, as in `tools {"search": "what it gives"}`', None),
        ('// example: f() failing {"x": 1}', 25, "kinds of failure are expected, as in `failing", None),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, column: int, message: str, help: str | None) -> None:
    found, (wrong,) = read_examples(SourceFile("a.ais", f"\n{text}\n// example: g()"))
    assert [example.flow for example in found] == ["g"], "the others can be read all the same"
    assert (wrong.span.line, wrong.span.column) == (2, column)
    assert wrong.message.startswith(message)
    assert help is None or wrong.help == help
    assert wrong.code == "example"


def check(example: str) -> list[tuple[str, tuple[str, ...]]]:
    (read_,) = read(example)
    outcome = check_example(apxm.compile_text(FLOWS, name="a.ais"), read_)
    return [(problem.message, problem.details) for problem in outcome.problems]


@pytest.mark.parametrize(
    "example",
    [
        'main("x") answers {"Facts": "f", "": "s"} gives {"sum": "s", "facts": "f"} calls 2 takes 2s',
        'main("x", 2) prints "depth 2", "topic x"',
        'main("x") latency 250ms takes 500ms',
        'main("x") failing {"Sum": "timeout"} fails with timeout calls 2',
        'main("x") failing {"Sum": "timeout"} fails',
        'main("x") failing {"Sum": "timeout"} answers {"": "f"} fails prints "depth 1", "topic x"',
        'pick("a") gives "A" calls 0 takes 0s',
        'A.pick(x: "b") fails with no_match',
        'use() tools {"t": {"a": 1}, "t": [2]} gives [{"a":1},[2],[2]] calls 0 takes 3s',
        "use() fails with no_answer",
    ],
)
def test_an_example_holds(example: str) -> None:
    assert check(f"// example: {example}") == []


@pytest.mark.parametrize(
    ("example", "message", "details"),
    [
        (
            'main("x") answers {"": 1} gives {"facts": "1", "sum": 1}',
            "it gives something else (- expected, + found)",
            ('-   "sum": 1', '+   "sum": "1"'),
        ),
        (
            'main("x") prints "depth 1"',
            "it prints something else (- expected, + found)",
            ("+ topic x",),
        ),
        (
            'main("x") calls 1',
            "it makes 2 calls, and 1 were expected",
            ("facts at 0 s: 'Facts about x'", "ask#1 at 1 s: 'Sum up.\\n\\nContext 1: [Facts about x]'"),
        ),
        (
            'main("x") takes 1s',
            "it takes 2 s, and 1 s were expected",
            ("facts: 0 s to 1 s", "ask#1: 1 s to 2 s"),
        ),
        ('main("x") fails', "the run succeeded, and a failure was expected", ()),
        (
            'main("x") answers {"Sum": "s"}',
            "the run ended as failed",
            ("a.ais:6:9: facts failed (no_answer): no pattern answers the prompt 'Facts about x'; the patterns",),
        ),
        (
            'pick("b") fails with timeout',
            "the run failed in another way than timeout",
            ("a.ais:9:32: y failed (no_match): ",),
        ),
    ],
)
def test_one_that_does_not_hold_says_what_was_found(example: str, message: str, details: tuple[str, ...]) -> None:
    ((said_, lines),) = check(f"// example: {example}")
    assert said_ == message
    assert len(lines) == len(details)
    assert all(line.startswith(start) for line, start in zip(lines, details, strict=True)), lines


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ("mian()", "this program has no flow called 'mian'"),
        ("main(5)", "topic must be a str, not 5"),
        ('main("x", 1, 2)', "main takes 2 values, and 3 were given"),
        ('pick("a", y: 1)', "pick has no parameter called 'y'"),
    ],
)
def test_an_example_that_does_not_fit_its_flow_is_an_error_in_the_source(example: str, message: str) -> None:
    with pytest.raises(MalformedExample) as caught:
        check(f"// example: {example}")
    assert caught.value.diagnostic.message == message
    assert caught.value.diagnostic.span.place == "a.ais:1:13"


def test_values_are_equal_by_type_and_at_any_depth() -> None:
    same = [(1, 1.0), ([{"a": [1]}], [{"a": [1.0]}]), ({"a": 1, "b": None}, {"b": None, "a": 1}), ("x", "x")]
    other = [(1, True), ([0], [False]), ({"a": 1}, {"a": 1, "b": 2}), ([1], [1, 1]), ("1", 1), (None, False), ([], {})]
    assert [equal(*pair) for pair in same] == [True] * len(same)
    assert [equal(*pair) for pair in other] == [False] * len(other)
