"""Flows whose source lanes cannot have: each of their loops says so, and they run as they stand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow

SAID = "goes through its items one after the other: lanes run functions under `def` whose source is in a file"
BODY = """
@flow
def label(rows):
    found = [ask(row) for row in each(rows)]
    for _ in "ab":
        for row in each(rows):
            found.append(ask(row))
    return found, sum(len(ask(row)) for row in each(rows))
"""


def made(text: str) -> Any:
    names: dict[str, Any] = {"ask": ask, "each": each, "flow": flow}
    exec(text, names)
    return names["label"]


def told(found: Flow[..., Any], caplog: pytest.LogCaptureFixture) -> list[str]:
    found.using(backend="simulated", latency="constant:1").run(["a", "b"])
    return [record.getMessage().partition(" goes")[0] for record in caplog.records if SAID in record.getMessage()]


def test_each_loop_says_once_that_it_has_no_source(caplog: pytest.LogCaptureFixture) -> None:
    assert told(made(BODY), caplog) == ["label:4", "label:6", "label:8"]


def test_a_lambda_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    (place,) = told(flow(lambda rows: [ask(row) for row in each(rows)]), caplog)
    assert place.startswith("test_a_lambda_is_told_of.<locals>.<lambda>:")


def module(tmp_path: Path, text: str) -> Any:
    """A module with a flow `label`, whose file is gone once it is asked for its source."""
    path = tmp_path / "gone.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("gone", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_a_file_that_is_gone_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"import os\nfrom apxm import ask, each, flow\nos.rename(__file__, __file__ + '.old'){BODY}"
    assert told(module(tmp_path, text).label, caplog) == ["label:6", "label:8", "label:10"]


def test_what_nests_too_deeply_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = "+".join(["1"] * 2000)
    text = f"from apxm import ask, each, flow\n@flow\ndef label(rows):\n    x = {chain}\n"
    found = module(tmp_path, f"{text}    return [ask(row) for row in each(rows)]\n")
    assert told(found.label, caplog) == ["label:5"]


def test_what_has_a_source_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def label(rows: list[str]) -> list[str]:
        plain = each(rows)
        return [f"{one}{two}" for one in each(rows) for two in each(rows)] + [ask(row) for row in plain]

    assert told(label, caplog) == []


def test_standard_input_is_no_file() -> None:
    text = f"from apxm import ask, each, flow\n{BODY}\nlabel.using(backend='simulated').run(['a'])"
    done = subprocess.run([sys.executable, "-"], input=text, capture_output=True, text=True, check=True)
    assert done.stderr.count(SAID) == 3
