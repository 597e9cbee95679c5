"""``apxm explain``: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Apxm

LABEL = """\
import json

from apxm import ask, each, flow


@flow
def label(rows: list[str]) -> list[dict]:
    results = []
    for row in each(rows):
        answer = ask(f"Label this: {row}")
        if "unsure" in answer:
            answer = ask(f"Think again: {row}", answer)
        results.append(json.loads(answer))
        print(row, "done")
        with open("labels.jsonl", "a") as file:
            file.write(answer)
    return results
"""
EXPLAINED = """\
label.py:7: flow label: 500 … 1,000 calls

label.py:9:5: note[unknown]: line 15: `open` reads or writes a file
 9 |     for row in each(rows):
   |     ^^^^^^^^^^^^^^^^^^^^^^
  promised; 500 turns, 500 … 1,000 calls
    line 13  later               `results.append` only adds to it
    line 14  later               it is printed
    line 15  waits for its turn  `open` reads or writes a file
    line 16  waits for its turn  `file.write` changes `file`

  line 10  ask  × 500
  line 12  ask  × 0 … 500
  tokens, about      1,500 … 131,000 in, 128,000 … 256,000 out
  time, 1 at once    8 min 20 s … 16 min 40 s
  time, 8 at once    1 min 03 s … 2 min 05 s
  time, 64 at once   8.00 s … 16.00 s
  time, all at once  1.00 s … 2.00 s

latencies: those of backend simulated: latency constant:1000, slowdown none
"""
CHAT = """\
from apxm import ask, each, flow


@flow
def chat(rows):
    last = ""
    for row in each(rows):
        last = ask(row + last)
    return last
"""


def test_it_says_what_waits_and_what_it_takes(apxm: Apxm) -> None:
    Path("label.py").write_text(LABEL)
    found = apxm("explain", "label.py", "--with", "rows=500")
    assert (found.status, found.out) == (0, EXPLAINED)
    assert found.err == "1 loop around a call of a model: 1 unknown\n"


def test_formulas_where_no_length_is_known(apxm: Apxm) -> None:
    Path("label.py").write_text(LABEL)
    lines = apxm("explain", "label.py", "--quiet").out.splitlines()
    assert lines[0] == "label.py:7: flow label: len(rows) … 2·len(rows) calls"
    assert lines[-3:] == [
        "  line 12  ask  × 0 … len(rows)",
        "  tokens, about  3·len(rows) … 262·len(rows) in, 256·len(rows) … 512·len(rows) out",
        "  time           how long it takes depends on len(rows)",
    ]


def test_json(apxm: Apxm) -> None:
    Path("label.py").write_text(LABEL)
    found = json.loads(apxm("explain", "label.py", "--with", "rows=8", "--p", "4", "--json").out)
    (function,) = found["functions"]
    (loop,) = function["loops"]
    assert (found["file"], found["lengths"]) == ("label.py", ["rows"])
    assert function["calls"] == {"low": "8", "high": "16"}
    assert (loop["verdict"], loop["promised"], loop["each"], loop["is_held_back"]) == ("unknown", True, None, False)
    assert loop["lines"][2] == {
        "at": {"file": "label.py", "line": 15, "column": 14, "end_line": 15, "end_column": 39},
        "does": "waits",
        "why": "`open` reads or writes a file",
        "seen": False,
        "inside": None,
    }
    assert function["times"]["at"] == [{"slots": 4, "predicted_ms": {"low": 2000.0, "high": 4000.0}}]


def test_prices_of_the_default_backend(apxm: Apxm) -> None:
    Path(".apxm").mkdir()
    Path(".apxm/config.toml").write_text(
        '[backends.here]\nkind = "openai"\nendpoint = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
        "prices = { m = { input = 1.0, output = 4.0 } }\n"
    )
    Path("one.py").write_text("from apxm import ask\n\n\ndef one(rows):\n    return [ask(row) for row in rows]\n")
    lines = apxm("explain", "one.py").out.splitlines()
    assert "  cost, about    0.001024·len(rows)" in lines


def test_a_flow_that_would_be_refused_is_status_1(apxm: Apxm) -> None:
    Path("chat.py").write_text(CHAT)
    found = apxm("explain", "chat.py")
    assert found.status == 1
    assert found.out.splitlines()[2:6] == [
        "chat.py:7:5: error[carried]: each iteration needs what the one before it left in `last`",
        " 7 |     for row in each(rows):",
        "   |     ^^^^^^^^^^^^^^^^^^^^^^",
        "   help: write `for` without `each`, or collect what iterations find and use it behind the loop",
    ]


@pytest.mark.parametrize(
    ("text", "options", "status", "said"),
    [
        ("def f(:\n", (), 1, "x.py:1:7: error[python-syntax]: invalid syntax"),
        (
            LABEL,
            ("--with", "row=3"),
            2,
            "error: nothing here goes through `row`, whose length is given\nhint: did you mean rows?",
        ),
        (LABEL, ("--with", "rows"), 2, "error: --with wants NAME=N, not 'rows'"),
        (LABEL, ("--with", "rows=many"), 2, "error: --with rows=many: expected a number of items or turns"),
    ],
)
def test_what_is_wrong(apxm: Apxm, text: str, options: tuple[str, ...], status: int, said: str) -> None:
    Path("x.py").write_text(text)
    found = apxm("explain", "x.py", *options)
    assert (found.status, found.out) == (status, "")
    assert found.err.startswith(said)


@pytest.mark.parametrize("command", ["explain", "check"])
def test_a_file_that_nests_too_deeply_is_told(apxm: Apxm, command: str) -> None:
    Path("x.py").write_text(f"from apxm import ask\ndef f():\n    return ask({'+'.join(['1'] * 900)})\n")
    found = apxm(command, "x.py")
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("error: x.py: the file nests deeper than it can be gone through\n")


def test_a_file_that_is_no_python_or_not_there(apxm: Apxm) -> None:
    assert apxm("explain", "x.ais").err.startswith("error: x.ais is no Python file\n")
    assert apxm("explain", "x.py") == (2, "", "error: x.py: there is no such file\n")


def test_a_file_without_a_call_says_what_is_looked_for(apxm: Apxm) -> None:
    Path("x.py").write_text("print('hello')\n")
    found = apxm("explain", "x.py")
    assert (found.status, found.out.splitlines()[0]) == (
        0,
        "x.py: no call of a model is found. `ask` and its family are, and calls that are written like",
    )


def test_a_file_with_another_encoding_and_wide_characters(apxm: Apxm) -> None:
    Path("x.py").write_bytes(
        "# coding: latin-1\nfrom apxm import ask\ndef f(zeilen):\n    return ['é', *[ask(z) for z in zeilen]]\n".encode(
            "latin-1"
        )
    )
    assert "x.py:4:19: note[independent]" in apxm("explain", "x.py").out


def test_it_says_the_same_in_every_process() -> None:
    script = str(ROOT / "tests" / "scripts" / "unedited" / "pipeline.py")
    command = [sys.executable, "-m", "apxm", "explain", script]
    said = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in "012"
    }
    assert len(said) == 1
