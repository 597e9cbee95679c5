"""``apxm check FILE.py``: what is wrong with a script, before anything of it runs."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import ROOT, Apxm

HEAD = "from apxm import ask, each, flow, plan, think\n"
RUINED = """\
from apxm import ask, each, flow


@flow
def label(rows):
    last = ""
    for row in each(rows):
        last = ask(f"Label {row}: {last}", temprature=0)
    return last
"""
SAID = """\
label.py:7:5: error[carried]: each iteration needs what the one before it left in `last`
 7 |     for row in each(rows):
   |     ^^^^^^^^^^^^^^^^^^^^^^
   help: write `for` without `each`, or collect what iterations find and use it behind the loop
label.py:8:44: error[bad-option]: `ask` has no option 'temprature'
 8 |         last = ask(f"Label {row}: {last}", temprature=0)
   |                                            ^^^^^^^^^^^^
   help: did you mean temperature?
1 file: 2 errors, 0 warnings
"""


def test_loops_and_calls_are_checked_and_status_is_1(apxm: Apxm) -> None:
    Path("label.py").write_text(RUINED)
    assert apxm("check", "label.py") == (1, "", SAID)


def test_nothing_runs_and_files_of_both_languages_are_checked(apxm: Apxm) -> None:
    Path("fine.py").write_text("open('ran', 'w')\n")
    Path("good.ais").write_text('agent A { flow f() -> str { ask("x") -> a return a } }\n')
    assert apxm("check", "fine.py", "good.ais") == (0, "", "2 files: 0 errors, 0 warnings\n")
    assert not Path("ran").exists()


def test_scripts_of_the_examples_are_clean(apxm: Apxm) -> None:
    scripts = [str(path) for path in sorted((ROOT / "examples").rglob("*.py"))]
    assert scripts
    assert apxm("check", *scripts) == (0, "", f"{len(scripts)} files: 0 errors, 0 warnings\n")


def test_json_is_that_of_any_source_and_options_stand_on_either_side(apxm: Apxm) -> None:
    Path("label.py").write_text(RUINED)
    for words in (("check", "label.py", "--json"), ("check", "--json", "label.py")):
        found = apxm(*words)
        report = json.loads(found.out)
        assert (found.status, found.err) == (1, "")
        assert (report["files"], report["errors"], report["warnings"], report["unreadable"]) == (1, 2, 0, [])
        second = report["diagnostics"][1]
        assert (second["line"], second["column"], second["end_column"], second["code"]) == (8, 44, 56, "bad-option")


def test_what_cannot_be_read_is_status_2_and_what_is_no_python_is_an_error(apxm: Apxm) -> None:
    Path("bad.py").write_text("def f(:\n")
    found = apxm("check", "bad.py", "missing.py")
    assert found.status == 2
    assert "bad.py:1:7: error[python-syntax]: invalid syntax\n" in found.err
    assert "error: missing.py: there is no such file\n" in found.err


def found_in(apxm: Apxm, text: str, *options: str) -> list[tuple[int, str, str]]:
    Path("x.py").write_text(HEAD + dedent(text))
    report = json.loads(apxm("check", "--json", *options, "x.py").out)
    return [(each["line"], each["code"], each["message"]) for each in report["diagnostics"]]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a = ask()", "wrong-arguments", "`ask`: missing a required argument: 'prompt'"),
        ("a = [x for x in each()]", "wrong-arguments", "`each`: missing a required argument: 'items'"),
        (
            "a = [x for x in each([], lookahed=2)]",
            "wrong-arguments",
            "`each`: got an unexpected keyword argument 'lookahed'",
        ),
        ("a = ask('x', temperature=7)", "bad-option", "`ask`: temperature= goes from 0 to 2, and this is 7"),
        ("a = ask('x', retries='2')", "bad-option", "`ask`: retries= must be an int, not a str"),
        ("a = ask('x', scheme=a)", "bad-option", "`ask` has no option 'scheme'"),
        ("a = plan('x', budget=3)", "bad-option", "`plan` has no option 'budget'"),
        ("a = think('x', tools=[])", "bad-option", "`think` has no option 'tools'"),
        ("a = ask('x', choices=['yes', ' Yes'])", "bad-option", "`ask`: choices= has a text twice, as capital and"),
        ("a = ask('x', choices=[])", "bad-option", "`ask`: choices= has no text to choose"),
        ("a = ask('x', choices=['yes', ' '])", "bad-option", "`ask`: choices= has a text of blanks"),
        ("a = ask('x', schema={'type': 'object'})", "bad-schema", "`schema` is a class, such as a dataclass, and this"),
        (
            "def f(): ...\na = ask('x', schema=f)",
            "bad-schema",
            "`schema` is a class, such as a dataclass, and this is a",
        ),
        (
            "class A: ...\na = ask('x', schema=A())",
            "bad-schema",
            "`schema` is a class, such as a dataclass, and this is",
        ),
        ("a = ask('x', tools=['serch'])", "unknown-tool", "there is no tool 'serch'"),
        ("a = ask('x', tools=[3])", "unknown-tool", "3 in tools= is no tool"),
        ("a = ask('x', backend='smart')", "unknown-backend", "there is no backend 'smart'"),
        ("ask('x')", "unused-result", "this call is made in vain: nothing gets its answer"),
        ("b = 1\na = ask('of {b}')", "placeholder", "`{b}` stays as it is in a plain text, and `b` is a name here"),
        ("@flow\nasync def f(): ...", "bad-flow", "a flow is a plain function, and f is `async`"),
        ("@flow\nclass F: ...", "bad-flow", "a flow is a function, and F is a class"),
        ("@flow()\ndef f(): ...", "bad-flow", "`flow` is a decorator as it is, and takes no options"),
        ("@flow\ndef f(): ...\nf.using(modle='m')", "unknown-option", "a flow has no option 'modle'"),
        ("@flow\ndef f(): ...\nf.using(backend='m')", "unknown-backend", "there is no backend 'm'"),
        (
            "def f(rows, n):\n    for row in each(rows):\n        n.last = ask(row + n.last)",
            "carried",
            "line 4 comes before a call: it reads `.last`, which iterations change",
        ),
    ],
)
def test_what_is_wrong_is_said_once(apxm: Apxm, text: str, code: str, message: str) -> None:
    ((_, found, said),) = found_in(apxm, text)
    assert (found, said[: len(message)]) == (code, message)


@pytest.mark.parametrize(
    "text",
    [
        "def f(options): return ask('x', **options)",
        "def f(tools, n): return ask('x', *n, tools=tools, max_rounds=n, choices=n, temperature=n, backend=n)",
        "from elsewhere import T\na = ask('x', schema=T), ask('x', schema=list[int]), ask('x', schema=None)",
        "class T: ...\na = ask('x', schema=T)",
        "def lookup(q): ...\na = ask('{\"q\": 1} {nothing}', tools=[lookup])",
        "def f(ask): ask('x', temprature=1)",
        "def send(): ...\nask('x', tools=[send])",
        "def f(rows): return [ask(row) for row in rows]",
        "def f(rows, state):\n    for row in rows:\n        state.last = ask(row + state.last)",
        "from elsewhere import using\nusing.using(modle=1)",
    ],
)
def test_what_may_be_right_is_not_spoken_of(apxm: Apxm, text: str) -> None:
    assert found_in(apxm, text) == []


def test_names_are_those_of_the_configuration(apxm: Apxm) -> None:
    Path("other.toml").write_text(
        '[backends.smart]\nkind = "simulated"\n[tools.search]\ncommand = ["true"]\n[mcp.git]\ncommand = ["true"]\n'
    )
    text = "a = ask('x', backend='smart', tools=['search', 'git.log', 'serch'])"
    assert found_in(apxm, text, "--config", "other.toml") == [(2, "unknown-tool", "there is no tool 'serch'")]
    Path("wrong.toml").write_text("[backends.smart]\nkind = 3\n")
    found = apxm("check", "--config", "wrong.toml", "x.py")
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("error: wrong.toml:")


def test_a_configuration_is_read_only_where_it_is_named(apxm: Apxm) -> None:
    assert found_in(apxm, "a = ask('x')", "--config", "missing.toml") == []


def test_explain_tells_of_a_backend_that_is_configured_nowhere(apxm: Apxm) -> None:
    Path("label.py").write_text(
        HEAD + "\n@flow\ndef f(rows):\n    return [ask(row, backend='nope') for row in each(rows)]\n"
    )
    ended = apxm("explain", "label.py")
    assert ended.status == 1
    assert "error[unknown-backend]: there is no backend 'nope'" in ended.err
