"""``apxm run FILE.py``: what a script sees, what it leaves, and how its run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apxm.cli.options import AnyRun, Inputs, NewRun
from apxm.cli.run_python import _refuse_what_means_nothing  # pyright: ignore[reportPrivateUsage]
from apxm.errors import UsageError
from tests.cli.conftest import Apxm, Ended, Start

FAST = ("--backend", "simulated", "--latency", "constant:1")
JOURNALED = (*FAST, "--journal", "--journal-dir", "runs")


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """A script becomes the main module of its process; in this process that ends with the test."""
    main, path = sys.modules["__main__"], sys.path[:]
    yield
    sys.modules["__main__"], sys.path[:] = main, path


def script(text: str, name: str = "s.py") -> str:
    Path(name).write_text(text)
    return name


def ran(apxm: Apxm, text: str, *arguments: str, options: tuple[str, ...] = FAST) -> Ended:
    return apxm("run", *options, script(text), *arguments)


# --- what it sees ----------------------------------------------------------------------------------------------------

SEES = """\
'''What it is.'''
from __future__ import annotations
import json, os, pickle, sys

class Row: pass

print(json.dumps([
    __name__, __doc__, __file__, sys.argv, sys.path[0], __spec__, sys.modules["__main__"].__file__,
    type(pickle.loads(pickle.dumps(Row()))) is Row, sys.stdin.read(),
]))
"""


def test_a_script_sees_what_it_sees_under_python(start: Start, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    name = script(SEES, "in/s.py")
    arguments = (name, "--model", "m", "-q", "--", "x")
    given: dict[str, object] = {"stdin": subprocess.PIPE}
    alone = subprocess.run([sys.executable, *arguments], input="text", capture_output=True, text=True, check=True)
    ours, _ = start("run", *FAST, *arguments, **given).communicate("text")
    assert json.loads(ours) == json.loads(alone.stdout)


def test_loops_are_named_on_either_side_of_the_script(apxm: Apxm) -> None:
    text = "import sys\nfor row in [1, 2]:\n    pass\nprint(sys.argv[1:])\n"
    ended = apxm(
        "run", *FAST, "--each", "s.py:2", script(text), "a", "--each", "s.py:2", "--each", "x", "--", "--each=s.py:2"
    )
    assert (ended.status, ended.out) == (0, "['a', '--each', 'x', '--', '--each=s.py:2']\n")


IDLE = """\
import sys, threading
import lib
from apxm import ask

def label(rows):
    for row in (  # apxm: each
        rows
    ):
        print(ask(row)[:0], end="")

def never(rows):
    return [ask(row) for row in rows]

threading.Thread(target=lib.outside).start()
if len(sys.argv) > 1:
    label(["a", "b"])
    [never(rows) for rows in [["a"]]]
for row in []:
    print(row)
sys.exit(3)
"""
LIB = """\
def outside():
    for row in [1]:  # apxm: each
        pass

def unused(rows):
    return [row for row in rows]  # apxm: each
"""


def test_promises_that_changed_nothing_are_told_at_the_end(apxm: Apxm) -> None:
    script(LIB, "lib.py")
    script("for x in []:\n    pass\n", "other.py")
    promises = ("--each", "s.py:12", "--each", "s.py:18", "--each", "other.py:1")
    ended = ran(apxm, IDLE, options=(*FAST, *promises))
    assert (ended.status, ended.out) == (3, "")
    [said] = [line for line in ended.err.splitlines() if "promised" in line]
    assert said == (
        "promised, and never run in lanes: s.py:6 (not reached), s.py:12 (not reached), "
        "lib.py:2 (it ran outside of lanes), lib.py:6 (not reached), other.py:1 (the file was not loaded)"
    )


def test_promises_that_were_kept_are_not_told_of(apxm: Apxm) -> None:
    script(LIB.replace("# apxm: each", ""), "lib.py")
    promises = ("--each", "s.py:12", "--each", "s.py:18")
    ended = ran(apxm, IDLE, "more", options=(*FAST, *promises))
    assert ended.status == 3
    assert "promised" not in ended.err


@pytest.mark.parametrize("ends", ["raise ValueError", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"])
def test_a_script_that_ended_early_did_not_come_to_all_its_loops(start: Start, ends: str) -> None:
    process = start("run", *FAST, script(f"{ends}\nfor x in []:  # apxm: each\n    pass\n"))
    _, err = process.communicate()
    assert process.returncode in (1, 130)
    assert "promised" not in err


def test_the_quiet_are_told_nothing_of_idle_promises(apxm: Apxm) -> None:
    ended = ran(apxm, "if 0:\n    for x in []:  # apxm: each\n        pass\n", options=(*FAST, "-q"))
    assert (ended.status, ended.err) == (0, "")


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "status", "said"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit('no rows')", 1, "no rows\n"),
        ("raise SystemExit([1])", 1, "[1]\n"),
    ],
)
def test_the_exit_status_is_the_scripts(apxm: Apxm, left: str, status: int, said: str) -> None:
    ended = ran(apxm, f"import sys\nprint('a')\n{left}\n", options=(*FAST, "--quiet"))
    assert ended == (status, "a\n", said)


FAILING = """\
from apxm import ask

