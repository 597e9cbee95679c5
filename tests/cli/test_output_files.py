"""Files of ``-o`` and ``--emit-…``: in the right place, beside what goes to standard output, and refused in time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm
from tests.servers import Server, completion

SOURCE = "agent A { @entry flow f(text: str) -> str { return ask(text) } }"
RUN = ("execute", "a.ais", "hello", "--latency", "constant:1")


@pytest.fixture(autouse=True)
def source(tmp_path: Path) -> None:
    (tmp_path / "a.ais").write_text(SOURCE)


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command, which is `$@` in the script."""
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "apxm", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


if sys.platform == "win32":
    pytest.skip("descriptors that are files", allow_module_level=True)


@pytest.mark.parametrize("stdout", ["/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize(
    ("script", "before"), [('"$@" > out', ""), ('"$@" >> out', "yesterday\n"), ('"$@" | cat > out', "")]
)
def test_the_metrics_follow_the_result_on_standard_output(
    tmp_path: Path, stdout: str, script: str, before: str
) -> None:
    (tmp_path / "out").write_text("yesterday\n")
    assert shell(script, *RUN, "--emit-metrics", stdout).returncode == 0
    shown = (tmp_path / "out").read_text()
    assert shown.startswith(before + "Simulated answer ")
    result, _, metrics = shown.removeprefix(before).partition("\n")
    assert result.endswith(": hello")
    assert json.loads(metrics)["execution"]["status"] == "succeeded"


def test_and_what_is_said_on_standard_error(tmp_path: Path) -> None:
    assert shell('"$@" 2> err', *RUN, "--emit-metrics", "/dev/stderr").returncode == 0
    first, *lines, last = (tmp_path / "err").read_text().splitlines()
    assert first.startswith("model: ")
    assert json.loads("".join(lines))["execution"]["status"] == "succeeded"
    assert last.startswith("succeeded: ")


def test_an_artifact_goes_where_a_shell_says(tmp_path: Path) -> None:
    assert shell('"$@" 3> a.apxmobj', "compile", "a.ais", "-o", "/dev/fd/3").returncode == 0
    assert shell('"$@" > b.apxmobj', "compile", "a.ais", "-o", "/dev/stdout").returncode == 0
    assert shell('"$@" > >(cat > c.apxmobj)', "compile", "a.ais", "-o", "/dev/stdout").returncode == 0
    assert (tmp_path / "a.apxmobj").read_bytes() == (tmp_path / "b.apxmobj").read_bytes() != b""


def test_nobody_who_reads_the_metrics_is_nobody_who_reads() -> None:
    result = shell('"$@" | head -1; exit ${PIPESTATUS[0]}', *RUN, "--emit-metrics", "/dev/stdout")
    assert result.returncode in (0, 141)  # `head` may be slow enough to be given all
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "apxm", *RUN, "--quiet", "--emit-metrics", "/dev/stdout"]
    gone = subprocess.run(command, check=False, stdout=written, stderr=subprocess.PIPE, timeout=60)
    os.close(written)
    assert (gone.returncode, gone.stderr) == (141, b"")


@pytest.mark.parametrize(
    "options",
    [
        ("--emit-metrics", "no/m.json"),
        ("--emit-metrics", "/dev/fd/77"),
        ("--emit-metrics", "m/"),
        ("--emit-metrics", "socket"),
    ],
)
def test_a_place_that_cannot_be_written_costs_nothing(tmp_path: Path, options: tuple[str, str]) -> None:
    import socket

    async def main() -> None:
        async with Server(completion("Got it.")) as server:
            (tmp_path / "c.toml").write_text(
                f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
            )
            command = ("-m", "apxm", "execute", "a.ais", "hello", "--config", "c.toml", *options)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            out, err = await process.communicate()
            assert (process.returncode, out) == (2, b"")
            assert err.startswith(f"error: cannot write {options[1]}: ".encode())
            assert server.connections == 0

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*RUN, "--emit-metrics", "second.ais"), "--emit-metrics second.ais is the input itself"),
        (
            (*RUN, "--emit-metrics", "one", "--emit-diagnostics", "two"),
            "--emit-diagnostics two is the file of --emit-m",
        ),
        (
            (*RUN, "--emit-metrics", "new", "--emit-diagnostics", "link"),
            "--emit-diagnostics link is the file of --emit",
        ),
        (
            (*RUN, "--config", "c.toml", "--emit-metrics", "./c.toml"),
            "--emit-metrics ./c.toml is the file of --config ",
        ),
        (("resume", "last", "--config", "c.toml", "--emit-metrics", "c.toml"), "is the file of --config itself"),
        (("calibrate", "--config", "c.toml", "-o", "c.toml"), "-o c.toml is the file of --config itself"),
        (("workloads", "run", "4", "-o", "x.svg", "--plot", "x.svg"), "--plot x.svg is the file of -o itself"),
    ],
)
def test_no_file_is_written_twice_or_over_what_is_read(
    apxm: Apxm, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "second.ais").hardlink_to(tmp_path / "a.ais")
    (tmp_path / "one").write_text("")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    (tmp_path / "link").symlink_to("new")
    (tmp_path / "c.toml").write_text('[backends.b]\nkind = "simulated"\n')
    ended = apxm(*arguments)
    assert ended.status == 2
    assert message in ended.err
    assert (tmp_path / "a.ais").read_text() == SOURCE


@pytest.mark.parametrize(("script", "name"), [('"$@" > m', "standard output"), ('"$@" 2> m', "standard error")])
def test_the_file_that_a_stream_goes_to_is_not_replaced(tmp_path: Path, script: str, name: str) -> None:
    result = shell(script, *RUN, "--emit-metrics", "m")
    assert result.returncode == 2
    said = result.stderr + (tmp_path / "m").read_text()
    assert said == f"error: --emit-metrics m is {name} itself: name another file\n"


def test_nothing_that_a_command_reads_is_written_over(apxm: Apxm, tmp_path: Path) -> None:
    """Found where it is, without an option that names it: the configuration, a run's program and its journal."""
    config = tmp_path / ".apxm/config.toml"
    config.parent.mkdir()
    config.write_text('[backends.dry]\nkind = "simulated"\nlatency = "constant:1"\n')
    assert apxm("execute", "a.ais", "hello", "--journal", "--journal-dir", "runs").status == 0
    [journal] = (tmp_path / "runs").glob("*.apxmlog")
    link = tmp_path / "link.json"
    link.symlink_to(config)
    kept = {path: path.read_bytes() for path in (config, tmp_path / "a.ais")}
    begun = journal.read_bytes()
    resume = ("resume", "last", "--journal-dir", "runs", "--emit-metrics")
    for arguments, what in (
        ((*RUN, "--emit-metrics", ".apxm/config.toml"), "the configuration itself"),
        ((*RUN, "--emit-metrics", "link.json"), "the configuration itself"),
        (("compile", "a.ais", "-o", ".apxm/config.toml"), "the configuration itself"),
        (("compile", "a.ais", "--emit-diagnostics", ".apxm/config.toml"), "the configuration itself"),
        (("calibrate", "-o", ".apxm/config.toml"), "the configuration itself"),
        ((*resume, ".apxm/config.toml"), "the configuration itself"),
        ((*resume, "a.ais"), "the run's program itself"),
        ((*resume, str(journal)), "the run's journal itself"),
    ):
        ended = apxm(*arguments)
        assert (ended.status, ended.out) == (2, ""), arguments
        assert what in ended.err
        assert {path: path.read_bytes() for path in kept} == kept
        assert journal.read_bytes().startswith(begun)
