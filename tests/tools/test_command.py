"""Tools that are programs, with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from apxm.errors import OperationError
from apxm.runtime.loops import real_loop
from apxm.tools import command
from apxm.tools.command import CommandTool
from apxm.tools.tool import ToolAnswer
from tests.tools.processes import fifo, has_ended, told

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process groups, and files for processes")


def run(main: Awaitable[T]) -> T:
    async def awaited() -> T:
        return await main

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(awaited())


def tool(script: str, *arguments: str, **environment: str) -> CommandTool:
    return CommandTool("t", (sys.executable, "-c", script, *arguments), lambda: environment, 60, 16)


def call(script: str, arguments: dict[str, object] | None = None, **environment: str) -> ToolAnswer:
    return run(tool(script, **environment).call(arguments or {}))


def fails(script: str) -> tuple[str, str]:
    with pytest.raises(OperationError) as caught:
        call(script)
    return caught.value.kind, caught.value.message


def test_it_gets_its_arguments_as_json_and_gives_what_it_writes() -> None:
    script = "import json, sys; print(json.dumps([json.load(sys.stdin)]))"
    assert call(script, {"q": "ä\n", "n": 1.5}).text == '[{"q": "\\u00e4\\n", "n": 1.5}]'
    assert call("print('two\\nlines\\n')").text == "two\nlines\n"
    assert call("pass").text == ""


def test_it_need_not_read_them_however_many_there_are() -> None:
    assert call("print(1)", {"q": "x" * 5_000_000}).text == "1"


def test_it_may_have_ended_before_it_is_given_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise RuntimeError("unable to perform operation on a transport; the handler is closed")  # as uvloop has it

    monkeypatch.setattr(asyncio.StreamWriter, "write", ended)
    assert call("print(1)").text == "1"


def test_its_environment_is_ours_and_what_is_set() -> None:
    script = "import os; print(os.environ['PATH'] == os.environ['HERE'], os.environ['MORE'])"
    assert call(script, HERE=os.environ["PATH"], MORE="x").text == "True x"


def test_a_failure_has_its_status_and_the_end_of_what_it_said() -> None:
    assert fails("import sys; sys.exit('no such page')") == (
        "tool_failed",
        "tool 't': ended with status 1: no such page",
    )
    assert fails("import sys; sys.exit(7)") == ("tool_failed", "tool 't': ended with status 7, and said nothing")
    assert fails("import os; os.kill(os.getpid(), 9)")[1] == "tool 't': was ended by SIGKILL, and said nothing"
    _, message = fails("import sys; sys.stderr.write('x' * 100_000 + 'end'); sys.exit(1)")
    assert message.endswith("x" * 100 + "end")
    assert len(message) < 2100
    assert fails("import sys; sys.stdout.buffer.write(b'\\xff')") == (
        "tool_failed",
        "tool 't': what it wrote is not UTF-8",
    )


def test_one_that_cannot_be_started_is_told_before_and_when_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    for program in ("no-such-program", str(tmp_path / "plain")):
        found = CommandTool("t", (program,), dict, 60, 16)
        assert run(found.flaws(None)) == [f"there is no program {program!r} that can be run"]
        with pytest.raises(OperationError, match="cannot be started"):
            run(found.call({}))
    assert run(tool("pass").flaws(None)) == []


def test_what_writes_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LARGEST_ANSWER", 1024 * 1024)
    assert fails("while True: print('x' * 1000)") == ("too_large", "tool 't' wrote more than 1 MiB")


CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "w") as file:
    print(child.pid, file=file)
"""


def test_what_it_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    # The child has its output open, and would be waited for.
    assert run(tool(f"{CHILD}\nprint('done')", str(mark)).call({})).text == "done"
    assert has_ended(int(mark.read_text()))


@pytest.mark.parametrize("stubborn", [False, True])
def test_it_and_all_that_it_started_end_when_its_call_is_given_up(
    tmp_path: Path, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_GRACE_S", 0.1)
    mark = fifo(tmp_path)
    ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""

    async def main() -> str:
        task = asyncio.create_task(tool(f"{ignores}{CHILD}\ntime.sleep(600)", str(mark)).call({}))
        pid = await told(mark)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert has_ended(int(run(main())))