def parse(text):
    try:
        return int(text)
    except ValueError:
        raise KeyError("no number")

def main():
    parse(ask("a number"))

main()
"""


def test_a_traceback_is_that_of_python(start: Start, tmp_path: Path) -> None:
    process = start("run", *FAST, "-q", script(FAILING))
    _, err = process.communicate()
    file = tmp_path / "s.py"
    assert process.returncode == 1
    assert err.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 5, in parse',
        "    return int(text)",
        "           ^^^^^^^^^",
        "ValueError: invalid literal for int() with base 10: 'Simulated answer b78eb0e3: a number'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        f'  File "{file}", line 12, in <module>',
        "    main()",
        f'  File "{file}", line 10, in main',
        '    parse(ask("a number"))',
        f'  File "{file}", line 7, in parse',
        '    raise KeyError("no number")',
        "KeyError: 'no number'",
    ]


def test_what_a_script_says_of_its_exceptions_goes_before_what_python_says(start: Start) -> None:
    text = "import sys\nsys.excepthook = lambda kind, *_: print('hook', kind.__name__)\nint('x')\n"
    out, err = start("run", *FAST, "-q", script(text)).communicate()
    assert (out, err) == ("hook ValueError\n", "")


def test_what_is_left_for_the_end_of_the_process_is_done_then(start: Start) -> None:
    text = "import atexit, threading\natexit.register(print, 'last')\n"
    text += (
        "threading.Thread(target=lambda: (threading.main_thread().join(), print('thread'))).start()\nprint('first')\n"
    )
    assert start("run", *FAST, script(text)).communicate()[0] == "first\nthread\nlast\n"


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.py"], "error: none.py: this is not there, or no regular file, and a script of Python is expected"),
        (["folder.py"], "error: folder.py: this is a folder, and a script of Python is expected"),
        (["bad.py"], "error: bad.py:2:6: this is no Python that Python 3.11 reads: invalid syntax"),
        (["deep.py"], "error: deep.py: this is no Python that Python 3.11 reads: maximum recursion depth exceeded"),
        (["nul.py"], "error: nul.py: this is no Python that Python 3.11 reads: source code string cannot contain null"),
        (["latin.py"], "error: latin.py: the script cannot be decoded: invalid or missing encoding"),
        (["--json", "s.py"], "error: --json means nothing to a script of Python: standard output is the script's own"),
        (["--flow", "main", "s.py"], "error: --flow means nothing to a script of Python"),
        (["--on-error", "cancel", "s.py"], "error: --on-error means nothing to a script of Python"),
        (["--emit-metrics", "s.py", "s.py"], "error: --emit-metrics s.py is the script itself: name another file"),
        (["--each", "s.py:1", "a.ais"], "error: a.ais: this is a source, not an artifact"),
    ],
)
def test_what_makes_no_sense_is_told(apxm: Apxm, arguments: list[str], said: str) -> None:
    Path("folder.py").mkdir()
    script("x = 1\nif x x\n", "bad.py")
    script("\0", "nul.py")
    script("+".join(["1"] * 20_000), "deep.py")
    Path("latin.py").write_bytes(b"x = '\xe9'\n")
    script("print('ran')\n")
    ended = apxm("run", *FAST, *arguments)
    assert (ended.status, ended.out) == (1 if said.count("this is no Python") or "decoded" in said else 2, "")
    assert ended.err.startswith(said)


def test_a_script_is_not_compiled(apxm: Apxm) -> None:
    ended = apxm("execute", script("x = 1\n"))
    assert ended == (2, "", "error: s.py: this is a script of Python, which is not compiled\nhint: apxm run s.py\n")


def test_options_that_mean_nothing_are_those_that_were_given() -> None:
    _refuse_what_means_nothing(Inputs(values=["a"]), NewRun(seed=1), AnyRun(quiet=True))
    with pytest.raises(UsageError, match="--max-open-turns"):
        _refuse_what_means_nothing(Inputs(), NewRun(max_open_turns=1), AnyRun())


# --- flows in it -----------------------------------------------------------------------------------------------------

FLOWS = """\
import asyncio, sys
from apxm import ask, each, flow

