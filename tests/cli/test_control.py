"""`apxm runs limit`: what is said to a run while it goes on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apxm.backends.protocol import Limits
from apxm.cli.control import reachable
from apxm.config.files import user_folder
from apxm.reports.progress import RunningCall, RunState
from apxm.runtime.gates import NOT_YET, Gate, Ticket
from tests.cli.conftest import Apxm

RUN = "20260131-235959-k3vd"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@contextmanager
def going(
    *gates: Gate, run_id: str = RUN, state: Callable[[], RunState] | None = None
) -> Generator[asyncio.AbstractEventLoop]:
    """A run that goes on, in a thread of its own."""
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        async with reachable(run_id, "label.ais", gates, state):
            loops.append(asyncio.get_running_loop())
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    yield loops[0]
    loops[0].call_soon_threadsafe(over.set)
    thread.join(10)
    assert not thread.is_alive()


def test_a_run_that_goes_on_says_what_it_is_doing(apxm: Apxm) -> None:
    calls = tuple(RunningCall(f"a\x1b[{k}]", "tiny", 61.5, k) for k in (1, 2))
    state = RunState(3, 8, 2, 1, 12.0, 1234, 0.0021, (), calls)
    with going(state=lambda: state):
        shown = apxm("runs", "show", "last", "--live")
        assert shown.out.splitlines() == [
            f"run {RUN}: label.ais",
            "3 done, 1 failed, 8 running, 2 waiting; 0:12; 1,234 tokens; cost 0.0021",
            "     1:01  a\\x1b[1]  tiny",
            "     1:01  a\\x1b[2]  tiny, attempt 2",
        ]
        found = json.loads(apxm("runs", "show", "k3vd", "--live", "--json").out)
        assert found["state"]["longest"][1] == {"path": "a\x1b[2]", "who": "tiny", "seconds": 61.5, "attempt": 2}
        assert apxm("runs", "show", "k3vd", "--live", "--prompts").status == 2
    with going():
        assert "is a batch, which is many runs" in apxm("runs", "show", "last", "--live").err
    ended = apxm("runs", "show", "last", "--live")
    assert (ended.status, ended.out) == (2, "")
    assert "no run 'last' goes on" in ended.err


def test_a_limit_is_shown_and_changed_while_a_run_goes_on(apxm: Apxm) -> None:
    found, configured, free = (
        Gate("a", Limits(), adaptive=True),
        Gate("b", Limits(max_concurrency=8)),
        Gate("c", Limits()),
    )
    with going(found, configured, free):
        shown = [line.split("  ") for line in apxm("runs", "limit").out.splitlines()]
        assert [line[-1].strip() for line in shown] == ["at most 1,024 (found)", "at most 8 (configured)", "no limit"]
        assert apxm("runs", "limit", "k3vd", "3").out.count("at most 3 (told)") == 3
        assert [gate.most for gate in (found, configured, free)] == [3, 3, 3]
        assert apxm("runs", "limit", "last", "auto", "--backend", "a").status == 0
        assert [gate.most for gate in (found, configured, free)] == [1024, 3, 3]
        assert free.troubled, "calls that had no limit ask from now on"
        said = json.loads(apxm("runs", "limit", RUN, "--json").out)
        assert said["backends"][1] == {"backend": "b", "limit": 3, "by": "told", "in_flight": 0}
        assert "at most 3 (told)" in apxm("doctor").out.partition("running:")[2]
    assert apxm("runs", "limit").out == ""


def test_who_waits_is_woken_when_there_is_more() -> None:
    async def main() -> None:
        gate = Gate("a", Limits(max_concurrency=1))
        assert isinstance(gate.take(0, 0), Ticket)
        woken = asyncio.Event()
        assert gate.take(0, 0, woken.set) == NOT_YET
        gate.wait(woken.set)
        gate.tell(2, 1)
        assert woken.is_set()
        assert isinstance(gate.take(0, 1), Ticket)
        gate.tell(None, 2)
        assert gate.take(0, 2) == NOT_YET

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("nothing",), "no run 'nothing' goes on that can be reached"),
        (("k3vd", "0"), "the limit must be at least 1, not 0"),
        (("k3vd", "-1"), "No such option"),
        (("k3vd", "many"), "the limit is a number of calls from 1, or auto, not 'many'"),
        (("k3vd", "5", "--backend", "b"), "has no backend 'b'"),
        (("2026", "5"), "may be any of 2 runs"),
    ],
)
def test_what_makes_no_sense_is_an_error(apxm: Apxm, arguments: tuple[str, ...], found: str) -> None:
    gate = Gate("a", Limits(max_concurrency=8))
    with going(gate), going(gate, run_id="20260131-235959-zzzz"):
        ended = apxm("runs", "limit", *arguments)
    assert ended.status == 2
    assert found in ended.err
    assert gate.most == 8


def test_what_a_killed_process_left_is_removed(apxm: Apxm) -> None:
    folder = user_folder("state") / "going"
    folder.mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / RUN))
    left.close()
    ended = apxm("runs", "limit")
    assert (ended.status, ended.out) == (0, "")
    assert not (folder / RUN).exists()


def test_nonsense_is_no_order() -> None:
    gate = Gate("a", Limits(max_concurrency=8))
    with going(gate), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(user_folder("state") / "going" / RUN))
        connection.sendall(b'{"changes": true, "limit": "x"}\n')
        assert connection.recv(100) == b""
    assert gate.most == 8
