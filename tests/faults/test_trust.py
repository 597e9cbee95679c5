"""A folder that was cloned from a stranger, and names an endpoint of theirs with the user's key, gets no request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import apxm
from apxm.journal.journal import Journal
from apxm.journal.rows import header_of
from apxm.operations.types import Value
from tests.servers import Server, as_json, completion

SOURCE = 'agent A { @entry flow f() -> str { return ask("a prompt of the user") } }'
CONFIGURATION = """\
[backends.{name}]
kind = "openai"
model = "m"
endpoint = "{endpoint}"
api_key = "env:OPENAI_API_KEY"
"""
RUN = "20260131-235959-k3vd"
COMMANDS = {
    "execute": ("execute", "a.ais"),
    "execute in a folder below": ("execute", "../a.ais"),
    "run": ("run", "a.apxmobj"),
    "a backend that is named": ("execute", "a.ais", "--backend", "theirs"),
    "resume": ("resume", "last", "--journal-dir", "runs"),
    "backends": ("backends",),
    "backends test": ("backends", "test", "theirs"),
    "doctor": ("doctor",),
    "check": ("check", "a.ais"),
    "analyze": ("analyze", "a.ais"),
    "simulate": ("simulate", "a.ais"),
    "calibrate": ("calibrate", "--backend", "theirs", "--yes", "-o", "profile.json"),
    "workloads": ("workloads", "run", "4", "--backend", "theirs", "--yes", "--n", "2", "--apxm-only"),
}
WITHOUT_CALLS = {"backends", "doctor", "check", "analyze", "simulate"}


def clone(folder: Path, configuration: str) -> None:
    (folder / "below").mkdir(parents=True)
    (folder / "a.ais").write_text(SOURCE)
    apxm.save(apxm.compile_text(SOURCE), folder / "a.apxmobj")
    (folder / ".apxm").mkdir()
    (folder / ".apxm/config.toml").write_text(configuration)
    (folder / "theirs.toml").write_text(configuration)


def journal(folder: Path, options: dict[str, Value]) -> None:
    """One in the clone, as a stranger may write it."""
    (folder / "runs").mkdir()
    header = header_of(
        apxm.compile_text(SOURCE),
        apxm="0.1.0",
        run_id=RUN,
        started=time.time(),
        path="nowhere.ais",
        kind="source",
        flow="A.f",
        inputs=(),
        options=options,
    )
    with closing(Journal.create(folder / "runs", header)):
        pass


async def ended(folder: Path, home: Path, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "apxm", *arguments),
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("APXM", "OPENAI", "XDG"))},
            "HOME": str(home),
            "OPENAI_API_KEY": "sk-of-the-user",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"sk-of-the-user" not in out + err
    return process.returncode, err.decode()


@pytest.mark.parametrize("name", ["theirs", "openai"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_cloned_folder_gets_no_request(tmp_path: Path, command: str, name: str) -> None:
    folder, home = tmp_path / "clone", tmp_path / "home"

    async def main() -> None:
        async with Server(completion("Got it.")) as server:
            clone(folder, CONFIGURATION.format(name=name, endpoint=server.endpoint))
            if command == "resume":
                journal(folder, {"directory": str(folder)})
            arguments = [name if argument == "theirs" else argument for argument in COMMANDS[command]]
            where = folder / "below" if "below" in command else folder
            status, err = await ended(where, home, *arguments)
            assert server.connections == 0
            assert status == (0 if command in WITHOUT_CALLS else 2), err
            if status:
                assert "apxm trust" in err

    asyncio.run(main())


@pytest.mark.parametrize("file", ["theirs.toml", "./.apxm/config.toml"])
def test_a_journal_that_was_cloned_cannot_say_what_the_user_chose(tmp_path: Path, file: str) -> None:
    folder, home = tmp_path / "clone", tmp_path / "home"

    async def main() -> None:
        async with Server(completion("Got it.")) as server:
            clone(folder, CONFIGURATION.format(name="theirs", endpoint=server.endpoint))
            journal(folder, {"file": file, "scope": "--config"})
            resume = ("resume", "last", "--journal-dir", "runs")
            status, err = await ended(folder, home, *resume)
            assert server.connections == 0
            assert status == 2
            assert f"would send prompts to {server.endpoint}, with the value of OPENAI_API_KEY" in err
            assert "name it yourself with --config" in err
            status, err = await ended(folder, home, *resume, "--config", "theirs.toml")
            assert (status, len(server.received)) == (0, 1), err

    asyncio.run(main())


def test_a_project_of_the_users_that_a_stranger_writes_into_gets_no_request(tmp_path: Path) -> None:
    """What git, tar or a synchronized folder may do to a file that `apxm init` wrote, and that is trusted."""
    folder, home = tmp_path / "project", tmp_path / "home"

    async def main() -> None:
        async with Server(as_json({"data": [{"id": "m"}]})) as mine, Server(completion("Got it.")) as theirs:
            folder.mkdir()
            (folder / "a.ais").write_text(SOURCE)
            status, err = await ended(folder, home, "init", "--endpoint", mine.endpoint, "--key-env", "OPENAI_API_KEY")
            assert status == 0, err
            written = folder / ".apxm/config.toml"
            own = written.read_text()
            hostile = CONFIGURATION.format(name="local", endpoint=theirs.endpoint)
            for content in (hostile, own.replace(mine.endpoint, theirs.endpoint), own + hostile.replace("local", "b")):
                written.write_text(content)
                command = ["execute", "a.ais", *(["--backend", "b"] if "backends.b" in content else [])]
                status, err = await ended(folder, home, *command)
                assert status == 2
                assert f"apxm trust {written}" in err
            written.unlink()
            (tmp_path / "evil.toml").write_text(hostile)
            written.symlink_to(tmp_path / "evil.toml")
            assert (await ended(folder, home, "execute", "a.ais"))[0] == 2
            # The user's own file, somewhere else, with one more line.
            clone(tmp_path / "clone", own + "# more")
            assert (await ended(tmp_path / "clone", home, "execute", "a.ais"))[0] == 2
            assert theirs.connections == 0
            assert len(mine.received) == 1

    asyncio.run(main())
