"""What only a process of its own has: signals, closed pipes, a terminal, what it loads, how it is started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Start

if sys.platform == "win32":
    pytest.skip("signals and terminals of POSIX", allow_module_level=True)

import termios  # only POSIX has it

SLOW = """\
agent A {
    @entry flow f() -> str {
        print("begun")
        ask("wait") -> x
        return x
    }
    flow many() { print("one") print("two") print("three") }
    flow show(text: str) -> str { print(text) return text }
}
"""
FOREVER = ("--latency", "constant:600000")
ALL = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])


@pytest.fixture(autouse=True)
def slow(tmp_path: Path) -> None:
    (tmp_path / "slow.ais").write_text(SLOW)


@ALL
def test_a_signal_ends_the_run_in_order_and_the_summary_is_still_printed(
    start: Start, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = start("execute", "slow.ais", *FOREVER, "--emit-metrics", "m.json")
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "interrupted"
    assert not list(tmp_path.glob("*.part"))


def test_a_second_signal_ends_the_process_at_once_even_while_the_loop_is_busy() -> None:
    code = (
        "import asyncio, os, signal\n"
        "from apxm.cli.interruption import Interruption\n"
        "class Run:\n    def stop(self, status): print(status)\n"
        "async def main():\n"
        "    with Interruption(Run()):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('still here', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('never here')\n"
        "asyncio.run(main())"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (-signal.SIGTERM, "still here\n")


@pytest.mark.parametrize("while_it", ["runs", "unwinds"])
def test_a_hangup_comes_twice_where_a_terminal_is_closed_and_is_one(while_it: str) -> None:
    code = (
        "import asyncio, os, signal\n"
        "from apxm.cli.interruption import Interruption, signals_as_ctrl_c\n"
        "class Run:\n    def stop(self, status): print(status)\n"
        "async def runs():\n"
        "    with Interruption(Run()) as interruption:\n"
        "        for _ in range(2): os.kill(os.getpid(), signal.SIGHUP)\n"
        "        await asyncio.sleep(0)\n"
        "        print(interruption.signal_number)\n"
        "async def unwinds():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGHUP)\n        await asyncio.sleep(60)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGHUP)\n        print('unwound')\n"
        f"with signals_as_ctrl_c(): asyncio.run({while_it}())"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    expected = (0, "interrupted\n1\n") if while_it == "runs" else (129, "unwound\n")
    assert (result.returncode, result.stdout, result.stderr) == (*expected, "")


# A module that, while it is loaded, says so and then loses every exception: libraries in C and weak references do.
HUNGRY = """\
import os, signal
os.write(1, b"loading\\n")
while True:
    try:
        signal.pause()
    except BaseException:
        pass
