"""Flows and processes forked from theirs: before, behind, beside and inside of a run.

Each case is a process of its own: a fork of the test's process would copy whatever other tests have left in it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")

PRELUDE = """
import concurrent.futures, multiprocessing, os, pickle, signal, sys, threading, time
import apxm
from apxm import ask, each, flow, step, thread
from apxm.lanes import standing_in

signal.alarm(50)  # whatever waits for ever ends, in the child too

@flow
def label(rows):
    found = []
    for row in each(rows):
        found.append(ask(f"{row}"))
        print("labelled", row)
    return found

OPTIONS = dict(backend="simulated", latency="constant:1", journal=False)
fast = label.using(**OPTIONS)

class Labels:
    def __init__(self, word):
        self.word = word

    @flow
    def all(self, rows):
        return [ask(f"{self.word} {row}") for row in each(rows)]

    @step
    def kept(self):
        return self.word

@step
def told(row):
    return f"told {row}"

def labels(rows):
    return ends(fast(rows))

def ends(answers):
    return [answer.rpartition(": ")[2] for answer in answers]

def square(number):
    return number * number

def in_child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(50)
            work()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return pid

def must_end_well(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"

def must_be(found, expected):
    assert found == expected, found

def run(main):
    return flow(main).using(**OPTIONS)
"""

CASES = {
    "behind a run, as servers that fork their workers": """
must_be(labels("ab"), ["a", "b"])
for pid in [in_child(lambda: must_be(labels("cd"), ["c", "d"])) for _ in range(2)]:
    must_end_well(pid)
must_be(labels("ef"), ["e", "f"])
""",
    "a pool that forks": """
must_be(labels("a"), ["a"])
with multiprocessing.get_context("fork").Pool(2) as pool:
    must_be(pool.map(labels, ["bc", "de"]), [["b", "c"], ["d", "e"]])
""",
    "beside a run in another thread": """
@flow
def held():
    ask("a")
    thread(in_flight)
    return "held"

flying, landed = threading.Event(), threading.Event()
def in_flight():
    flying.set()
    landed.wait()

runs = threading.Thread(target=lambda: must_be(run(held.function)(), "held"))
runs.start()
flying.wait()
real = sys.stdout.stream
def child():
    assert sys.stdout is real, sys.stdout
    must_be(labels("b"), ["b"])
    assert sys.stdout is real, sys.stdout
must_end_well(in_child(child))
landed.set()
runs.join()
assert sys.stdout is real
""",
    "inside of a lane, by os.fork": """
def main():
    for row in each("ab"):
        ask(row)
        ask(row + "again")
        def child():
            print("child", row, flush=True)
            must_be(time.sleep, standing_in.SLEEP)  # that of Python
            must_be(labels(row), [row])
        must_end_well(in_child(child))
        print("parent", row)
    return "whole"
must_be(run(main)(), "whole")
""",
    "inside of a lane, by multiprocessing": """
def child(row, queue):
    print("child", row, flush=True)
    queue.put(labels(row))
def main():
    context = multiprocessing.get_context("fork")
    for row in each("ab"):
        ask(row)
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(row, queue))
        process.start()
        must_be(queue.get(), [row])
        process.join()
        must_be(process.exitcode, 0)
    return "whole"
must_be(run(main)(), "whole")
""",
    "a pool of processes inside of a lane": """
def main():
    found = []
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for number in each(range(4)):
            ask(f"{number}")
            found.append(thread(pool.submit(square, number).result))
            found.append(pool.submit(square, number).result())
            found += pool.map(square, [number])
    return found
must_be(run(main)(), [n * n for n in range(4) for _ in range(3)])
""",
    "flows that are sent to other processes": """
def main():
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            must_be(ends(pool.map(fast, ["ab"])[0]), ["a", "b"])
            must_be(ends(pool.map(Labels("is").all.using(**OPTIONS), ["a"])[0]), ["is a"])
            must_be(pool.map(told, "a"), ["told a"])
            must_be(ends(pool.apply(fast.run, ["c"]).value), ["c"])

if __name__ == "__main__":
    main()
""",
    "an error that a worker raises": """
def main():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            pool.apply(fast.using(latency="constant:5000", timeout_s=0.01), ["a"])
        except apxm.RunFailed as error:
            must_be(error.stopped.kind, "timeout")
        else:
            raise AssertionError("no error")

if __name__ == "__main__":
    main()
""",
}


def run_case(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "case.py"
    script.write_text(PRELUDE + code)
    return subprocess.run([sys.executable, "case.py"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", CASES)
def test_flows_run_in_processes_that_were_forked(name: str, tmp_path: Path) -> None:
    ended = run_case(CASES[name], tmp_path)
    assert ended.returncode == 0, ended.stderr


LEFT = """
def main():
    for row in each("ab"):
        ask(row)
        sys.stdout.flush()
        if os.fork() == 0:
            {child}
        else:
            status = os.wait()[1]
            print(row, os.waitstatus_to_exitcode(status), flush=True)
    return "whole"

print(run(main)())
"""
"""A fork whose child does not end by `os._exit`."""


@pytest.mark.parametrize(
    ("child", "status", "said"),
    [
        ("continue", 1, ["a process that was forked inside of a flow has left it; end it by os._exit"]),
        ("sys.exit(3)", 3, []),
        ("sys.exit()", 0, []),
        ("raise KeyError(row)", 1, ["KeyError: 'a'", "has left it; end it by os._exit"]),
    ],
)
def test_a_child_does_not_carry_its_parents_run_on(child: str, status: int, said: list[str], tmp_path: Path) -> None:
    ended = run_case(LEFT.format(child=child), tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"a {status}\nb {status}\nwhole\n"), ended.stderr
    for text in said:
        assert text in ended.stderr


def test_a_child_that_waits_for_its_parents_lanes_is_told_so(tmp_path: Path) -> None:
    code = """
def rows():
    pid = os.fork()
    yield "a"  # in the child, too, which goes on with the loop of its parent
    must_be(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)

def main():
    for row in each(rows()):
        ask(row)
    return "whole"

must_be(run(main)(), "whole")
"""
    ended = run_case(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "a process that was forked inside of a flow waits for what its parent runs" in ended.stderr


def test_a_flow_that_has_no_name_in_its_module_cannot_be_sent(tmp_path: Path) -> None:
    ended = run_case("def main(): return 1\npickle.dumps(run(main))", tmp_path)
    assert ended.returncode == 1
    assert "there is no flow main in __main__: other processes find a flow by its name" in ended.stderr
