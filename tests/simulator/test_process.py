"""The command as a process: what it prints, how it ends, and that it never outlives who started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from apxm.errors import ApxmError, UsageError
from apxm.simulator.process import start_simulator

TIMEOUT_S = 60
"""Ends a test that hangs; no test waits for it."""
APXM = [sys.executable, "-m", "apxm"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@contextmanager
def running(*arguments: str) -> Generator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([*APXM, "simulator", *arguments], stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def health(endpoint: str) -> dict[str, str]:
    with urlopen(endpoint.removesuffix("/v1") + "/health", timeout=TIMEOUT_S) as answer:
        return json.load(answer)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_a_call_in_flight(number: signal.Signals, status: int) -> None:
    with running("--latency", "constant:600000") as process:
        endpoint = first_line(process).strip()
        with socket.create_connection(("127.0.0.1", int(endpoint.removesuffix("/v1").rpartition(":")[2]))) as client:
            client.settimeout(TIMEOUT_S)
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 48\r\n\r\n"
                b'{"messages": [{"role": "user", "content": "x"}]}'
            )
            while b"in_flight 1\n" not in urlopen(endpoint.removesuffix("/v1") + "/metrics").read():
                pass
            process.send_signal(number)
            assert client.recv(1) == b""
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == status
        assert out == ""
        assert "Traceback" not in err


@pytest.mark.parametrize("stdin", ["file", "nothing", "closed"])
def test_the_end_of_its_input_ends_it_where_it_was_asked_to(stdin: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("some text")
    (tmp_path / "nothing").touch()
    redirection = "<&-" if stdin == "closed" else f"<{tmp_path / stdin}"
    command = f"exec {sys.executable} -m apxm simulator --stop-with-input --quiet {redirection}"
    ended = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_it_says_where_it_is_and_how_to_try_it() -> None:
    with running("--seed", "7", "--latency", "lognormal:1,0.5", "--faults", "429:0.1") as process:
        endpoint = first_line(process).strip()
        description = health(endpoint)["description"]
        assert description.endswith("latency lognormal:1,0.5, slowdown none, seed 7, faults 429:0.1")
        process.terminate()
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert description in err
    curl = next(line for line in err.splitlines() if "curl" in line)
    assert f"{endpoint}/chat/completions" in curl
    assert f"OPENAI_BASE_URL={endpoint}" in err


def test_json_is_one_line_for_programs() -> None:
    with running("--json", "--quiet") as process:
        said = json.loads(first_line(process))
        assert said["endpoint"] == f"http://127.0.0.1:{said['port']}/v1"
        assert health(said["endpoint"])["status"] == "ok"
        process.terminate()
        assert process.communicate(timeout=TIMEOUT_S) == ("", "")


def test_an_address_that_other_machines_can_reach_is_noticed() -> None:
    with running("--host", "0.0.0.0", "--quiet") as process:
        assert first_line(process).startswith("http://127.0.0.1:")
        process.terminate()
        assert "warning: other machines can reach" in process.communicate(timeout=TIMEOUT_S)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--latency", "quick"], "latency 'quick': expected constant:MS"),
        (["--slowdown", "much"], "slowdown 'much': expected none"),
        (["--faults", "often"], "faults 'often': found 'often', expected none or KIND:PROBABILITY"),
        (["--tokens-per-second", "0"], "0 tokens per second"),
        (["--tokens-per-second", "nan"], "nan tokens per second"),
        (["--port", "65536"], "'--port'"),
        (["--host", "nowhere.invalid"], "cannot listen on nowhere.invalid"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], said: str) -> None:
    with running(*arguments) as process:
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_port_in_use_is_a_usage_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("--port", str(port)) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (2, "")
    assert f"cannot listen on 127.0.0.1, port {port}: something else listens there" in err
    assert "--port 0" in err


# --- start_simulator -----------------------------------------------------------------------------------------------


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_lasts_as_long_as_the_block() -> None:
    with start_simulator(latency="constant:0") as simulator:
        assert health(simulator.endpoint)["status"] == "ok"
        simulator.begin_iteration(3)
        assert simulator.metrics()['apxm_simulator_requests_total{status="200"}'] == 2
    assert not is_listening(simulator.port)


def test_an_exception_ends_it() -> None:
    with pytest.raises(KeyboardInterrupt), start_simulator() as simulator:
        raise KeyboardInterrupt
    assert not is_listening(simulator.port)


def test_options_that_make_no_sense_start_nothing() -> None:
    with pytest.raises(UsageError, match="latency 'quick'"), start_simulator(latency="quick"):
        pytest.fail("it has started")


def test_a_process_that_dies_at_once_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, sys; os.write(2, b'no luck today'); os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ApxmError, match="ended with status 7: no luck today"), start_simulator():
        pytest.fail("it has started")


def kill_and_use() -> None:
    with start_simulator() as simulator:
        os.kill(simulator.pid, signal.SIGKILL)
        while True:
            simulator.metrics()


def test_a_process_that_dies_later_is_named_as_the_cause() -> None:
    with pytest.raises(ApxmError, match="the simulator ended with status -9") as died:
        kill_and_use()
    assert isinstance(died.value.__context__, OSError)


def test_a_module_in_the_working_directory_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "apxm.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with start_simulator() as simulator:
        assert is_listening(simulator.port)


# It waits in turns: a signal that arrives just before a read that blocks is raised only behind the read.
OWNER = """
import select, sys
from apxm.simulator.process import start_simulator
with start_simulator(latency="constant:600000") as simulator:
    try:
        print(simulator.port, flush=True)
        while not select.select([sys.stdin], [], [], 0.05)[0]:
            pass
    except KeyboardInterrupt:
        print(simulator.metrics()["apxm_simulator_in_flight"], flush=True)
        raise
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(number: signal.Signals) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=pipe, stdout=pipe) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        # Its own connection tells when it is gone.
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(TIMEOUT_S)
            owner.send_signal(number)
            assert client.recv(1) == b""
    while is_listening(port):
        pass


def test_ctrl_c_reaches_it_only_after_whoever_uses_it() -> None:
    pipe = subprocess.PIPE
    # Ctrl-C in a terminal is a signal to the whole process group.
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=pipe, stdout=pipe, stderr=pipe, process_group=0
    ) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == b"0.0\n", "it still answered"
        owner.communicate(timeout=TIMEOUT_S)
    assert not is_listening(port)