@flow
def label(rows):
    return [ask(f"label {row}") for row in each(rows)]

first = label(["a", "b"])
second = label.run(["a", "b", "c"])
print(first == second.value[:2], second.metrics.llm.total_requests, second.metrics.scheduler.max_parallelism)
print(ask("whole")[:9])
"""


def test_flows_are_part_of_the_run_of_the_script(apxm: Apxm, tmp_path: Path) -> None:
    ended = ran(apxm, FLOWS, options=(*JOURNALED, "--emit-metrics", "m.json"))
    assert (ended.status, ended.out) == (0, "True 3 3\nSimulated\n")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["llm"]["total_requests"] == 6
    [run] = json.loads(apxm("runs", "list", "--json", "--journal-dir", "runs").out)
    assert (run["program"], run["flow"], run["operations"]) == (str(tmp_path / "s.py"), "__main__", 6)


@pytest.mark.parametrize(("backend", "status"), [("simulated", 0), ("local", 1)])
def test_a_flow_that_wants_another_backend_than_the_run_has_says_so(start: Start, backend: str, status: int) -> None:
    text = FLOWS.replace("label.run(", f"label.using(backend={backend!r}).run(")
    process = start("run", *FAST, "-q", script(text))
    _, err = process.communicate()
    assert process.returncode == status
    assert bool(status) == ("the flow label runs as part of another run, and says `backend` of its own" in err)


def test_the_limits_of_a_run_hold(apxm: Apxm) -> None:
    text = "from apxm import ask\ntry:\n    print(ask('a'), ask('b'))\nfinally:\n    print('closed')\n"
    ended = ran(apxm, text, options=(*JOURNALED, "--max-total-tokens", "20"))
    assert (ended.status, ended.out) == (4, "closed\n")
    assert "the budget does not cover <module>:3" in ended.err


# --- how it goes on --------------------------------------------------------------------------------------------------

STOPS = """\
import os, sys
from apxm import ask, step

@step
def counted():
    with open("count", "a") as file:
        file.write("x")
    return 1

print(sys.argv, os.path.basename(os.getcwd()), counted(), ask("first"))
if not os.path.exists("go"):
    sys.exit("stop here")
print(ask("second"))
"""


def test_a_run_goes_on_where_it_began_with_the_arguments_that_it_had(
    apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ran(apxm, STOPS, "-x", "1", options=JOURNALED)
    assert first.status == 1
    [run] = json.loads(apxm("runs", "list", "--json", "--journal-dir", "runs").out)
    assert f"`apxm resume {run['id']}` goes on from here" in first.err
    (tmp_path / "go").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = apxm("resume", run["id"], "--journal-dir", "../runs")
    assert (again.status, again.out) == (0, first.out + "Simulated answer 69e7a324: second\n")
    assert f"in {tmp_path}, where it began" in again.err
    assert "1 from the journal" in again.err or "2 from the journal" in again.err
    assert (tmp_path / "count").read_text() == "x"


def test_an_edited_script_goes_on_when_told_to(apxm: Apxm) -> None:
    ran(apxm, STOPS, options=JOURNALED)
    Path("go").touch()
    script(STOPS.replace("first", "another"))
    refused = apxm("resume", "last", "--journal-dir", "runs")
    assert refused.status == 1
    assert "s.py: the script was edited since run" in refused.err
    assert "--as-changed goes on with it as it is now" in refused.err
    changed = apxm("resume", "last", "--journal-dir", "runs", "--as-changed")
    assert (changed.status, changed.out.count("Simulated")) == (0, 2)


LABELS = """\
from apxm import ask, each, flow

def label(x):
    return ask(f"Label {x}")

@flow
def main(xs):
    for x in each(xs):
        print(x, ask(f"Label {x}"))
    raise SystemExit(3)

