"""``apxm batch --engine ray`` on a cluster of two machines, which are processes here: `make soak` has an environment
with Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from apxm.simulator.process import start_simulator
from tests.batches.working import PROGRAM, Asked

pytestmark = pytest.mark.soak
pytest.importorskip("ray", reason="`make soak` tests it, in an environment of its own")
STORE = 100 << 20


class Machines(NamedTuple):
    address: str
    lose: Callable[[int], None]
    """Kills the one of the two that has this worker, as a power cut would."""
    workers: Callable[[], list[int]]
    """The processes that are workers."""


@pytest.fixture(autouse=True)
def files(empty_directory: Path) -> Iterator[None]:
    """A program, in a folder of the test's own; workers find the tests too."""
    (empty_directory / "label.ais").write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
        yield


@pytest.fixture
def machines(files: None) -> Iterator[Machines]:  # noqa: ARG001  # processes inherit what it sets
    from ray.cluster_utils import Cluster

    def begun(begin: Callable[[], Any]) -> Any:
        """Ray waits 30 s for each of its processes, which is not enough where many others work."""
        for _ in range(3):
            with suppress(Exception):
                return begin()
        return begin()

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    cluster = begun(lambda: Cluster(initialize_head=True, head_node_args=head))
    nodes = [begun(lambda: cluster.add_node(num_cpus=1, object_store_memory=STORE)) for _ in range(2)]

    def raylet(node: Any) -> int:
        return node.all_processes["raylet"][0].process.pid

    def parent(pid: int | str) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def lose(pid: int) -> None:
        (node,) = (node for node in nodes if raylet(node) == parent(pid))
        cluster.remove_node(node, allow_graceful=False)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def workers() -> list[int]:
        raylets, found = set(map(raylet, nodes)), list[int]()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                named = (process / "cmdline").read_bytes().startswith(b"ray::Actor")
                if named and parent(process.name) in raylets:
                    found.append(int(process.name))
        return found

    yield Machines(cluster.address, lose, workers)
    cluster.shutdown()


class Command:
    def __init__(self, endpoint: str, *options: str, rows: int, file: str = "label.ais", **settings: object) -> None:
        said = {"kind": "openai", "model": "m", "endpoint": endpoint, "api_key": "env:SOME_KEY", **settings}
        Path("c.toml").write_text("[backends.b]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in said.items()))
        Path("in.jsonl").write_text("".join(json.dumps({"text": f"<row {k}>"}) + "\n" for k in range(rows)))
        self._command = [
            sys.executable, "-m", "apxm", "batch", file, "--input", "in.jsonl", "--output", "out.jsonl",
            "--config", "c.toml", "--engine", "ray", *options,
        ]  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        environment = {**os.environ, "SOME_KEY": "secret"}
        return subprocess.Popen([*self._command, *more], stdout=pipe, stderr=pipe, text=True, env=environment)

    def run(self, *more: str) -> str:
        process = self.start(*more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        return err


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def firsts(server: Asked) -> list[str]:
    return [prompt for prompt in server.prompts if "Label it." in prompt]


def test_limits_hold_for_all_workers_together(machines: Machines) -> None:
    with start_simulator(latency="constant:100") as simulator:
        command = Command(simulator.endpoint, "--address", machines.address, rows=60, max_concurrency=7)
        assert "60 done; 120 calls" in command.run("--ordered")
        assert simulator.metrics()["apxm_simulator_in_flight_max"] == 7
    assert [line["line"] for line in lines()] == list(range(1, 61))


def test_requests_a_minute_are_those_of_all_workers_together(machines: Machines) -> None:
    with Asked(0.05) as server:
        command = Command(server.endpoint, "--address", machines.address, rows=15, requests_per_minute=20)
        command.run()
    assert len(server.at) == 30
    assert all(other - one >= 60 for one, other in zip(server.at, server.at[20:], strict=False))


@pytest.mark.parametrize("what", ["worker", "machine"])
def test_a_worker_is_lost_in_the_middle(machines: Machines, what: str) -> None:
    with Asked(holds="Sure?") as server:
        options = ("--address", machines.address, "--max-concurrency", "12", "--workers", "1")
        process = Command(server.endpoint, *options, rows=30).start()
        server.wait_for(24)  # twelve inputs have their first answer each, and wait for the second
        (pid,) = machines.workers()
        if what == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            machines.lose(pid)
        server.wait_for(36)  # another worker asks again what was in flight
        server.go_on.set()
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "a worker is lost" in err
    assert "; the 12 inputs that it had are done elsewhere" in err
    assert sorted(line["line"] for line in lines()) == list(range(1, 31))
    assert all(f"<row {line['line'] - 1}>" in line["value"] for line in lines())
    assert len(firsts(server)) == len(set(firsts(server))) == 30  # what was answered was paid once
    assert len(server.prompts) == 30 + 30 + 12


def test_the_driver_is_killed_and_started_again(machines: Machines) -> None:
    with Asked(0.02) as server:
        command = Command(server.endpoint, "--address", machines.address, "--max-concurrency", "8", rows=60)
        for _ in range(2):
            process = command.start()
            server.wait_for(len(server.asked) + 30)
            process.kill()
            process.communicate()
        done = {line["line"] for line in lines()}
        asked = len(server.asked) + 8
        assert "were done before" in command.run()
    assert not done & {int(mark[5:-1]) + 1 for mark in server.asked[asked:]}
    assert sorted(line["line"] for line in lines()) == list(range(1, 61))
    assert len(server.prompts) <= 120 + 2 * 8


FLOW = """
from helping import doubled
from apxm import ask, flow

@flow
def label(text: str) -> str:
    return doubled(ask("Label it.", text))
"""


def test_a_flow_of_python_on_a_cluster_that_begins_here() -> None:
    Path("flows.py").write_text(FLOW)
    Path("helping.py").write_text("def doubled(text: str) -> str:\n    return text + text\n")
    with Asked(0.02) as server:
        err = Command(server.endpoint, "--workers", "2", rows=20, file="flows.py").run()
    assert "20 done; 20 calls" in err
    assert all(line["value"].count(f"<row {line['line'] - 1}>") == 2 for line in lines())


def test_a_worker_that_cannot_begin_is_told_of(machines: Machines) -> None:
    Path("flows.py").write_text(f"import os\nassert 'RAY_RAYLET_PID' not in os.environ, 'not here'\n{FLOW}")
    Path("helping.py").write_text("doubled = str.upper\n")
    with Asked() as server:
        process = Command(server.endpoint, "--address", machines.address, rows=3, file="flows.py").start()
        _, err = process.communicate(timeout=300)
    assert (process.returncode, "it cannot be imported: AssertionError: not here" in err) == (1, True), err
    assert server.asked == []


def test_a_cluster_that_is_not_there() -> None:
    process = Command("http://127.0.0.1:9/v1", "--address", "127.0.0.1:9", rows=3).start()
    _, err = process.communicate(timeout=300)
    assert (process.returncode, "the Ray cluster cannot be reached" in err) == (2, True), err
