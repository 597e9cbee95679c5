"""Standard output: whole, in the encoding that was asked for, or the exit status says so."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.main import get_command

from apxm.cli.app import application
from tests.cli.conftest import Apxm, Ended

if sys.platform == "win32":
    pytest.skip("pipes and devices of POSIX", allow_module_level=True)

SCRIPT = """from apxm import ask, each, flow

@flow
def größe(wörter: list[str]) -> list[str]:
    return [ask(f"Länge: {wort}") for wort in each(wörter)]
"""
SOURCE = """\
agent A {
    @entry flow f() -> str { print("café — 😀") return ask("né") }
    flow show(text: str) -> str { print(text) return text }
}
"""
WRONG = 'agent A { @entry flow f() -> str { return ask("x") é } }'
INSTANT = ("--latency", "constant:1")
ENCODINGS = ["ascii", "cp1252", "latin-1", "utf-8", "utf-8-sig", "utf-16", "shift_jis"]
COMMANDS = [
    ("--version",), ("--help",), ("execute", "--help"), ("runs", "--help"), ("ops",), ("ops", "ask", "--json"),
    ("doctor",), ("backends",), ("execute", "é.ais", *INSTANT), ("execute", "é.ais", "--json", *INSTANT),
    ("check", "wrong.ais", "--json"), ("compile", "é.ais", "--emit-ir"), ("analyze", "é.ais"), ("workloads", "list"),
    ("simulator", "--port", "0"),
]  # fmt: skip
IDS = [" ".join(command) for command in COMMANDS]


@pytest.fixture(autouse=True)
def sources(tmp_path: Path) -> None:
    (tmp_path / "é.ais").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "é.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "wrong.ais").write_text(WRONG, encoding="utf-8")


def ended(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    streams: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-m", "apxm", *arguments]
    return subprocess.run(command, check=False, timeout=60, **streams)  # type: ignore[call-overload]


def only_error(err: str) -> str:
    """The error, where nothing but it and what a run always says was said."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith(("error:", "hint:"))]
    return line


@pytest.fixture
def through_a_narrow_pipe() -> Callable[..., tuple[int, bytes]]:
    """Runs the command on a pipe that does not block, and takes a page at a time."""
    read, written = os.pipe()
    os.set_blocking(written, False)
    before = b"before\n" * 300
    os.write(written, before)
    fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)

    def run(*arguments: str, **variables: str) -> tuple[int, bytes]:
        command = [sys.executable, "-m", "apxm", *arguments]
        with subprocess.Popen(command, stdout=written, env={**os.environ, **variables}) as process:
            os.close(written)
            with open(read, "rb") as pipe:
                found = pipe.read()
        return process.returncode, found.removeprefix(before)

    return run


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_a_pipe_does_not_take_at_once_is_not_lost(
    through_a_narrow_pipe: Callable[..., tuple[int, bytes]], unbuffered: str
) -> None:
    text = "é" * 50_000
    status, out = through_a_narrow_pipe(
        "execute", "é.ais", "--flow", "show", text, "--quiet", PYTHONUNBUFFERED=unbuffered, PYTHONUTF8="1"
    )
    assert (status, out.decode()) == (0, f"{text}\n" * 2)


@pytest.mark.parametrize("command", [("ops", "--markdown"), ("execute", "--help")])
def test_nor_is_what_other_commands_show(
    through_a_narrow_pipe: Callable[..., tuple[int, bytes]], command: tuple[str, ...]
) -> None:
    whole = ended(*command).stdout
    assert len(whole) > 2_000
    assert through_a_narrow_pipe(*command, PYTHONUNBUFFERED="1") == (0, whole)


Onto = Callable[..., Ended]