main(["a", "b", "b", "c"])
"""


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        ("from apxm", "from os import path\n\n# more is said here\nfrom apxm", 0),
        ('["a"', '["new", "a"', 1),
        ('["a", "b"', '["b", "b", "a"', 1),
        ("main", "renamed", 0),
        ("each(xs)", "xs", 0),
        ('print(x, ask(f"Label {x}"))', "print(x, label(x))", 0),
        ('print(x, ask(f"Label', 'print(x, ask(f"Name', 4),
    ],
)
def test_an_edited_script_keeps_every_answer_to_a_request_that_is_the_same(
    apxm: Apxm, before: str, after: str, asked: int
) -> None:
    ran(apxm, LABELS, options=JOURNALED)
    script(LABELS.replace(before, after))
    for calls in (asked, 0):  # what it asked is there the second time
        ended = apxm("resume", "last", "--journal-dir", "runs", "--as-changed", "--emit-metrics", "m.json")
        assert ended.status == 3, ended.err
        assert json.loads(Path("m.json").read_text())["llm"]["total_requests"] == calls


def test_comments_and_layout_are_no_edit(apxm: Apxm) -> None:
    ran(apxm, LABELS, options=JOURNALED)
    moved = LABELS.replace("@flow", "\n# It labels.\n@flow").replace("print(x, ask", "print(  # one by one\n  x, ask")
    script(moved.replace("\n", "\r\n"))
    ended = apxm("resume", "last", "--journal-dir", "runs", "--emit-metrics", "m.json")
    assert ended.status == 3, ended.err
    assert json.loads(Path("m.json").read_text())["llm"]["total_requests"] == 0
    script(moved.replace("each(xs):", "xs:  # apxm: each"))
    promised = apxm("resume", "last", "--journal-dir", "runs")
    assert "the script was edited" in promised.err


TWICE = """\
from apxm import ask

rows = ["a", "b"]
for row in rows:
    print(ask(f"one {row}"))
for row in rows:
    print(ask(f"two {row}"))
raise SystemExit(3)
"""


def test_a_loop_that_the_command_line_promised_is_found_again(apxm: Apxm) -> None:
    ran(apxm, TWICE, options=(*JOURNALED, "--each", "s.py:06"))
    script("# It asks.\n\n" + TWICE)
    ended = apxm("resume", "last", "--journal-dir", "runs", "--emit-metrics", "m.json")
    assert (ended.status, json.loads(Path("m.json").read_text())["llm"]["total_requests"]) == (3, 0), ended.err
    assert "never run in lanes" not in ended.err
    script(TWICE.replace("for", "for row in rows:\n    pass\nfor", 1))
    ended = apxm("resume", "last", "--journal-dir", "runs", "--as-changed")
    assert "s.py:6: the loop that --each promised is not found again: `for row in rows`" in ended.err


def test_a_script_that_asks_something_else_is_told_of_where(apxm: Apxm, tmp_path: Path) -> None:
    text = "import os\nfrom apxm import ask\nprint(ask(os.environ['ASKED']))\n"
    os.environ["ASKED"] = "one"
    ran(apxm, text, options=JOURNALED)
    os.environ["ASKED"] = "other"
    ended = apxm("resume", "last", "--journal-dir", "runs")
    del os.environ["ASKED"]
    assert ended.status == 1
    assert f"{tmp_path / 's.py'}:3: the program took another way at <module>:3" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--edited"], "is one of Python, which goes on as its code is now"),
        (["--as-recorded"], "is one of Python, which goes on as its code is now"),
        (["--dry-run"], "there is no --dry-run of it"),
        (["--json"], "--json means nothing to a script of Python"),
    ],
)
def test_what_a_resumed_script_has_not(apxm: Apxm, options: list[str], said: str) -> None:
    ran(apxm, "print(1)\n", options=JOURNALED)
    ended = apxm("resume", "last", "--journal-dir", "runs", *options)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_a_directory_that_is_gone_is_told(apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    script("print(1)\n", "../s.py")
    apxm("run", *FAST, "--journal", "--journal-dir", "../runs", "../s.py")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    ended = apxm("resume", "last", "--journal-dir", "runs")
    assert ended.status == 1
    assert "the run began in a directory that cannot be entered now: No such file or directory" in ended.err


KILLED = """\
import os, signal
from apxm import ask, each, flow

@flow
def main(rows):
    for row in each(rows):
        print(row, ask(f"first {row}"), ask(f"second {row}"), flush=True)
        if row == 2 and not os.path.exists("go"):
            os.kill(os.getpid(), signal.SIGKILL)

