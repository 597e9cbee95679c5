"""What `using` is told: what no run could be told is refused there, and not when something has been paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apxm import api
from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.flow import flow


@flow
def label() -> str:
    return ask("x")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("max_concurency", 1, "did you mean max_concurrency?"),
        ("foo", 1, "there are: as_changed, assume, backend, "),
        ("max_concurrency", 0, "the concurrency must be at least 1, not 0"),
        ("max_concurrency", "8", "the concurrency must be an int"),
        ("max_cost", -1, "a number above 0, not -1"),
        ("max_total_tokens", -1, "must be at least 1 token, not -1"),
        ("timeout_s", 0, "a number of seconds above 0"),
        ("on_error", "stop", "finish or cancel, not 'stop'"),
        ("journal", "x", "journal= is True or False, not a str"),
        ("journal_dir", 5, "journal_dir= is the path of a folder, not 5"),
        ("backend", 5, "backend= is a text, not 5"),
        ("model", 5, "model= is a text, not 5"),
        ("latency", 5, "latency= is a text, not 5"),
        ("config", 5, "config= is the path of a file, not 5"),
        ("backends", 5, "backends= is an apxm BackendPool, not 5"),
        ("tools", 5, "tools= is a list of functions"),
        ("redo", "label:9", "redo= is a list of paths, not a str"),
        ("assume", 5, "assume= is a dict of paths and values, not 5"),
        ("as_changed", "yes", "as_changed= is True or False, not a str"),
        ("progress", 1, "progress= is True or False, not 1"),
        ("run_id", 5, "run_id= is a text"),
        ("simulate_tools", "x", "simulate_tools= is True or False, not a str"),
    ],
)
def test_an_option_is_refused_where_it_is_said(option: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        label.using(**{option: value})
    assert said in str(refused.value)


def test_what_is_said_by_apxm_run_is_refused_in_the_same_words() -> None:
    program = api.compile_text('agent A { @entry flow main() -> str { ask("x") -> a\n return a } }')
    wrong: dict[str, Any] = {"backend": 5, "journal": "x", "config": 5}
    for option, value in wrong.items():
        with pytest.raises(UsageError, match=f"{option}= is "):
            api.run(program, **{option: value})


def test_what_can_be_said_can_be_said(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "backend": "simulated", "latency": "constant:1", "journal": False, "journal_dir": tmp_path, "redo": (),
        "assume": {}, "as_changed": False, "progress": None, "tools": [], "max_concurrency": None, "timeout_s": 5,
    }  # fmt: skip
    assert label.using(**said)()