@pytest.fixture
def onto(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> Onto:
    """Runs the command in this process, its standard output a descriptor."""

    def run(descriptor: int, *arguments: str) -> Ended:
        with io.TextIOWrapper(io.FileIO(descriptor, "wb"), "utf-8") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            return apxm(*arguments)

    return run


Encoded = Callable[..., tuple[int, bytes]]


@pytest.fixture
def encoded(apxm: Apxm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Encoded:
    """Runs the command in this process, its standard output a file in this encoding."""

    def run(encoding: str, *arguments: str) -> tuple[int, bytes]:
        with io.TextIOWrapper(io.FileIO(tmp_path / "out", "wb"), encoding) as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            status = apxm(*arguments).status
        return status, (tmp_path / "out").read_bytes()

    return run


def _nobody_reads() -> int:
    read, written = os.pipe()
    os.close(read)
    return written


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_reader_that_is_gone_ends_every_command_in_silence(onto: Onto, command: tuple[str, ...]) -> None:
    result = onto(_nobody_reads(), *command)
    said = [line for line in result.err.splitlines() if not line.startswith(("model:", "warning:"))]
    assert (result.status, said) == (141, [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_full_disk_behind_standard_output_is_named(onto: Onto, command: tuple[str, ...]) -> None:
    result = onto(os.open("/dev/full", os.O_WRONLY), *command)
    assert result.status == 1
    assert only_error(result.err) == "error: standard output cannot be written: No space left on device"


@pytest.mark.parametrize("command", [("--version",), ("execute", "é.ais", *INSTANT)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_end_of_the_process_adds_nothing_to_that(command: tuple[str, ...], unbuffered: str) -> None:
    written = _nobody_reads()
    result = ended(*command, stdout=written, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    os.close(written)
    said = [line for line in result.stderr.splitlines() if not line.startswith(b"model:")]
    assert (result.returncode, said) == (141, [])


@pytest.mark.parametrize("command", [("--version",), ("ops", "--json"), ("execute", "é.ais", *INSTANT)])
def test_a_standard_output_that_is_closed_is_named(command: tuple[str, ...]) -> None:
    result = _closed(">&-", *command)
    assert result.returncode == 1
    assert only_error(result.stderr.decode()) == "error: standard output cannot be written: Bad file descriptor"


def _closed(redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    script = f'exec "$@" {redirection}'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "apxm", *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60)


def test_a_closed_standard_output_keeps_nobody_from_what_needs_none(tmp_path: Path) -> None:
    assert _closed(">&-", "compile", "é.ais", "-o", "a.apxmobj").returncode == 0
    assert (tmp_path / "a.apxmobj").read_bytes()


@pytest.mark.parametrize(
    ("redirection", "command", "status"),
    [
        ("<&- 2>&-", ("execute", "é.ais", *INSTANT), 0),
        ("2>/dev/full", ("execute", "é.ais", *INSTANT), 0),
        ("2>&-", ("execute", "no.ais"), 2),
        ("2>/dev/full", ("execute",), 2),
    ],
)  # fmt: skip
def test_a_standard_error_that_cannot_be_written_changes_nothing_else(
    redirection: str, command: tuple[str, ...], status: int
) -> None:
    result = _closed(redirection, *command)
    assert (result.returncode, result.stderr) == (status, b"")
    assert result.stdout.startswith("café".encode() if status == 0 else b"")


def test_a_disk_that_fills_during_a_run_loses_no_metrics(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        result = ended("execute", "é.ais", "--emit-metrics", "m.json", *INSTANT, stdout=full)
    assert result.returncode == 1
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "interrupted"
    assert b"\ninterrupted: " in result.stderr


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_that_an_encoding_lacks_is_escaped(encoded: Encoded, encoding: str) -> None:
    status, out = encoded(encoding, "execute", "é.ais", *INSTANT)
    printed, answer = out.decode(encoding).splitlines()
    expected = "café — 😀".encode(encoding.removesuffix("-sig"), "backslashreplace").decode(encoding)
    assert (status, printed) == (0, expected)
    assert answer.startswith("Simulated answer ")


# --- JSON ----------------------------------------------------------------------------------------------------------

JSON = {
    "execute": ("é.ais", *INSTANT),
    "run": ("é.apxmobj", *INSTANT),
    "batch": ("é.ais", "--input", "é.jsonl", "--output", "ö.jsonl", *INSTANT),
    "check": ("é.ais", "wrong.ais", "fehlt-ü.ais"),
    "test": ("é.ais", "wrong.ais", "fehlt-ü.ais"),
    "inspect": ("é.apxmobj",),
    "analyze": ("é.ais",),
    "explain": ("é.py",),
    "graph": ("é.ais",),
    "simulate": ("é.ais", "--runs", "1"),
    "calibrate": ("--backend", "ü", "--config", "é.toml", "--calls", "2", "--c", "1", "-o", "p.json"),
    "ops": (),
    "backends": ("--config", "é.toml"),
    "backends list": ("--config", "é.toml"),
    "backends test": ("ü", "--config", "é.toml"),
    "tools": ("--config", "é.toml"),
    "tools list": ("--config", "é.toml"),
    "tools call": ("ü", "--arg", "é=ä", "--config", "é.toml"),
    "tools check": ("é.ais", "--config", "é.toml"),
    "doctor": ("--config", "é.toml"),
    "workloads list": (),
    "workloads check": (),
    "runs prune": ("--journal-dir", ".", "--dry-run"),
    "runs limit": (),
    "runs list": ("--journal-dir", "."),
    "runs show": ("last", "--journal-dir", "."),
    "resume": ("last", "--journal-dir", "."),
    "workloads run": ("4", "--n", "1", "--iterations", "1", "--warmup", "0", "--apxm-only", *INSTANT),
    "simulator": (),
}
"""Arguments for every command that has --json, with something in them that ASCII lacks wherever they can show any."""
ENDLESS = {"simulator"}


def with_json() -> set[str]:
    """The commands that have --json."""
    found: set[str] = set()

    def visit(command: object, *names: str) -> None:
        if any("--json" in parameter.opts for parameter in command.params):  # type: ignore[attr-defined]
            found.add(" ".join(names))
        for name, below in cast("dict[str, object]", getattr(command, "commands", {})).items():
            visit(below, *names, name)

    visit(get_command(cast(typer.Typer, application())))
    return found


def test_every_command_with_json_is_tried_here() -> None:
    assert with_json() == set(JSON)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_json_is_json_whatever_the_encoding(apxm: Apxm, encoded: Encoded, tmp_path: Path, encoding: str) -> None:
    configuration = '[backends."ü"]\nkind = "simulated"\n[tools."ü"]\ncommand = ["cat"]\n'
    (tmp_path / "é.toml").write_text(configuration, encoding="utf-8")
    (tmp_path / "é.jsonl").write_text('{"é": 1}', encoding="utf-8")
    assert apxm("compile", "é.ais", "-o", "é.apxmobj").status == 0
    assert apxm("execute", "é.ais", "--journal", "--journal-dir", ".", "--timeout", "0.001").status == 4
    for command, arguments in JSON.items():
        if command in ENDLESS:
            continue
        _, out = encoded(encoding, *command.split(), *arguments, "--json")
        found = json.loads(out)
        assert json.loads(out.decode(encoding)) == found
        if command in ("execute", "resume"):
            assert found["printed"] == ["café — 😀"]
        if command == "backends":
            assert found[1]["name"] == "ü"


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-16"])
def test_json_of_a_process_is_json(encoding: str) -> None:
    result = ended("check", "wrong.ais", "--json", env={**os.environ, "PYTHONIOENCODING": encoding})
    (diagnostic,) = json.loads(result.stdout)["diagnostics"]
    assert "é" in diagnostic["message"]


def test_json_on_a_terminal_is_json() -> None:
    controller, terminal = os.openpty()
    result = ended(
        *("execute", "é.ais", "--flow", "show", "\x7f\x9b\u202e", "--json", "--quiet"), stdout=terminal, stdin=terminal
    )
    os.close(terminal)
    shown = b""
    while b"\n}" not in shown:
        shown += os.read(controller, 65536)
    os.close(controller)
    assert result.returncode == 0
    assert json.loads(shown.decode())["result"] == "\x7f\x9b\u202e"
    assert b"\x7f" not in shown
