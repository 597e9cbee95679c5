"""``apxm explain`` of a run: what it says, and of what it is no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from apxm import api
from apxm.advice.graph import measured
from apxm.advice.measured import packed, unpacked
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import BackendInfo
from apxm.runtime.trace import Trace
from tests.advice.test_rerun import ran
from tests.cli.conftest import Apxm, Start

SOURCE = """\
agent A {
  capability fetch(q: str) -> str
  @entry flow f(items: list[str]) -> list[str] {
    for x in items {
      ask(f"Draft {x}") -> draft
      inv("fetch", draft) -> found
      return found
    } -> drafts
    return drafts
  }
}
"""
ITEMS = json.dumps([f"item {k}" for k in range(6)])
SLOW = ("--latency", "constant:60", "--tool-latency", "40", "--max-concurrency", "2")
TEXT = """\
m.json                               2.30 s
run again from its trace, as it was  2.30 s (0.0% off)
endpoints                            as the run shows them

what would have helped:
  −500.0 ms  −22%    `drafts/draft` twice as fast  f.ais:5
  −250.0 ms  −11%    `fetch` declared readonly     f.ais:6
  −250.0 ms  −11%    `drafts/found` twice as fast  f.ais:6

of which this run does not tell whether it helps:
  −153.8 ms  −7%  +400.0 ms to −200.0 ms  limit 2 → 4  max_concurrency

The run never had more than 2 calls in flight at one endpoint. What more of them do to each other is a guess, and \
nothing at all may be gained by them.
"""
PYTHON = """\
import apxm

@apxm.flow
def label(rows):
    return [apxm.ask(row) for row in apxm.each(rows)]

