"""The web service in examples/service, in a process of its own, against a simulated endpoint over real HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from apxm.journal.runs import list_runs
from apxm.simulator.process import SimulatorProcess, start_simulator
from tests.documented import ROOT, environment

if sys.platform == "win32":
    pytest.skip("signals are POSIX's", allow_module_level=True)

SERVICE = ROOT / "examples/service/service.py"


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Service(NamedTuple):
    process: subprocess.Popen[str]
    base: str

    def ask(self, path: str, given: object = None) -> Answer:
        body = None if given is None else json.dumps(given).encode()
        request = Request(self.base + path, body, {"content-type": "application/json"})
        try:
            with urlopen(request, timeout=100) as response:
                return Answer(response.status, json.load(response))
        except HTTPError as error:
            return Answer(error.code, json.load(error))

    def ended(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(100)


def until(met: Callable[[], bool]) -> None:
    """Looks again and again: what is waited for happens in another process."""
    while not met():
        Event().wait(0.02)


@contextmanager
def running(folder: Path, drain_s: float = 60) -> Generator[Service]:
    command = [sys.executable, str(SERVICE), "--port", "0", "--drain", str(drain_s)]
    log = folder / "log"
    with open(log, "w") as writing:
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=writing, text=True)
    try:
        until(lambda: "running on" in log.read_text() or process.poll() is not None)
        found = re.search(r"running on (http://[\d.:]+)", log.read_text())
        assert found is not None, log.read_text()
        yield Service(process, found[1])
    finally:
        process.kill()
        process.wait()


@contextmanager
def endpoint(folder: Path, latency: str, max_concurrency: int) -> Generator[SimulatorProcess]:
    """A simulated one, which is what the folder is configured for."""
    with start_simulator(latency=latency) as simulator:
        config = folder / ".config/apxm/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(
            f'[backends.here]\nkind = "openai"\nmodel = "simulated"\nendpoint = "{simulator.endpoint}"\n'
            f"max_concurrency = {max_concurrency}\n"
        )
        yield simulator


def calls(simulator: SimulatorProcess) -> dict[str, float]:
    """Those that were answered, those that were cut, and the most at one moment."""
    metrics = simulator.metrics()
    return {
        "answered": metrics["apxm_simulator_service_seconds_count"],
        "cut": metrics["apxm_simulator_calls_cancelled_total"],
        "most": metrics["apxm_simulator_in_flight_max"],
        "now": metrics["apxm_simulator_in_flight"],
    }


def at_once(asks: Sequence[Callable[[], Answer]]) -> list[Future[Answer]]:
    pool = ThreadPoolExecutor(len(asks))
    futures = [pool.submit(ask) for ask in asks]
    pool.shutdown(wait=False)
    return futures


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def test_200_requests_at_once_share_limits_connections_and_journals(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:20", 4) as simulator, running(tmp_path) as service:
        labels = [partial(service.ask, "/label", {"rows": [f"row {n}", f"unsure {n}"]}) for n in range(100)]
        titles = [partial(service.ask, "/title", {"text": f"text {n}"}) for n in range(100)]
        answers = [future.result() for future in at_once([*labels, *titles])]
        assert {answer.status for answer in answers} == {200}
        for n, (label, title) in enumerate(zip(answers[:100], answers[100:], strict=True)):
            assert set(label.body["value"]) == {f"row {n}", f"unsure {n}"}
            assert f"Think again: unsure {n}" in label.body["value"][f"unsure {n}"]
            assert f"text {n}" in title.body["value"]
        assert calls(simulator) == {"answered": 400, "cut": 0, "most": 4, "now": 0}
        assert simulator.metrics()["apxm_simulator_connections"] <= 5  # one of them asks for the metrics
        assert len({answer.body["run"] for answer in answers}) == 200
        assert len(list_runs(tmp_path / "jobs/journals")) == len(names(tmp_path, "jobs/done/*.json")) == 200
        assert len(names(tmp_path, "jobs/journals/*.apxmlog")) == 1
        again = service.ask(f"/runs/{answers[0].body['run']}")
        assert again == answers[0]
        assert calls(simulator)["answered"] == 400  # what it came to was in the journal
        assert service.ended(signal.SIGTERM) == 0


def test_at_sigterm_requests_have_time_to_end(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:100", 64) as simulator, running(tmp_path) as service:
        futures = at_once([partial(service.ask, "/label", {"rows": [f"unsure {n}"]}) for n in range(50)])
        until(lambda: len(names(tmp_path, "jobs/*/*.json")) == 50)
        assert service.ended(signal.SIGTERM) == 0
        assert [future.result().status for future in futures] == [200] * 50
        ended = calls(simulator)
        assert (ended["answered"], ended["cut"]) == (100, 0)
        with pytest.raises(URLError):
            service.ask("/title", {"text": "too late"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_had_no_time_to_end_goes_on_in_the_next_process(number: signal.Signals, tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:300", 64) as simulator:
        with running(tmp_path, drain_s=0) as service:
            futures = at_once([partial(service.ask, "/label", {"rows": [f"unsure {n}"]}) for n in range(50)])
            until(lambda: calls(simulator)["answered"] > 0 and len(names(tmp_path, "jobs/*/*.json")) == 50)
            status = service.ended(number)
            runs = names(tmp_path, "jobs/*/*.json")
            assert len(runs) == 50
            if number is signal.SIGTERM:
                assert status == 0
                answers = [future.result() for future in futures]
                assert {answer.status for answer in answers} <= {200, 503}
                assert sorted(answer.body["run"] + ".json" for answer in answers) == runs
            else:
                assert status == -number
                cut = [future for future in futures if future.exception() is not None]
                assert cut
                assert all(isinstance(future.exception(), OSError | HTTPException) for future in cut)
        assert names(tmp_path, "jobs/open/*.json")
        until(lambda: calls(simulator)["now"] == 0)
        before = calls(simulator)["answered"]
        kept = sum(run.operations or 0 for run in list_runs(tmp_path / "jobs/journals"))
        with running(tmp_path) as service:
            for run in runs:
                answer = service.ask(f"/runs/{run.removesuffix('.json')}")
                assert answer.status == 200
                ((row, label),) = answer.body["value"].items()
                assert f"Think again: {row}" in label
            until(lambda: not names(tmp_path, "jobs/open/*.json"))
        assert calls(simulator)["answered"] - before == 100 - kept  # whatever was kept was not asked again


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert service.ask("/runs/20260131-235959-k3vd").status == 404
        assert service.ask("/label", {"lines": []}).status == 422


def test_a_failure_is_told_with_the_run_that_can_go_on(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:1", 4):
        config = tmp_path / ".config/apxm/config.toml"
        right = config.read_text()
        config.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", right) + "retries = 0\n")
        with running(tmp_path) as service:
            failed = service.ask("/title", {"text": "a text"})
            assert failed.status == 502
            assert "could not be reached" in failed.body["error"]
            assert service.ask(f"/runs/{failed.body['run']}").status == 502
        config.write_text(right)
        with running(tmp_path) as service:
            again = service.ask(f"/runs/{failed.body['run']}")
            assert (again.status, "a text" in again.body["value"]) == (200, True)
