"""`apxm workloads`: small real runs over HTTP on loopback, of which only what holds on any machine is asserted."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from io import StringIO
from pathlib import Path

import pytest

from apxm.simulator.process import SimulatorProcess, start_simulator
from apxm.workloads.comparison import ApxmMeasurement, SystemMeasurement, read_comparison
from apxm.workloads.langgraph_system import missing_packages
from tests.cli.conftest import Apxm, Start

QUICK = ("--n", "1,2", "--latency", "constant:5", "--iterations", "1", "--warmup", "1")
needs_bench = pytest.mark.skipif(bool(missing_packages()), reason="needs the extra `bench`")


def test_list_shows_number_name_and_a_line(apxm: Apxm) -> None:
    ended = apxm("workloads", "list")
    assert ended.status == 0
    assert ended.out.startswith("4  4_scalability  N independent calls")


def test_the_list_as_json_has_the_same(apxm: Apxm) -> None:
    ended = apxm("workloads", "list", "--json")
    assert (ended.status, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert [list(each) for each in found] == [["number", "name", "summary"]] * len(found)
    assert [each["name"] for each in found] == [line.split()[1] for line in apxm("workloads", "list").out.splitlines()]


def test_check_judges_every_part_of_every_workload(apxm: Apxm) -> None:
    ended = apxm("workloads", "check")
    assert ended.status == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert [line[0] for line in lines[:4]] == ["ok"] * 4
    assert lines[4][:3] == ["skipped" if missing_packages() else "ok", "4_scalability", "workflow.py"]


def test_check_says_what_is_wrong_with_a_flow(apxm: Apxm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "4_scalability"
    folder.mkdir()
    flows = "".join(
        f'flow parallel_{n}() -> str {{ ask("Task A") -> a ask("Task B", a) -> b merge(a, b) -> c return c }}\n'
        for n in (2, 4, 8)
    )
    (folder / "workflow.ais").write_text(f"agent ScalabilityTest {{\n{flows}}}\n")
    (folder / "workflow.py").write_text("1 / 0")
    monkeypatch.setattr("apxm.workloads.catalog._programs", lambda: tmp_path)
    ended = apxm("workloads", "check")
    assert ended.status == 1
    assert "workflow.ais     it has another form" in ended.out
    assert "flow parallel_2  1 calls at once instead of 2" in ended.out
    assert "flow parallel_8  2 calls instead of 8" in ended.out
    assert missing_packages() or "ZeroDivisionError" in ended.out


def test_a_run_of_a_pxm_alone_prints_one_object(apxm: Apxm) -> None:
    ended = apxm("workloads", "run", "4", *QUICK, "--apxm-only", "--json")
    assert ended.status == 0
    assert ended.err == "model: simulated, latency constant:5, slowdown none\n"
    found = read_comparison(ended.out)
    assert (found.workload, found.seed, found.iterations) == ("4_scalability", 0, 1)
    assert [result.n for result in found.results] == [1, 2]
    for result in found.results:
        assert result.langgraph is None
        assert_plausible(result.n, result.apxm)


@needs_bench
def test_a_run_of_both_prints_the_tables_writes_the_json_and_draws_the_curve(apxm: Apxm, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plots`")
    ended = apxm("workloads", "run", "scalability", *QUICK, "-o", "results.json", "--plot", "curve.svg", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    titles = [line.removeprefix("### ") for line in ended.out.splitlines() if line.startswith("### ")]
    assert titles == [
        "Measured values",
        "Speedup analysis",
        "Scheduler overhead of A-PXM, per operation",
        "Latency against N = 1",
        "Predicted against measured, A-PXM",
        "Where the time went, A-PXM (ms)",
    ]
    systems = re.findall(r"^\| ([12]) \| (A-PXM|LangGraph) ", ended.out, re.MULTILINE)
    assert systems == [("1", "A-PXM"), ("1", "LangGraph"), ("2", "A-PXM"), ("2", "LangGraph")] * 2
    assert ". theoretical (y = x)" in ended.out
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    found = read_comparison((tmp_path / "results.json").read_bytes())
    assert {"apxm", "python", "langgraph", "langchain-openai"} <= set(found.versions)
    for result in found.results:
        assert_plausible(result.n, result.apxm)
        assert_plausible(result.n, result.langgraph)
        assert result.apxm is not None
        assert result.langgraph is not None
        assert result.apxm.t1_isolated_ms == result.langgraph.t1_isolated_ms


@needs_bench
def test_langgraph_alone_needs_no_calibration(apxm: Apxm) -> None:
    ended = apxm("workloads", "run", "4", *QUICK, "--langgraph-only", "--json", "-q")
    assert ended.status == 0
    assert "calibrat" not in ended.err
    for result in read_comparison(ended.out).results:
        assert result.apxm is None
        assert_plausible(result.n, result.langgraph)


def assert_plausible(n: int, measured: SystemMeasurement | None) -> None:
    """What holds of any run with calls of at least 5 ms, however slow the machine is."""
    assert measured is not None
    assert measured.duration_ms >= 5
    assert len(measured.samples_ms) == 1
    assert (measured.llm_calls, measured.theoretical_speedup) == (n, n)
    assert 1 <= measured.max_parallelism <= n
    assert measured.avg_latency_ms >= 5
    assert measured.t1_isolated_ms >= 5 * n
    assert measured.t1_estimated_ms == pytest.approx(n * measured.avg_latency_ms)
    assert measured.speedup == pytest.approx(measured.t1_isolated_ms / measured.duration_ms)
    assert measured.efficiency == pytest.approx(measured.speedup / n)
    assert measured.speedup_estimated == pytest.approx(measured.t1_estimated_ms / measured.duration_ms)
    if isinstance(measured, ApxmMeasurement):
        terms = measured.losses_ms.terms
        assert sum(terms.values()) == pytest.approx(measured.duration_ms, abs=0.1)
        assert min(term for name, term in terms.items() if name != "variation") >= 0
        assert measured.prediction_error == pytest.approx(measured.predicted_ms / measured.duration_ms - 1)
        assert measured.overhead_us.total > 0
        assert measured.processor_us is not None
        assert measured.processor_us > measured.overhead_us.total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "5"], "there is no workload '5'"),
        (["run", "4_scalabilty"], "did you mean 4_scalability?"),
        (["run", "4", "--apxm-only", "--n", "0"], "0 is not between 1 and 4,096"),
        (["run", "4", "--apxm-only", "--n", "many"], "expected whole numbers"),
        (["run", "4", "--apxm-only", "--langgraph-only"], "leave nothing to measure"),
        (["run", "4", "--apxm-only", "--plot", "curve.gif"], "must end in .svg or .png"),
        (["run", "4", "--apxm-only", "--latency", "soon"], "latency 'soon'"),
        (["run", "4", "--apxm-only", "-o", "nowhere/results.json"], "cannot write nowhere/results.json"),
        (["run", "4", "--apxm-only", "--backend", "local"], "there is no backend 'local'"),
        (["run", "4", "--apxm-only", "--backend", "simulated"], "leave --backend out"),
        (["run", "4", "--apxm-only", "--backend", "x", "--seed", "1"], "--seed: of the simulator"),
        (["run", "4", "--apxm-only", "--iterations", "0"], "--iterations"),
        (["run"], "NAME"),
    ],
)
def test_bad_usage_is_refused_before_anything_begins(apxm: Apxm, arguments: list[str], message: str) -> None:
    ended = apxm("workloads", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert "model:" not in ended.err


def test_without_langgraph_the_comparison_says_how_to_get_it(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.workloads.langgraph_system.missing_packages", lambda: ["langgraph"])
    for only in ([], ["--langgraph-only"]):
        ended = apxm("workloads", "run", "4", *QUICK, *only)
        assert (ended.status, ended.out) == (2, "")
        assert "pip install 'apxm[bench]', or measure A-PXM alone with --apxm-only" in ended.err


# --- a configured backend ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere() -> SimulatorProcess:
    """An endpoint that a configuration names."""
    with start_simulator(latency="constant:2") as simulator:
        yield simulator


@pytest.fixture
def local(elsewhere: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatorProcess:
    monkeypatch.setenv("LOCAL_KEY", "very-secret")
    (tmp_path / "config.toml").write_text(
        f'[backends.local]\nkind = "openai"\nmodel = "tiny"\nendpoint = "{elsewhere.endpoint}"\n'
        'api_key = "env:LOCAL_KEY"\nsystem = "Be brief."\nmax_concurrency = 4\n'
    )
    return elsewhere


LOCAL = ("--backend", "local", "--config", "config.toml", "--n", "1,2", "--iterations", "2", "--apxm-only")


def calls_answered(simulator: SimulatorProcess) -> float:
    return simulator.metrics()["apxm_simulator_service_seconds_count"]


def test_calls_that_may_cost_money_need_a_yes(
    apxm: Apxm, local: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = calls_answered(local)
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    ended = apxm("workloads", "run", "4", *LOCAL)
    assert (ended.status, ended.out) == (2, "")
    assert "calls to tiny at http://127.0.0.1" in ended.err
    assert "hint: add --yes" in ended.err
    assert calls_answered(local) == before, "nothing was sent"


def test_the_answer_no_sends_nothing(apxm: Apxm, local: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    before = calls_answered(local)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ended = apxm("workloads", "run", "4", *LOCAL)
    assert (ended.status, ended.out) == (1, "")
    assert "this makes up to " in ended.err
    assert "go on? [y/N]" in ended.err
    assert calls_answered(local) == before


def test_a_configured_backend_is_measured_and_its_key_never_shown(apxm: Apxm, local: SimulatorProcess) -> None:
    before = calls_answered(local)
    ended = apxm("workloads", "run", "4", *LOCAL, "--yes", "--json")
    assert ended.status == 0
    announced = re.search(r"this makes up to ([0-9]+) calls", ended.err)
    assert announced
    assert 0 < calls_answered(local) - before <= int(announced[1])
    report = json.loads(ended.out)
    assert report["endpoint"] == f"tiny at {local.endpoint}"
    assert report["seed"] is None
    assert "very-secret" not in ended.out + ended.err


# --- interruption --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_and_its_simulator(start: Start, number: signal.Signals, status: int) -> None:
    process = start("workloads", "run", "4", "--apxm-only", "--n", "64", "--latency", "constant:600000")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("model: simulated")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert (out, "Traceback" in err) == ("", False)
    with pytest.raises(ProcessLookupError):
        os.kill(int(children[0]), 0)