"""


@ALL
@pytest.mark.parametrize("module", ["typer", "msgspec", "secrets"])
def test_a_signal_while_the_command_loads_ends_the_process_at_once(
    start: Start, tmp_path: Path, module: str, number: signal.Signals, status: int
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / f"{module}.py").write_text(HUNGRY)
    process = start("execute", "slow.ais", env={**os.environ, "PYTHONPATH": str(modules)})
    try:
        assert process.stdout
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (status, "", "")
    finally:
        process.kill()


@ALL
@pytest.mark.parametrize("command", ["compile -o f.out", "execute --emit-metrics f.out"])
def test_a_signal_while_the_source_is_read_leaves_no_draft_behind(
    start: Start, tmp_path: Path, command: str, number: signal.Signals, status: int
) -> None:
    os.mkfifo(tmp_path / "source")
    process = start(*command.split(), "source")
    with open(tmp_path / "source", "w"):  # waits until it is read
        assert list(tmp_path.glob("f.out.*"))
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (status, "", "")
    assert not list(tmp_path.glob("f.out*"))


@ALL
def test_a_signal_that_comes_in_a_destructor_is_not_lost(number: signal.Signals, status: int) -> None:
    code = (
        "import signal\n"
        "from apxm.cli.interruption import signals_as_ctrl_c\n"
        "class Last:\n"
        f"    def __del__(self): signal.raise_signal({int(number)})\n"
        "with signals_as_ctrl_c():\n"
        "    Last()\n"
        "    print('never here')"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    code = (
        "import asyncio, signal\n"
        f"number = signal.Signals({int(number)})\n"
        "signal.signal(number, signal.SIG_IGN)\n"
        "from apxm.cli.starting import leave_on_signals\n"
        "from apxm.cli.interruption import Interruption, signals_as_ctrl_c\n"
        "from apxm.simulator.lifetime import told_to_end\n"
        "async def main():\n"
        "    with Interruption(None) as interruption: signal.raise_signal(number)\n"
        "    told = told_to_end()\n"
        "    signal.raise_signal(number)\n"
        "    await asyncio.sleep(0)\n"
        "    print(interruption.signal_number, told.done())\n"
        "leave_on_signals()\n"
        "signal.raise_signal(number)\n"
        "with signals_as_ctrl_c():\n"
        "    signal.raise_signal(number)\n"
        "    asyncio.run(main())\n"
        "print('here')"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "0 False\nhere\n", "")


def test_what_nohup_starts_goes_on_after_a_hangup() -> None:
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "apxm", "execute", "slow.ais", *FOREVER],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("command", ["execute f.ais", "analyze f.ais", "run f.apxmobj", "backends", "doctor", "trust"])
def test_a_working_directory_that_was_deleted_is_named(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    process = start(*command.split())
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err == "error: the working directory is gone\nhint: change to one that exists\n"


def test_a_source_can_come_through_a_pipe(start: Start) -> None:
    process = start("execute", "/dev/stdin", "--flow", "many", "--quiet", stdin=subprocess.PIPE)
    out, err = process.communicate(SLOW, timeout=30)
    assert (out, err) == ("one\ntwo\nthree\n", "")


def test_a_reader_that_goes_away_ends_the_run_in_silence(start: Start) -> None:
    process = start("execute", "slow.ais", "--flow", "many", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 141
    assert [line.split(":")[0] for line in err.splitlines()] == ["model"]


class Screen:
    """A process on a terminal, and everything that appeared on it."""

    def __init__(self, start: Start, *arguments: str, columns: int = 0, **options: object) -> None:
        self._controller, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (24, columns))
        self.process = start(*arguments, stdin=terminal, stdout=terminal, stderr=terminal, **options)
        os.close(terminal)
        self.shown = b""

    def until(self, expected: bytes) -> None:
        while expected not in self.shown and self._read():
            pass
        assert expected in self.shown

    def to_the_end(self) -> str:
        while self._read():
            pass
        self.process.wait(timeout=30)
        os.close(self._controller)
        return self.shown.decode()

    def close(self) -> None:
        """The terminal is gone, as where its window is closed."""
        os.close(self._controller)

    def _read(self) -> bool:
        try:
            more = os.read(self._controller, 4096)
        except OSError:  # Linux says so when the other end is closed
            more = b""
        self.shown += more
        return bool(more)


@pytest.fixture
def screen(start: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Screen]:
    monkeypatch.setenv("TERM", "xterm")
    return lambda *arguments, **options: Screen(start, *arguments, **options)


PRICED = """\
[backends.sim]
kind = "simulated"
prices.simulated = { input = 1000.0, output = 1000.0 }
"""


def test_progress_shows_elapsed_time_tokens_and_cost_as_far_as_they_fit(
    screen: Callable[..., Screen], tmp_path: Path
) -> None:
    (tmp_path / "priced.toml").write_text(PRICED)
    (tmp_path / "two.ais").write_text('agent A { @entry flow f() -> str { ask("x") -> a return ask("then", a) } }')
    arguments = ("execute", "two.ais", "--config", "priced.toml", "--latency", "trace:1,600000")
    wide = screen(*arguments, columns=100)
    wide.until(b"; 8 tokens; cost 0.008")
    narrow = screen(*arguments, columns=50)
    narrow.until(b"; 8 tokens\r")
    for session in (wide, narrow):
        session.process.send_signal(signal.SIGINT)
        session.to_the_end()
    assert b"cost" not in narrow.shown


def test_on_a_terminal_progress_is_drawn_and_gone_at_the_end(screen: Callable[..., Screen]) -> None:
    session = screen("execute", "slow.ais", *FOREVER)
    session.until(b"1 done, 1 running, 0 waiting; 0:0")
    session.process.send_signal(signal.SIGINT)
    shown = session.to_the_end()
    last_progress = shown.rindex("waiting; ")
    assert re.match(r"waiting; 0:[0-9]{2}\r\x1b\[Kinterrupted: ", shown[last_progress:])
    assert shown.rstrip().endswith("x); pending: x"), "what was going on is named"
    assert session.process.returncode == 130


def test_a_terminal_that_is_gone_keeps_nothing_from_ending(screen: Callable[..., Screen], tmp_path: Path) -> None:
    session = screen("execute", "slow.ais", *FOREVER, "--emit-metrics", "m.json")
    session.until(b"1 done, 1 running, 0 waiting")
    session.close()
    session.process.send_signal(signal.SIGHUP)
    assert session.process.wait(timeout=30) == 129
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "interrupted"
    assert not list(tmp_path.glob("*.part"))


def test_a_program_that_prints_to_a_terminal_that_is_gone_is_ended(
    screen: Callable[..., Screen], tmp_path: Path
) -> None:
    (tmp_path / "late.ais").write_text(
        'agent A { @entry flow f() { ask("a") -> a print(a) ask(a) -> b print(b) } }', encoding="utf-8"
    )
    session = screen("execute", "late.ais", "--latency", "trace:1000,600000", "--emit-metrics", "m.json")
    session.until(b"0 done, 1 running, 0 waiting")
    session.close()
    assert session.process.wait(timeout=30) == 141
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "interrupted"


def test_the_calls_that_take_longest_stand_below_and_go_as_well(screen: Callable[..., Screen], tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text('agent A { @entry flow f() -> str { ask("x") -> a ask("y") -> b return a + b } }')
    session = screen("execute", "two.ais", *FOREVER, columns=100)
    session.until(b"0 done, 2 running, 0 waiting; 0:01")
    session.until(b"0:01  a  simulated\r\n     0:01  b  simulated\x1b[2A\r\x1b[J")  # three lines, drawn over
    session.process.send_signal(signal.SIGINT)
    shown = session.to_the_end()
    assert "simulated\x1b[2A\r\x1b[Jinterrupted: " in shown


def test_a_signal_asks_what_a_run_is_doing(start: Start, tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text('agent A { @entry flow f() -> str { print("begun") ask("x") -> a return a } }')
    process = start("execute", "two.ais", *FOREVER)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGUSR1)
    lines = iter(process.stderr.readline, "")
    assert "1 done, 1 running, 0 waiting; 0:0" in next(line for line in lines if not line.startswith("model:"))
    assert re.match(r" +0:0[0-9]  a  simulated\n", next(lines))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_progress_never_takes_more_than_a_line(screen: Callable[..., Screen]) -> None:
    session = screen("execute", "slow.ais", *FOREVER, columns=12)
    session.until(b"\r\x1b[K1 done, 1 r\r")
    session.process.send_signal(signal.SIGINT)
    session.to_the_end()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_unless_no_color(
    screen: Callable[..., Screen], monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    shown = screen("execute", "missing.ais").to_the_end()
    assert "error:" in shown
    assert ("\x1b[1;31m" in shown) == (no_color == "")


def test_output_cannot_drive_the_terminal_but_goes_unchanged_into_a_pipe(
    screen: Callable[..., Screen], start: Start
) -> None:
    text = "a\x1b[2Jb\u3000ü"
    shown = screen("execute", "slow.ais", "--flow", "show", text, "--quiet").to_the_end()
    assert shown == "a\\x1b[2Jb\u3000ü\r\n" * 2
    out, _ = start("execute", "slow.ais", "--flow", "show", text, "--quiet").communicate(timeout=30)
    assert out == f"{text}\n" * 2


def test_running_an_artifact_loads_nothing_of_the_compiler(start: Start, tmp_path: Path) -> None:
    start("compile", "slow.ais").communicate(timeout=60)
    code = (
        "import sys\n"
        "sys.argv = ['apxm', 'run', 'slow.apxmobj', '--flow', 'many']\n"
        "from apxm.cli.main import main\n"
        "names = {'lark', 'pyqwest', 'apxm.language', 'apxm.ir', 'apxm.passes', 'apxm.compiler'}\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted(sys.modules.keys() & names))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines() == ["one", "two", "three", "[]"]


def test_the_version_is_answered_without_loading_the_command_line_library() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['apxm', '--version']\n"
        "from apxm.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print('typer' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["apxm 0.1.0", "False"]
