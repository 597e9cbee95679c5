"""``--trace-file``: of whichever run, and refused before it where it cannot be written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm
from tests.telemetry.chrome import read

FAST = ("--latency", "constant:1")
CHAIN = 'agent A { @entry flow f() -> str { ask("one") -> a ask("two", a, choices: ["x", "y"]) -> b return b } }'
SCRIPT = """\
from apxm import ask, each, flow

@flow
def label(rows):
    return [ask(row) for row in each(rows)]

print(len(label(["a", "b", "c"])))
"""


@pytest.fixture(autouse=True)
def programs(tmp_path: Path) -> None:
    (tmp_path / "chain.ais").write_text(CHAIN)
    (tmp_path / "label.py").write_text(SCRIPT)


def names(path: Path) -> list[str]:
    return [slice.name for slice in read(path.read_bytes()).of("calls in flight")]


def test_a_source_an_artifact_and_a_script_leave_one(apxm: Apxm, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    assert apxm("execute", "chain.ais", "--trace-file", "run.json", *FAST).status == 0
    assert names(file) == ["a", "b"]
    apxm("compile", "chain.ais", "-o", "chain.apxmobj")
    assert apxm("run", "chain.apxmobj", "--trace-file", "artifact.json", *FAST).status == 0
    assert names(tmp_path / "artifact.json") == ["a", "b"]
    assert apxm("run", "--backend", "simulated", *FAST, "--trace-file", "run.json", "label.py").status == 0
    assert names(file) == [f"label:5[{k}]" for k in range(3)]


def test_a_run_that_goes_on_leaves_one_of_what_this_process_asked(apxm: Apxm, tmp_path: Path) -> None:
    journal = ("--journal-dir", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    fails = ("--faults", "refusal:@2", "--journal")
    assert apxm("execute", "chain.ais", *journal, *fails, *FAST, "--trace-file", "first.json").status == 1
    first = read((tmp_path / "first.json").read_bytes())
    assert [s.args["outcome"] for s in first.of("calls in flight")] == ["ok", "refused"]
    assert first.head["status"] == "failed"
    assert apxm("resume", "last", *journal, "--trace-file", "second.json").status == 0
    second = read((tmp_path / "second.json").read_bytes())
    assert [s.name for s in second.of("calls in flight")] == ["b"]
    assert second.head["run"] == first.head["run"]
    assert second.of(f"run {second.head['run']}")[0].args["from the journal"] == 1


def test_its_place_is_looked_at_before_the_run(apxm: Apxm) -> None:
    ended = apxm("execute", "chain.ais", "--trace-file", "nowhere/run.json", *FAST)
    assert ended.status == 2
    assert "cannot write nowhere/run.json" in ended.err
    same = apxm("execute", "chain.ais", "--trace-file", "x.json", "--emit-metrics", "x.json", *FAST)
    assert same.status == 2
    assert "--trace-file x.json is the file of --emit-metrics itself" in same.err


def test_otel_says_what_it_lacks_before_the_run(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    ended = apxm("execute", "chain.ais", "--otel", *FAST)
    assert ended.status == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in ended.err
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    ended = apxm("execute", "chain.ais", "--otel", *FAST)
    assert (ended.status, ended.out) == (2, "")
    assert "pip install 'apxm[otel]'" in ended.err
