"""Ctrl-C in flows that run under Python itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

FLOW = """\
import asyncio, sys
from apxm import ask, each, flow

@flow
def main(rows):
    found = []
    try:
        for row in each(rows):
            found.append(ask("ready"))
            print(row, flush=True)
            ask("wait" * 9)
    except KeyboardInterrupt:
        print("saved", len(found))
        {last}
    finally:
        print("closed")
    return "value"

told = main.using(backend="simulated", latency="trace:1,1,60000,60000", progress=False)
print({run})
print("behind")
"""


@pytest.mark.parametrize("run", ["told([1, 2])", "asyncio.run(told.run_async([1, 2])).value"])
@pytest.mark.parametrize(
    ("last", "status", "said"),
    [
        ("pass", 0, ["value", "behind"]),
        ("sys.exit(7)", 7, []),
        ("raise", -signal.SIGINT, []),
        ("ask('more')", -signal.SIGINT, []),
    ],
)
def test_a_flow_may_catch_what_ctrl_c_raises(tmp_path: Path, run: str, last: str, status: int, said: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(FLOW.format(last=last, run=run))
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out.splitlines()) == (status, ["saved 1", "closed", *said]), err
