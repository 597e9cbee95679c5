"""The web service in examples/service, in a process of its own, against a simulated endpoint over real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
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

    def events(self, topic: str) -> Generator[tuple[str, Any]]:
        """What a stream tells, as it comes."""
        body = json.dumps({"topic": topic}).encode()
        request = Request(self.base + "/write", body, {"content-type": "application/json"})
        with urlopen(request, timeout=100) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in response:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)

    def stream(self, topic: str) -> Answer:
        """How a stream ends."""
        *_, (name, told) = self.events(topic)
        assert name == ("end" if told["status"] == 200 else "error")
        return Answer(told.pop("status"), told)

    def left(self, path: str, given: object) -> None:
        """Asks, and goes away when the run has begun."""
        host, port = self.base.removeprefix("http://").split(":")
        body = json.dumps(given)
        head = f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        with closing(socket.create_connection((host, int(port)))) as client:
            client.sendall(f"{head}\r\n\r\n{body}".encode())
            until(lambda: self.ask("/health").body["runs"] == 1)

    def ended(self, number: signal.Signals) -> int:
        """Kills all its processes, or tells the first one to end."""
        if number is signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(100)

    def listens(self) -> bool:
        """Whether one of its processes has begun to; the first one only tells where."""
        with suppress(URLError):
            return self.ask("/health").status == 200
        return False

    def workers(self, number: int) -> set[int]:
        """The ids of so many processes."""
        found = set[int]()
        until(lambda: found.add(self.ask("/health").body["process"]) or len(found) == number)
        return found


def until(met: Callable[[], bool]) -> None:
    """Looks again and again: what is waited for happens in another process."""
    while not met():
        Event().wait(0.02)


@contextmanager
def running(folder: Path, *options: str, drain_s: float = 60, workers: int = 1) -> Generator[Service]:
    told = ("--port", "0", "--drain", str(drain_s), "--workers", str(workers), *options)
    log = folder / "log"
    with open(log, "w") as writing:
        process = subprocess.Popen(
            [sys.executable, str(SERVICE), *told],
            cwd=folder, env=environment(folder), stderr=writing, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: "running on" in log.read_text() or process.poll() is not None)
        found = re.search(r"running on (http://[\d.:]+)", log.read_text())
        assert found is not None, log.read_text()
        service = Service(process, found[1])
        until(service.listens)
        yield service
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def endpoint(
    folder: Path, latency: str, max_concurrency: int, tokens_per_second: float | None = None
) -> Generator[SimulatorProcess]:
    """A simulated one, which is what the folder is configured for."""
    with start_simulator(latency=latency, tokens_per_second=tokens_per_second) as simulator:
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


@pytest.mark.parametrize("workers", [1, 2])
def test_200_requests_at_once_share_limits_connections_and_journals(workers: int, tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:20", 4) as simulator, running(tmp_path, workers=workers) as service:
        service.workers(workers)
        labels = [partial(service.ask, "/label", {"rows": [f"row {n}", f"unsure {n}"]}) for n in range(100)]
        titles = [partial(service.stream, f"text {n}") for n in range(100)]
        answers = [future.result() for future in at_once([*labels, *titles])]
        assert {answer.status for answer in answers} == {200}
        for n, (label, title) in enumerate(zip(answers[:100], answers[100:], strict=True)):
            assert set(label.body["value"]) == {f"row {n}", f"unsure {n}"}
            assert f"Think again: unsure {n}" in label.body["value"][f"unsure {n}"]
            assert f"text {n}" in title.body["value"]
        counted = calls(simulator)
        assert 4 <= counted.pop("most") <= 4 * workers  # each process has the limit
        assert counted == {"answered": 500, "cut": 0, "now": 0}
        assert simulator.metrics()["apxm_simulator_connections"] <= 4 * workers + 1  # one of them asks for the metrics
        assert len({answer.body["run"] for answer in answers}) == 200
        assert len(list_runs(tmp_path / "jobs/journals")) == len(names(tmp_path, "jobs/done/*.json")) == 200
        assert len(names(tmp_path, "jobs/journals/*.apxmlog")) <= workers
        again = service.ask(f"/runs/{answers[0].body['run']}")
        assert again == answers[0]
        assert calls(simulator)["answered"] == 500  # what it came to was in the journal
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
            service.ask("/label", {"rows": ["too late"]})


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_had_no_time_to_end_goes_on_in_the_next_process(
    number: signal.Signals, workers: int, tmp_path: Path
) -> None:
    with endpoint(tmp_path, "constant:300", 8) as simulator:  # a second or more is left at the signal
        with running(tmp_path, drain_s=0, workers=workers) as service:
            service.workers(workers)
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
        with running(tmp_path, workers=workers) as service:
            for run in runs:
                answer = service.ask(f"/runs/{run.removesuffix('.json')}")
                while answer.status == 409:  # the other process carries it on
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
            failed = service.stream("a text")
            assert failed.status == 502
            assert "could not be reached" in failed.body["error"]
            assert service.ask(f"/runs/{failed.body['run']}").status == 502
        config.write_text(right)
        with running(tmp_path) as service:
            again = service.ask(f"/runs/{failed.body['run']}")
            assert (again.status, "a text" in again.body["value"]) == (200, True)


def test_an_answer_comes_in_parts(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:20", 4, tokens_per_second=100) as simulator, running(tmp_path) as service:
        (first, run_id), *parts, (last, told) = service.events("bees")
        assert (first, last, told["run"]) == ("run", "end", run_id)
        assert {name for name, _ in parts} == {"text"}
        assert len(parts) > 3
        assert "".join(text for _, text in parts) == told["value"]
        assert service.ask(f"/runs/{run_id}").body["value"] == told["value"]
        assert calls(simulator)["answered"] == 2


@pytest.mark.parametrize(("path", "given"), [("/label", {"rows": ["a", "b"]}), ("/write", {"topic": "bees"})])
def test_a_client_that_goes_away_ends_its_calls(path: str, given: dict[str, Any], tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:60000", 64) as simulator, running(tmp_path) as service:
        service.left(path, given)
        until(lambda: service.ask("/health").body["runs"] == 0)
        until(lambda: calls(simulator)["now"] == 0)
        assert calls(simulator)["answered"] == 0
        assert names(tmp_path, "jobs/*/*.json") == []
        assert service.ended(signal.SIGTERM) == 0


def test_a_stream_that_was_cut_off_by_the_end_of_the_service_goes_on(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:2000", 64) as simulator:
        with running(tmp_path, drain_s=0) as service:
            (future,) = at_once([partial(service.stream, "bees")])
            until(lambda: calls(simulator)["answered"] == 1)
            assert service.ended(signal.SIGTERM) == 0
            answer = future.result()
            assert answer.status == 503
        until(lambda: calls(simulator)["now"] == 0)
        before = calls(simulator)["answered"]
        kept = sum(run.operations or 0 for run in list_runs(tmp_path / "jobs/journals"))
        with running(tmp_path) as service:
            again = service.ask(f"/runs/{answer.body['run']}")
            assert (again.status, "bees" in again.body["value"]) == (200, True)
        assert calls(simulator)["answered"] - before == 2 - kept


def test_requests_share_a_budget(tmp_path: Path) -> None:
    with endpoint(tmp_path, "constant:5", 64), running(tmp_path, "--max-total-tokens", "6000") as service:
        answers = [future.result() for future in at_once([partial(service.stream, f"text {n}") for n in range(60)])]
        assert {answer.status for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert "the budget does not cover" in refused.body["error"]
        assert 1000 < service.ask("/health").body["tokens"] <= 6000


def test_what_a_process_of_two_has_left_is_carried_on_by_the_next_one_and_what_the_other_has_is_left_alone(
    tmp_path: Path,
) -> None:
    with (
        endpoint(tmp_path, "constant:1000", 64) as simulator,
        running(tmp_path, workers=2) as service,
    ):
        workers = service.workers(2)
        futures = at_once([partial(service.ask, "/label", {"rows": [f"row {n}"]}) for n in range(40)])
        until(lambda: calls(simulator)["now"] == 40)
        os.kill(min(workers), signal.SIGKILL)
        ended = [future for future in futures if future.exception() is None]
        assert all(future.result().status == 200 for future in ended)
        until(lambda: len(names(tmp_path, "jobs/done/*.json")) == 40)
        assert calls(simulator)["answered"] == 40  # the rest were cut, with their process
        assert calls(simulator)["cut"] == 40 - len(ended)
