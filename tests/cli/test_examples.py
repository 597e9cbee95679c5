"""`apxm test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm

GOOD = """\
agent A {
    // example: f("x") answers {"x": "y"} gives "y"
    flow f(x: str) -> str { return ask(x) }
}
"""
BAD = """\
agent A {
    // example: f("x") gives "y"
    // example: f(5)
    flow f(x: str) -> str { return ask(x) }
}
"""


@pytest.fixture(autouse=True)
def sources(tmp_path: Path) -> None:
    (tmp_path / "good.ais").write_text(GOOD)
    (tmp_path / "bad.ais").write_text(BAD)
    (tmp_path / "none.ais").write_text("agent A { flow f() { } }")


def test_all_that_hold_are_status_0(apxm: Apxm) -> None:
    assert apxm("test", "good.ais") == (0, 'good.ais:2: f("x") passed\n', "1 example: 1 passed, 0 failed\n")
    assert apxm("test", "good.ais", "none.ais", "-q", "-O0") == (0, "", "")


def test_one_that_fails_says_why_and_one_that_is_wrong_where(apxm: Apxm) -> None:
    ended = apxm("test", "good.ais", "bad.ais")
    assert ended.status == 1
    assert ended.out.splitlines() == [
        'good.ais:2: f("x") passed',
        'bad.ais:2: f("x") FAILED',
        "    bad.ais:2:24: it gives something else (- expected, + found)",
        "      - y",
        "      + [x]",
    ]
    assert ended.err.splitlines()[0] == "bad.ais:3:17: error[example]: x must be a str, not 5"
    assert ended.err.splitlines()[-1] == "2 examples: 1 passed, 1 failed"
    assert apxm("test", "bad.ais", "-k", "f(5)").status == 1
    assert apxm("test", "bad.ais", "-k", "f(6)").status == 2


def test_json_is_one_object(apxm: Apxm) -> None:
    ended = apxm("test", "bad.ais", "--json")
    assert ended.status == 1
    found = json.loads(ended.out)
    assert {name: found[name] for name in ("files", "passed", "failed", "unreadable")} == {
        "files": 1, "passed": 0, "failed": 1, "unreadable": [],
    }  # fmt: skip
    (example,) = found["examples"]
    assert (example["line"], example["column"], example["call"], example["calls"]) == (2, 17, 'f("x")', 1)
    assert [problem["details"] for problem in example["problems"]] == [["- y", "+ [x]"]]
    assert [diagnostic["code"] for diagnostic in found["diagnostics"]] == ["example"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.ais"], "error: there is no example in 1 file\nhint: an example is a comment above a flow: // example:"),
        (["good.ais", "-k", "other"], "error: there is no example whose call contains 'other' in 1 file"),
        (["missing.ais"], "error: missing.ais: there is no such file"),
        ([], "FILE.ais…"),
    ],
)
def test_where_there_is_nothing_to_run_it_is_bad_usage(apxm: Apxm, arguments: list[str], message: str) -> None:
    ended = apxm("test", *arguments)
    assert ended.status == 2
    assert message in ended.err


def test_a_source_with_errors_is_status_1_and_the_others_run(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "wrong.ais").write_text("agent A { flow f() -> str { return missing } }")
    ended = apxm("test", "wrong.ais", "good.ais")
    assert (ended.status, ended.out) == (1, 'good.ais:2: f("x") passed\n')
    assert "wrong.ais:1:36: error[undefined-name]" in ended.err