print(len(label([f"row {k}" for k in range(6)])))
"""


@pytest.fixture(autouse=True)
def program() -> None:
    Path("f.ais").write_text(SOURCE)


def executed(apxm: Apxm, *options: str) -> None:
    ended = apxm("execute", "f.ais", ITEMS, *SLOW, *options)
    assert ended.status == 0, ended.err


def said(apxm: Apxm, *what: str) -> Any:
    """What it says as JSON. On a busy machine something may hold a run up that its trace does not show."""
    ended = apxm("explain", *what, "--json")
    assert ended.status == int("cannot be explained" in ended.err), ended.err
    return json.loads(ended.out)


def written(trace: Trace, path: str = "m.json") -> None:
    """The file of metrics of a run on virtual time."""
    metrics = measure(trace, LinkPhases(), BackendInfo(name="simulated", kind="simulated", model="simulated"))
    Path(path).write_text(metrics.to_json(trace=packed(measured(trace))))


def virtual(limit: int | None = 2) -> Trace:
    return ran(api.compile_text(SOURCE, name="f.ais"), limit, (json.loads(ITEMS),), latency="constant:600")


def changes(found: Any) -> list[str]:
    return [each["change"] for each in (*found["gains"], *found["unsure"])]


def test_a_run_by_its_metrics_and_by_its_journal(apxm: Apxm) -> None:
    executed(apxm, "--journal", "--emit-metrics", "m.json")
    of_file, of_journal = said(apxm, "m.json"), said(apxm, "last")
    assert (of_file["run"], of_file["status"]) == ("m.json", "succeeded")
    assert of_journal["run"].startswith("run 2")
    assert of_file["gains"] == of_journal["gains"]


def test_its_text(apxm: Apxm) -> None:
    written(virtual())
    ended = apxm("explain", "m.json")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == TEXT


def test_its_json(apxm: Apxm) -> None:
    written(virtual())
    found = said(apxm, "m.json")
    assert (found["duration_ms"], found["rerun_ms"], found["fits"]) == (2300, 2300, True)
    (readonly,) = [each for each in found["gains"] if each["kind"] == "readonly"]
    assert (readonly["where"], readonly["cost"], readonly["ms"]) == ("f.ais:6", 0, 250)


def test_a_run_of_python(apxm: Apxm) -> None:
    Path("label.py").write_text(PYTHON)
    ended = apxm("run", "--latency", "constant:50", "--max-concurrency", "2", "--emit-metrics", "m.json", "label.py")
    assert ended.status == 0, ended.err
    found = said(apxm, "m.json")
    assert found["fits"] is False or "limit 2 → 8" in changes(found)
    assert all(each["where"].endswith("label.py:5") for each in found["gains"] if each["kind"] == "faster")


def test_a_run_that_went_on(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", ITEMS, *SLOW, "--journal", "--timeout", "0.15")
    assert ended.status == 4
    part = said(apxm, "last")
    assert apxm("explain", "last").err == "the run was stopped: what it had not done by then is no part of this\n"
    assert apxm("resume", "last").status == 0
    whole = said(apxm, "last")
    assert (part["status"], whole["status"]) == ("stopped", "succeeded")
    assert whole["duration_ms"] > part["duration_ms"] + 50


def test_a_run_that_goes_on_or_was_killed_has_not_left_its_instants(apxm: Apxm, start: Start) -> None:
    process = start("execute", "f.ais", ITEMS, *SLOW, "--journal", "--faults", "hang:@3")
    while "finished" not in apxm("runs", "show", "last").out:
        assert process.poll() is None, process.communicate()
    going = apxm("explain", "last")
    process.kill()
    process.wait()
    killed = apxm("explain", "last")
    assert (going.status, killed.status) == (1, 1)
    assert "does not have all of its instants: it goes on" in going.err
    assert "does not have all of its instants: a process that carried it was killed" in killed.err


def test_a_profile_says_what_a_run_does_not(apxm: Apxm) -> None:
    written(virtual())
    assert apxm("calibrate", "--latency", "constant:600", "-o", "p.json").status == 0
    found = said(apxm, "m.json", "--profile", "p.json")
    assert found["endpoints"].startswith("simulated by its profile, calibrated ")
    (limit,) = [each for each in found["gains"] if each["kind"] == "limit"]
    assert (limit["change"], limit["ms"], limit["low_ms"], limit["unseen"]) == ("limit 2 → 4", 200, 200, None)
    other = Path("p.json").read_text().replace('"backend": "simulated"', '"backend": "other"')
    Path("other.json").write_text(other)
    refused = apxm("explain", "m.json", "--profile", "other.json")
    assert refused.err == "error: the profile is of backend other, and the run asked: simulated\n"


def test_the_profile_of_the_backend_and_its_model_is_used_where_there_is_one(apxm: Apxm) -> None:
    written(virtual())
    assert apxm("calibrate", "--latency", "constant:600").status == 0
    assert said(apxm, "m.json")["endpoints"].startswith("simulated by its profile")
    (kept,) = Path("home").rglob("profiles/simulated.json")
    kept.write_text(kept.read_text().replace('"model": "simulated"', '"model": "another"'))
    assert said(apxm, "m.json")["endpoints"] == "as the run shows them"


def test_what_it_cannot_explain_it_does_not_explain(apxm: Apxm) -> None:
    written(virtual(1))
    metrics = json.loads(Path("m.json").read_text())
    run = unpacked(metrics["trace"])
    metrics["trace"] = packed(replace(run, max_concurrency=None))
    Path("m.json").write_text(json.dumps(metrics))
    ended = apxm("explain", "m.json")
    assert ended.status == 1
    assert "what would have helped" not in ended.out
    assert "error: m.json cannot be explained" in ended.err
    assert json.loads(apxm("explain", "m.json", "--json").out)["gains"] == []


@pytest.mark.parametrize(
    ("what", "status", "error"),
    [
        ("nosuch", 2, "error: there is no run 'nosuch' in "),
        ("what is it?", 2, "error: what is it? is neither a file nor a run"),
        ("nosuch.json", 2, "error: nosuch.json: there is no such file"),
        ("nosuch.py", 2, "error: nosuch.py: there is no such file"),
        ("f.ais", 2, "error: f.ais is no Python file"),
        ("other.json", 2, "error: other.json is no file of metrics: it has no metrics of a run"),
        ("broken.json", 2, "error: broken.json is no file of metrics: "),
        ("old.json", 1, "error: old.json: these metrics were written without the trace of their run"),
        ("large.json", 1, "error: large.json: these metrics are without the trace of their run"),
        ("damaged.json", 1, "error: damaged.json: its trace is damaged: "),
        (".", 2, "error: .: this is a directory"),
    ],
)
def test_what_is_no_run(apxm: Apxm, what: str, status: int, error: str) -> None:
    Path("other.json").write_text("[1]")
    Path("broken.json").write_text("{")
    Path("old.json").write_text('{"execution": {}}')
    Path("large.json").write_text('{"execution": {}, "trace": null}')
    Path("damaged.json").write_text('{"execution": {}, "trace": "x"}')
    ended = apxm("explain", what)
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith(error)


def test_options_of_python_are_none_of_a_run(apxm: Apxm) -> None:
    executed(apxm, "--emit-metrics", "m.json")
    for option in (("--with", "rows=3"), ("--p", "4")):
        assert apxm("explain", "m.json", *option).err.startswith("error: --with and --p are about a file of Python")


def test_metrics_without_their_trace_are_those_of_the_result(apxm: Apxm) -> None:
    executed(apxm, "--emit-metrics", "m.json")
    metrics = json.loads(Path("m.json").read_text())
    assert list(metrics)[-1] == "trace"
    assert "Draft" not in json.dumps(metrics)
    assert len(metrics["trace"]) < 4000