main(range(6))
"""


def test_a_run_that_was_killed_goes_on(start: Start, apxm: Apxm) -> None:
    killed = start("run", *JOURNALED, script(KILLED))
    out, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    Path("go").touch()
    ended = apxm("resume", "last", "--journal-dir", "runs")
    assert ended.status == 0
    assert ended.out.startswith(out)
    assert ended.out.count("\n") == 6
    asked = int(ended.err.split(" from the journal), ")[1].split(" ")[0])
    assert asked <= 12 - 4  # those of the three that were printed are not asked again


def test_a_flow_of_python_says_how_it_goes_on(apxm: Apxm) -> None:
    text = "from apxm import ask, flow\n@flow\ndef f():\n    return ask('a')\n"
    text += "f.using(backend='simulated', latency='constant:1', journal=True, journal_dir='runs').run()\n"
    subprocess.run([sys.executable, script(text)], check=True)
    ended = apxm("resume", "last", "--journal-dir", "runs")
    assert ended.status == 1
    assert "s.py: run" in ended.err
    assert "is one of the flow f of Python" in ended.err
    assert "hint: f.resume('" in ended.err


@pytest.mark.parametrize("options", [FAST, FAST[2:]])
def test_a_simulated_script_is_journaled_only_where_that_is_said(apxm: Apxm, options: tuple[str, ...]) -> None:
    text = "from apxm import ask, step\n@step\ndef noted():\n    return ask('a')\nnoted()\nraise SystemExit(1)\n"
    ended = ran(apxm, text, options=(*options, "--journal-dir", "runs"))
    assert ended.status == 1
    assert "journaled" not in ended.err
    assert "apxm resume" not in ended.err
    assert not Path("runs").exists()


def test_a_script_whose_cost_cannot_be_limited_does_not_start(apxm: Apxm) -> None:
    ended = ran(apxm, "print('began')\n", options=(*JOURNALED, "--max-cost", "1"))
    assert (ended.status, ended.out) == (2, "")
    said = "error: the cost of this run cannot be limited: the price of 'simulated' at backend 'simulated' is not known"
    assert ended.err.startswith(said)
    assert not Path("runs").exists()


def test_a_call_whose_cost_cannot_be_limited_is_told_with_its_place(apxm: Apxm) -> None:
    Path("apxm.toml").write_text(PRICED)
    text = "from apxm import ask\nask('a')\nask('b', backend='other')\n"
    ended = ran(apxm, text, options=("--config", "apxm.toml", "--max-cost", "1"))
    assert (ended.status, ended.out) == (2, "")
    assert f"error: {Path('s.py').resolve()}:3: the cost of this run cannot be limited" in ended.err
    assert "Traceback" not in ended.err


PRICED = """\
default_backend = "simulated"
[backends.simulated]
kind = "simulated"
latency = "constant:1"
prices = {simulated = {input = 1, output = 1}}
[backends.other]
kind = "simulated"
latency = "constant:1"
"""


def test_prompts_that_no_journal_has_are_not_shown(apxm: Apxm) -> None:
    ran(apxm, "print(1)\n", options=JOURNALED)
    ended = apxm("runs", "show", "last", "--prompts", "--journal-dir", "runs")
    assert (ended.status, ended.out) == (2, "")
    assert "is one of Python, whose prompts its code makes: the journal has their answers only" in ended.err


def test_a_script_that_is_gone_is_told(apxm: Apxm) -> None:
    ran(apxm, "print(1)\n", options=JOURNALED)
    Path("s.py").unlink()
    ended = apxm("resume", "last", "--journal-dir", "runs")
    assert (ended.status, ended.out) == (2, "")
    assert "s.py: this is not there" in ended.err


# --- signals ---------------------------------------------------------------------------------------------------------

WAITS = """\
import sys
from apxm import ask, each, flow

@flow
def main(rows):
    for row in each(rows):
        try:
            ask("ready")
            print(row, flush=True)
            ask("wait" * 9)
        finally:
            print("closed", row, file=sys.stderr)

try:
    main([1, 2])
except KeyboardInterrupt:
    print("interrupted")
    raise
"""
WAITING = ("--backend", "simulated", "--latency", "trace:1,1,60000,60000", "--journal", "--journal-dir", "runs")


def test_ctrl_c_ends_what_waits_and_says_how_it_goes_on(start: Start) -> None:
    process = start("run", *WAITING, script(WAITS))
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "interrupted\n")
    assert all(f"closed {row}" in err for row in (1, 2))
    assert "interrupted: " in err
    assert "goes on from here" in err
    assert "Traceback" not in err


def test_ctrl_c_is_raised_in_a_script_that_computes(start: Start) -> None:
    text = "try:\n    print('on', flush=True)\n    while True:\n        pass\n"
    text += "except KeyboardInterrupt:\n    print('saved')\n"
    process = start("run", *FAST, script(text))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == "saved\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("last", "status", "said"),
    [("", 0, "saved\nbehind\n"), ("    sys.exit(7)\n", 7, "saved\n"), ("    main([3])\n", 130, "saved\n")],
)
def test_a_script_that_catches_ctrl_c_says_how_it_ends(start: Start, last: str, status: int, said: str) -> None:
    text = WAITS.replace('print("interrupted")\n    raise\n', f'print("saved")\n{last}print("behind")\n')
    process = start("run", *WAITING, script(text))
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert (process.returncode, out) == (status, said)
