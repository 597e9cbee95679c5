"""Greenlets that run one lane after another."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any
from weakref import ref

import pytest
from greenlet import GreenletExit, getcurrent

import apxm
from apxm.lanes.lane import LANE
from apxm.lanes.workers import IDLE, MOST_IDLE, Worker

SIMULATED: dict[str, Any] = {"backend": "simulated", "latency": "constant:1", "journal": False}


@pytest.fixture(autouse=True)
def _none_idle() -> None:
    IDLE.clear()


def workers(found: list[object], fail: bool = False) -> apxm.Flow[[int], None]:
    note = apxm.pure(lambda: found.append(getcurrent()))  # at once: not for its turn

    @apxm.flow
    def main(count: int) -> None:
        for k in apxm.each(range(count)):
            note()
            apxm.ask(f"{k}")
            print(1 / (k if fail else 1))

    return main


def test_lanes_of_a_later_run_are_run_by_the_greenlets_of_an_earlier_one() -> None:
    first: list[object] = []
    second: list[object] = []
    workers(first).using(**SIMULATED).run(3)
    assert len(IDLE) == 4  # the flow's own, too
    workers(second).using(**SIMULATED).run(3)
    assert len(set(map(id, first))) == 3
    assert set(map(id, second)) < {*map(id, first), *map(id, IDLE)}


def test_iterations_behind_others_take_their_greenlets_over() -> None:
    found: list[object] = []

    @apxm.flow
    def main() -> None:
        for _ in range(3):
            for k in apxm.each(range(2)):
                found.append(getcurrent())
                apxm.ask(f"{k}")

    main.using(**SIMULATED).run()
    assert len(found) == 6
    assert len(set(map(id, found))) == 2


def test_one_that_was_ended_where_it_stood_runs_nothing_more() -> None:
    found: list[object] = []
    with pytest.raises(ZeroDivisionError):
        workers(found, fail=True).using(**SIMULATED).run(3)
    assert [isinstance(each, Worker) and each.dead for each in found] == [False, True, True]


def test_a_worker_that_waits_keeps_nothing_of_its_lane() -> None:
    class Kept:
        pass

    variable: ContextVar[object] = ContextVar("kept")
    kept: list[ref[Any]] = []

    @apxm.flow
    def main() -> None:
        for _ in apxm.each(range(2)):
            thing = Kept()
            variable.set(thing)
            lane = LANE.get()
            assert lane is not None
            kept.append(ref(thing))
            apxm.ask("?")

    main.using(**SIMULATED).run()
    gc.collect()
    assert IDLE
    assert [each() for each in kept] == [None, None]


def test_a_debugger_that_begins_between_two_runs_stops_in_the_second() -> None:
    found: list[object] = []
    main = workers(found)
    main.using(**SIMULATED).run(2)
    seen: set[str] = set()

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        seen.add(frame.f_code.co_name)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        main.using(**SIMULATED).run(2)
    finally:
        sys.settrace(before)
    assert {"main", "ask"} <= seen


def test_another_thread_leaves_no_workers_behind() -> None:
    found: list[object] = []
    thread = Thread(target=lambda: workers(found).using(**SIMULATED).run(3))
    thread.start()
    thread.join()
    kept = [ref(each) for each in found]
    found.clear()
    gc.collect()
    assert [each() for each in kept] == [None] * 3


def test_a_process_ends_with_workers_that_wait(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import apxm\n\n@apxm.flow\ndef main():\n    for k in apxm.each(range(3)):\n        apxm.ask(f'{k}')\n\n"
        "main.using(backend='simulated', latency='constant:1', journal=False).run()\nprint('over')\n"
    )
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "over\n", "")


def test_no_more_wait_than_a_thread_can_use() -> None:
    workers([]).using(**SIMULATED).run(MOST_IDLE + 10)
    assert len(IDLE) == MOST_IDLE


def test_one_that_is_ended_while_it_waits_ends() -> None:
    workers([]).using(**SIMULATED).run(1)
    worker = IDLE.pop()
    worker.throw(GreenletExit)
    assert worker.dead


def test_a_run_that_an_iteration_interrupted_leaves_no_dead_ones_behind() -> None:
    @apxm.flow
    def interrupted() -> None:
        for k in apxm.each(range(4)):
            apxm.ask(f"{k}")
            if k == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.using(**SIMULATED).run()
    assert not any(worker.dead for worker in IDLE)
    found: list[object] = []
    workers(found).using(**SIMULATED).run(6)
    assert len(found) == 6
