"""``apxm batch``: each input once, whatever happens."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import fsspec
import pytest

from tests.batches.working import PROGRAM, Asked
from tests.cli.conftest import Apxm, Ended, Start

SIMULATED = ("--backend", "simulated", "--latency", "constant:1")
FLOW = """
from dataclasses import dataclass
from apxm import ask, each, flow

@dataclass
class Label:
    text: str
    number: int

@flow
def label(text: str, number: int = 3, deep: bool | None = None) -> Label:
    parts = [ask(text, k) for k in each(range(2))]
    if number == 7:
        raise ValueError("seven is bad")
    return Label(parts[0][:9], number)
"""


@pytest.fixture(autouse=True)
def files(nothing_configured: None) -> None:  # noqa: ARG001  # it changes the directory
    Path("label.ais").write_text(PROGRAM)


def write(path: str, rows: list[Any]) -> None:
    Path(path).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))


def rows(number: int) -> list[Any]:
    return [{"text": f"<row {k}>"} for k in range(number)]


def lines(path: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.fixture
def batch(apxm: Apxm) -> Apxm:
    def run(*options: str, file: str = "label.ais", input: str = "in.jsonl") -> Ended:
        return apxm("batch", file, "--input", input, "--output", "out.jsonl", *SIMULATED, *options)

    return run


def test_a_line_for_each_input(batch: Apxm) -> None:
    write("in.jsonl", [{"text": "a"}, {"text": "b", "more": 1}, {"text": 5}, "{", {"text": "a"}])
    ended = batch("--with-input")
    assert (ended.status, ended.out) == (1, "")
    assert "3 done, 2 failed (2 input); 6 calls" in ended.err
    assert "2 inputs failed: the same command with --retry-failed does them again" in ended.err
    found = sorted(lines(), key=lambda line: line["line"])
    assert [line["line"] for line in found] == [1, 2, 3, 4, 5]
    assert [line.get("input") for line in found] == [
        {"text": "a"}, {"text": "b", "more": 1}, {"text": 5}, None, {"text": "a"},
    ]  # fmt: skip
    assert found[0]["value"] == found[4]["value"]
    assert [found[0]["id"].partition("#")[2], found[4]["id"].partition("#")[2]] == ["1", "2"]
    assert found[2]["error"] == {"kind": "input", "message": "text must be a str, not 5"}


def test_the_same_command_again_does_nothing_twice(batch: Apxm) -> None:
    write("in.jsonl", rows(20))
    assert batch("--limit", "8").status == 0
    first = Path("out.jsonl").read_bytes()
    ended = batch()
    assert "12 done, 8 were done before; 24 calls" in ended.err
    assert Path("out.jsonl").read_bytes().startswith(first)
    assert len({line["id"] for line in lines()}) == 20
    assert "0 done, 20 were done before" in batch().err


def test_equal_rows_are_inputs_of_their_own_and_others_shift_nothing(batch: Apxm) -> None:
    write("in.jsonl", [{"text": "a"}, {"text": "b"}, {"text": "a"}, {"text": "c"}])
    batch()
    write("in.jsonl", [{"text": "new"}, {"text": "a"}, {"text": "a"}, {"text": "a"}, {"text": "c"}])
    ended = batch()
    assert "2 done, 3 were done before" in ended.err
    assert "a line is in out.jsonl of inputs that are not there any more" in ended.err
    assert len({line["id"] for line in lines()}) == len(lines()) == 6


def test_what_failed_is_done_again_where_that_is_said(batch: Apxm) -> None:
    write("in.jsonl", [*rows(5), {"text": 5}])
    assert batch("--faults", "503:@1,503:@2,503:@3", "--timeout", "0.2").status == 1
    failed = [line["line"] for line in lines() if "error" in line]
    assert len(failed) == 4
    ended = batch()
    assert (ended.status, "0 done, 6 were done before, 4 of them failed" in ended.err) == (1, True)
    ended = batch("--retry-failed", "--ordered")
    assert "3 done, 1 failed (1 input), 2 were done before; 6 calls" in ended.err
    assert [line["line"] for line in lines()] == [1, 2, 3, 4, 5, 6]
    assert [line["line"] for line in lines() if "error" in line] == [6]


def test_a_wrong_type_in_line_7301_is_a_failure_of_that_line(batch: Apxm) -> None:
    content = "text,times\n" + "".join(f"row {k},{'x' if k == 7299 else k}\n" for k in range(7400))
    Path("in.csv").write_text(content)
    Path("label.ais").write_text("agent A { @entry flow main(text: str, times: int) -> str { return text } }")
    ended = batch("--ordered", input="in.csv")
    assert ended.status == 1
    assert "7,399 done, 1 failed (1 input)" in ended.err
    (failed,) = (line for line in lines() if "error" in line)
    assert failed["line"] == 7301
    assert failed["error"]["message"] == "times must be of type int, and 'x' is not one; all but str is JSON"
    assert [line["line"] for line in lines()] == list(range(2, 7402))


def test_values_of_tables_by_the_types_of_parameters(batch: Apxm) -> None:
    Path("label.ais").write_text(
        "agent A { @entry flow main(t: str, n: int = 3, b: bool = false, l: list[str] = [], o: int? = null,"
        ' j: json = 1) -> json { return { "t": t, "n": n, "b": b, "l": l, "o": o, "j": j } } }'
    )
    Path("in.csv").write_text('t,n,b,l,o,j,other\n5, 7,TRUE,"[""x""]",9,"{""k"": 1}",z\n,,,,,,\n')
    ended = batch("--ordered", input="in.csv")
    assert "columns that are no parameter's: other" in ended.err
    assert [line["value"] for line in lines()] == [
        {"t": "5", "n": 7, "b": True, "l": ["x"], "o": 9, "j": {"k": 1}},
        {"t": "", "n": 3, "b": False, "l": [], "o": None, "j": 1},
    ]


def test_a_parameter_that_all_inputs_share(batch: Apxm) -> None:
    Path("label.ais").write_text("agent A { @entry flow main(t: str, n: int) -> json { return [t, n] } }")
    Path("in.csv").write_text("t\na\nb\n")
    assert batch("--arg", "n=4", "--ordered", input="in.csv").status == 0
    assert [line["value"] for line in lines()] == [["a", 4], ["b", 4]]
    assert 'arguments was {"n":4}, and now is {"n":5}' in batch("--arg", "n=5", input="in.csv").err
    Path("in.csv").write_text("t,n\na,1\n")
    assert "n is given twice: as a column, and for all inputs" in batch("--arg", "n=4", input="in.csv").err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "txt,n\na,1\n", "there is no column text; the columns are txt, n"),
        ("in.csv", "", "this is empty, expected a header"),
        ("in.csv", "text\n", "there are no inputs"),
        ("in.jsonl", "", "there are no inputs"),
        ("in.jsonl", "\n\n", "there are no inputs"),
        ("in.jsonl", '{"txt": 1}\n' * 200, "none of the first 100 rows fits: line 1: main needs a value for text"),
        ("in.jsonl", '[\n{"text": "a"},\n{"text": "b"}\n]\n', "this is a JSON array, expected an object in each line"),
        ("in.jsonl", '{"text": NaN}\n', "the only row does not fit: line 1: this JSON holds a number that is none"),
    ],
)
def test_what_is_refused_before_the_first_call(name: str, content: str, message: str, batch: Apxm) -> None:
    Path(name).write_text(content)
    ended = batch(input=name)
    assert ended.status == 2
    assert message in ended.err
    assert not Path("out.jsonl").exists()


def test_an_output_is_one_batch(batch: Apxm, apxm: Apxm) -> None:
    write("in.jsonl", rows(3))
    batch()
    before = Path("out.jsonl").read_bytes()
    assert 'its model of backend simulated was "simulated", and now is "other"' in batch("--model", "other").err
    Path("label.ais").write_text(PROGRAM.replace("Label it", "Name it"))
    ended = batch()
    assert (ended.status, "this is the output of another batch: the program was another one" in ended.err) == (2, True)
    assert "--overwrite" in ended.err
    Path("label.ais").write_text(f"// a comment\n{PROGRAM}")
    assert batch().status == 0
    write("in.jsonl", [{"text": "x", "more": 1}, *({**row, "more": 1} for row in rows(3))])
    assert 'its columns was ["text"], and now is ["more","text"]' in batch().err
    write("in.csv", ["text", "a"])
    assert 'its input was "jsonl", and now is "csv"' in batch(input="in.csv").err
    assert Path("out.jsonl").read_bytes() == before
    assert batch("--overwrite", "--model", "other").status == 0
    assert len(lines()) == 4
    same = apxm("batch", "label.ais", "--input", "out.jsonl", "--output", "out.jsonl", *SIMULATED)
    assert (same.status, "--output" in same.err) == (2, True)
    assert len(lines()) == 4


def test_overwriting_loses_nothing_where_nothing_begins(batch: Apxm) -> None:
    write("in.jsonl", rows(3))
    batch()
    write("in.jsonl", ["{"])
    assert batch("--overwrite").status == 2
    assert len(lines()) == 3


def test_after_a_failure_no_further_input_is_begun_where_that_is_said(batch: Apxm) -> None:
    write("in.jsonl", [*rows(2), {"text": 5}, *rows(50)])
    ended = batch("--on-error", "stop", "--max-concurrency", "1")
    assert ended.status == 1
    assert "2 done, 1 failed (1 input)" in ended.err
    assert "ended early: the same command goes on from here" in ended.err
    assert "50 done, 3 were done before" in batch("--on-error", "stop").err


def test_a_flow_of_python(batch: Apxm) -> None:
    Path("flows.py").write_text(FLOW)
    Path("in.csv").write_text("text,number,deep\na,1,True\nb,,\nc,7,\nd,x,\n")
    ended = batch("--ordered", file="flows.py", input="in.csv")
    assert (ended.status, "6 calls" in ended.err) == (1, True)
    assert [line.get("value") or line["error"] for line in lines()] == [
        {"text": "Simulated", "number": 1},
        {"text": "Simulated", "number": 3},
        {"kind": "ValueError", "message": "seven is bad"},
        {"kind": "input", "message": "number is no int: Expected `int`, got `str`; it is 'x'"},
    ]
    assert "0 done, 4 were done before" in batch(file="flows.py:label", input="in.csv").err
    Path("flows.py").write_text(FLOW.replace("[:9]", "[:5]"))
    assert "it has no flow 'lable'" in batch(file="flows.py:lable", input="in.csv").err
    Path(".pyenv").mkdir()
    Path(".pyenv/other.py").write_text(f"{FLOW}\n@flow\ndef more(text: str) -> str:\n    return text\n")
    assert "it has several flows: label, more" in batch("--overwrite", file=".pyenv/other.py", input="in.csv").err
    assert batch("--overwrite", file=".pyenv/other.py:more", input="in.csv").status == 0
    assert "there is no such file" in batch(file="none.py", input="in.csv").err
    Path("broken.py").write_text("import nothing_of_this_name")
    assert "it cannot be imported: ModuleNotFoundError" in batch(file="broken.py", input="in.csv").err
    assert "broken" not in sys.modules


def test_what_it_will_take_is_said_before_and_nothing_is_asked(batch: Apxm) -> None:
    Path("label.ais").write_text(
        "agent A { @entry flow main(words: list[str]) -> str {"
        ' for word in words { ask(word, max_tokens: 10) -> a return a } -> all return ask("Join.", all) } }'
    )
    write("in.jsonl", [{"words": ["x"] * (k % 5)} for k in range(100)] + [{"words": 1}])
    ended = batch("--dry-run", "--json", "--max-concurrency", "10")
    assert ended.status == 0
    assert not Path("out.jsonl").exists()
    found = json.loads(ended.out)
    assert (found["inputs"], found["unfit"], found["left"], found["sampled"]) == (101, 1, 100, 40)
    assert found["first_unfit"] == "line 101: words must be a list[str], not 1"
    assert found["calls"]["expected"] == pytest.approx(300, rel=0.2)
    assert found["seconds"]["expected"] == pytest.approx(0.02, rel=0.2)
    batch("--limit", "60")
    shown = batch("--dry-run").out.splitlines()
    assert shown[:4] == [
        "inputs                    101",
        "of no use                 1; line 101: words must be a list[str], not 1",
        "done                      60",
        "left                      40",
    ]
    calls = int(shown[5].split()[-1])
    assert f"40 done, 1 failed (1 input), 60 were done before; {calls} calls" in batch().err


def test_what_a_flow_of_python_will_take(batch: Apxm) -> None:
    Path("flows.py").write_text(FLOW)
    write("in.jsonl", rows(7))
    found = json.loads(batch("--dry-run", "--json", file="flows.py").out)
    assert (found["calls"]["expected"], found["seconds"]["expected"]) == (14, 0.001)


def test_how_far_it_is_is_said_now_and_then() -> None:
    write("in.jsonl", rows(2))
    code = "import apxm.cli.run_batch as shown; shown._PLAIN_INTERVAL_S = 0.05; from apxm.cli.main import main; main()"
    command = ("label.ais", "--input", "in.jsonl", "--output", "out.jsonl", "--latency", "constant:200")
    for more, said in (((), True), (("--quiet", "--overwrite"), False)):
        ended = subprocess.run(
            [sys.executable, "-c", code, "batch", *command, *more],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ("0 done, 0 failed, 2 running; 0/s; 0:00\n" in ended.stderr) is said
        assert ended.stderr.count("\r") == 0


def test_json_sums_up(batch: Apxm) -> None:
    write("in.jsonl", [*rows(3), {"text": 5}])
    found = json.loads(batch("--json", "--quiet").out)
    assert {name: found[name] for name in ("succeeded", "failed", "kept", "gone", "calls", "complete")} == {
        "succeeded": 3, "failed": 1, "kept": 0, "gone": 0, "calls": 6, "complete": True,
    }  # fmt: skip


def test_a_full_disk_ends_the_batch_and_loses_nothing(start: Start) -> None:
    write("in.jsonl", rows(400))
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from apxm.cli.main import main; main()"
    )
    command = ("label.ais", "--input", "in.jsonl", "--output", "out.jsonl", *SIMULATED)
    full = subprocess.run(
        [sys.executable, "-c", code, "batch", *command], check=False, capture_output=True, text=True, timeout=120
    )
    assert (full.returncode, "cannot write out.jsonl: File too large" in full.stderr) == (1, True)
    done = len(lines())
    assert 0 < done < 400
    assert re.search("^(\\d+) done, (\\d+) of them not written", full.stderr, re.MULTILINE)
    process = start("batch", *command)
    assert f"{400 - done} done, {done} were done before" in process.communicate(timeout=120)[1]
    assert len({line["id"] for line in lines()}) == 400


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(start: Start) -> None:
    write("in.jsonl", rows(40))
    with Asked(0.05) as server:
        process = start_batch(start, server, "--max-concurrency", "4")
        wait_for(server, 30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, "interrupted: the same command goes on from here" in err) == (130, True)
        asked = len(server.asked)
        again = start_batch(start, server, "--max-concurrency", "4")
        done = {line["line"] for line in lines()}
        again.communicate(timeout=60)
    assert again.returncode == 0
    assert not done & {int(mark[5:-1]) + 1 for mark in server.asked[asked:]}
    assert len({line["id"] for line in lines()}) == len(lines()) == 40


def test_equal_calls_at_temperature_0_are_made_once(batch: Apxm) -> None:
    Path("label.ais").write_text(
        "agent A { @entry flow main(t: str) -> str {"
        ' ask("Label it.", t, temperature: 0.0) -> label ask("Sure?", label) -> sure return sure } }'
    )
    write("in.jsonl", [{"t": f"text {k % 3}", "number": k} for k in range(30)])
    assert "30 done; 60 calls, 27 of them equal to others and not made" in batch().err
    assert "30 done; 60 calls in" in batch("--no-dedupe", "--overwrite").err


def test_answers_are_kept_for_later_runs_where_the_backend_says_so(start: Start, tmp_path: Path) -> None:
    program = "agent A { @entry flow main(text: str) -> str { return ask(text, temperature: 0.0) } }"
    Path("label.ais").write_text(program)
    write("in.jsonl", rows(6))
    with Asked() as server:
        for cache, asked in (("true", 6), ("true", 6), ("false", 12)):
            backend = f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\ncache = {cache}\n'
            Path("c.toml").write_text(backend)
            command = ("label.ais", "--input", "in.jsonl", "--output", "out.jsonl", "--config", "c.toml", "--overwrite")
            process = start("batch", *command, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
            _, err = process.communicate(timeout=60)
            assert (process.returncode, len(server.asked)) == (0, asked), err
    assert (tmp_path / "cache" / "apxm" / "answers.sqlite").exists()


def test_an_endpoint_that_is_down_does_not_fail_the_whole_input(batch: Apxm) -> None:
    write("in.jsonl", rows(1000))
    ended = batch("--faults", "503:1.0", "--timeout", "0.01", "--max-concurrency", "10")
    assert ended.status == 1
    assert "the last runs all failed, so no more were begun" in ended.err
    assert "the same command goes on from here, with --retry-failed also with what failed" in ended.err
    assert 100 <= len(lines()) < 120
    assert "1,000 done; " in batch("--retry-failed").err


def test_ctrl_c_while_nothing_comes_from_a_pipe(start: Start) -> None:
    with Asked() as server:
        process = start_batch(start, server, input="-", stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write('{"text": "<row 0>"}\n')
        process.stdin.flush()
        wait_for(server, 2)
        until = monotonic() + 60
        while not (Path("out.jsonl").exists() and Path("out.jsonl").read_text()) and monotonic() < until:
            sleep(0.002)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert len(lines()) == 1


def start_batch(
    start: Start, server: Asked, *options: str, file: str = "label.ais", input: str = "in.jsonl", **streams: Any
) -> Any:
    environment = {**os.environ, "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": server.endpoint, "OPENAI_MODEL": "tiny"}
    command = (file, "--input", input, "--output", "out.jsonl", *options)
    return start("batch", *command, env=environment, **streams)


def wait_for(server: Asked, calls: int) -> None:
    until = monotonic() + 60
    while len(server.asked) < calls and monotonic() < until:
        sleep(0.002)


TWO_STEPS = """
from apxm import ask, flow

@flow
def label(text: str) -> str:
    first = ask("Label it.", text)
    return ask("Sure?", first, text)
"""


@pytest.mark.parametrize("file", ["label.ais", "flows.py"])
def test_what_an_input_was_answered_before_a_kill_is_not_asked_again(file: str, start: Start) -> None:
    write("in.jsonl", rows(6))
    Path("flows.py").write_text(TWO_STEPS)
    with Asked(holds="Sure?") as server:
        process = start_batch(start, server, "--max-concurrency", "4", file=file)
        wait_for(server, 8)
        process.kill()
        process.communicate()
        assert len(server.asked) == 8
        server.go_on.set()
        process = start_batch(start, server, "--max-concurrency", "4", file=file)
        process.communicate(timeout=60)
        assert process.returncode == 0
    firsts = [prompt for prompt in server.prompts if "Label it." in prompt.partition("Context")[0]]
    assert len(firsts) == len(set(firsts)) == 6
    assert len(server.asked) == 6 + 4 + 6  # the second calls of four were in flight
    assert len(lines()) == 6
    assert not Path("out.jsonl.runs").exists()


def test_a_run_that_cannot_go_on_is_a_failure_and_begun_anew_where_that_is_said(start: Start) -> None:
    Path("label.ais").write_text(
        "agent A { capability send(to: str) -> str; @entry flow main(text: str) -> str {"
        " send(text) -> sent return sent } }"
    )
    Path("held.py").write_text(
        "import time\ndef send(to):\n    open('sent', 'a').write(to)\n    time.sleep(WAIT)\n    return to\n"
    )
    held = Path("held.py").read_text()
    Path("c.toml").write_text('[backends.s]\nkind = "simulated"\n[tools.send]\npython = "held:send"\n')
    write("in.jsonl", [{"text": "a"}])
    command = ("label.ais", "--input", "in.jsonl", "--output", "out.jsonl", "--config", "c.toml", "--real-tools")
    Path("held.py").write_text(held.replace("WAIT", "60"))
    process = start("batch", *command)
    until = monotonic() + 60
    while not Path("sent").exists() and monotonic() < until:
        sleep(0.002)
    process.kill()
    process.communicate()
    Path("held.py").write_text(held.replace("WAIT", "0"))
    for more, status, sent in (((), 1, "a"), ((), 1, "a"), (("--retry-failed",), 0, "aa")):
        process = start("batch", *command, *more)
        err = process.communicate(timeout=60)[1]
        assert (process.returncode, Path("sent").read_text()) == (status, sent), err
        if status:
            (line,) = lines()
            assert line["error"]["kind"] == "journal"
            assert "--retry-failed begins it anew" in line["error"]["message"]
    assert [line["value"] for line in lines()] == ["a"]


def test_journals_that_nobody_needs_go_while_the_batch_goes_on(batch: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.batches.journals._TOGETHER", 4)
    Path("label.ais").write_text(
        'agent A { @entry flow main(text: str) -> json { ask("Label it.", text) -> a return [a, parse_json(text)] } }'
    )
    write("in.jsonl", [{"text": "no JSON" if k == 1 else f"{k}"} for k in range(30)])
    assert "29 done, 1 failed (1 bad_json)" in batch("--journal", "--max-concurrency", "1").err
    (folder,) = Path("out.jsonl.runs").iterdir()
    assert sorted(os.listdir(folder)) == ["0", "7", "inputs"]  # the failed one's, and those begun last
    write("in.jsonl", [{"text": f"{k}"} for k in range(30)])
    assert batch("--journal", "--retry-failed").status == 0
    assert not Path("out.jsonl.runs").exists()


def test_runs_of_another_batch_count_for_nothing(start: Start) -> None:
    write("in.jsonl", [*rows(4), {"text": 5}])
    with Asked(holds="Sure?") as server:
        process = start_batch(start, server, "--max-concurrency", "4")
        wait_for(server, 8)
        process.kill()
        process.communicate()
        server.go_on.set()
        Path("label.ais").write_text(PROGRAM.replace("Label it.", "Name it."))
        process = start_batch(start, server, "--max-concurrency", "4", "--overwrite")
        process.communicate(timeout=60)
        assert process.returncode == 1
    assert len(list(Path("out.jsonl.runs").iterdir())) == 1
    assert sum("Name it." in prompt for prompt in server.prompts) == 4


@pytest.mark.parametrize("again", [(), ("--retry-failed",)])
def test_a_failed_input_goes_on_where_it_failed(again: tuple[str, ...], batch: Apxm) -> None:
    write("in.jsonl", rows(1))
    ended = batch("--journal", "--faults", "503:@2,503:@3,503:@4,503:@5,503:@6,503:@7,503:@8", "--timeout", "0.5")
    assert "0 done, 1 failed (1 timeout)" in ended.err
    ended = batch("--journal", *again)
    assert ("1 done; 1 call in" in ended.err) == bool(again)


def test_inputs_and_outputs_by_url(batch: Apxm, apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    write("in.jsonl", [*rows(6), {"text": 5}])
    memory: Any = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/in.jsonl", Path("in.jsonl").read_bytes())
    urls = ("--input", "memory://bucket/in.jsonl", "--output", "memory://bucket/results/out.jsonl")
    ended = apxm("batch", "label.ais", *urls, *SIMULATED, "--limit", "4")
    assert (ended.status, "4 done" in ended.err) == (0, True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data of another machine"))
    ended = apxm("batch", "label.ais", *urls, *SIMULATED, "--ordered")
    assert (ended.status, "2 done, 1 failed (1 input), 4 were done before" in ended.err) == (1, True)
    there = [json.loads(line) for line in memory.cat_file("/bucket/results/out.jsonl").splitlines()]
    memory.store.clear()
    batch("--ordered")
    assert there == lines()


def test_file_urls_are_paths(apxm: Apxm) -> None:
    write("in put.jsonl", rows(2))
    here = Path.cwd().as_uri()
    ended = apxm("batch", "label.ais", "--input", f"{here}/in%20put.jsonl", "--output", f"{here}/out.jsonl", *SIMULATED)
    assert (ended.status, len(lines())) == (0, 2)


def test_what_an_engine_needs(batch: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in.jsonl", rows(2))
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = batch("--engine", "ray")
    assert "--engine ray needs Ray, which is not installed\nhint: pip install 'apxm[ray]'" in ended.err
    ended = batch("--engine", "spark")
    assert (ended.status, "there is no engine 'spark'\nhint: --engine local or ray" in ended.err) == (2, True)
    ended = batch("--workers", "2")
    assert (ended.status, "--workers is for --engine ray" in ended.err) == (2, True)
    assert not Path("out.jsonl").exists()


def killed_and_started_again(start: Start, kills: int, seed: int) -> None:
    """An input that has its line is never asked for again, and in the end each has one."""
    random = Random(seed)
    number = 30 * (kills + 1)
    write("in.jsonl", rows(number))
    with Asked(0.02) as server:
        for _ in range(kills):
            process = start_batch(start, server, "--max-concurrency", "8")
            wait_for(server, len(server.asked) + random.randint(1, 60))
            process.kill()
            process.communicate()
            text = Path("out.jsonl").read_text() if Path("out.jsonl").exists() else ""
            whole = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
            done = {line["line"] for line in whole}
            asked = len(server.asked) + 8  # those in flight may still get there
            again = start_batch(start, server, "--max-concurrency", "8", "--limit", str(min(number, len(done) + 5)))
            again.communicate(timeout=120)
            assert again.returncode == 0
            assert not done & {int(mark[5:-1]) + 1 for mark in server.asked[asked:]}
        process = start_batch(start, server, "--max-concurrency", "8")
        process.communicate(timeout=120)
    assert process.returncode == 0
    found = lines()
    assert sorted(line["line"] for line in found) == list(range(1, number + 1))
    assert all("value" in line for line in found)
    assert all(f"<row {line['line'] - 1}>" in line["value"] for line in found)


def test_killed_and_started_again_nothing_is_paid_twice_or_lost(start: Start) -> None:
    killed_and_started_again(start, kills=2, seed=1)


@pytest.mark.soak
def test_killed_at_twenty_moments(start: Start) -> None:
    killed_and_started_again(start, kills=20, seed=2)


def spent() -> int:
    return json.loads(Path("out.jsonl.spent").read_text())["tokens"]


def test_a_budget_is_that_of_the_whole_batch_over_all_commands(batch: Apxm) -> None:
    write("in.jsonl", rows(60))
    assert batch("--limit", "10").status == 0  # what is used without a budget counts, too
    first = spent()
    assert 300 < first < 900
    ended = batch("--max-total-tokens", "7000", "--json")
    assert ended.status == 4
    summary = json.loads(ended.out)
    assert (summary["all_tokens"], summary["complete"]) == (spent(), False)
    assert first < spent() == first + summary["tokens"] <= 7000
    assert re.search(r"line \d+: the budget does not cover (label|sure), which may cost 4,\d\d\d tokens: ", ended.err)
    assert "the same command with a larger --max-total-tokens goes on from here" in ended.err
    assert 10 < len(lines()) < 60
    assert all("value" in line for line in lines())  # what is not over is no failure
    again = batch("--max-total-tokens", "7000")
    assert (again.status, " done, " in again.err) == (4, True)
    assert spent() <= 7000
    assert batch("--max-total-tokens", "100000").status == 0
    assert len(lines()) == 60
    assert batch("--max-total-tokens", "1").status == 0  # nothing is left to pay for
    assert batch("--max-total-tokens", "1", "--overwrite").status == 4
    assert spent() == 0  # of another batch


def test_a_budget_of_money(batch: Apxm, apxm: Apxm) -> None:
    write("in.jsonl", rows(60))
    refused = batch("--max-cost", "1")
    assert (refused.status, "the cost of this run cannot be limited" in refused.err) == (2, True)
    assert not Path("out.jsonl").exists()
    Path("c.toml").write_text(
        '[backends.s]\nkind = "simulated"\nlatency = "constant:1"\nprices."simulated" = { input = 10, output = 100 }\n'
    )
    command = ("batch", "label.ais", "--input", "in.jsonl", "--output", "out.jsonl", "--config", "c.toml")
    ended = apxm(*command, "--max-cost", "0.5", "--json")
    summary = json.loads(ended.out)
    assert (ended.status, 0 < summary["all_cost"] <= 0.5) == (4, True)
    assert summary["all_cost"] == pytest.approx(summary["cost"])
    assert "may cost 0.4" in ended.err
    assert "the same command with a larger --max-cost goes on from here" in ended.err
    assert apxm(*command, "--max-cost", "5").status == 0
    assert 0.03 < json.loads(Path("out.jsonl.spent").read_text())["cost"] < 5


@pytest.mark.parametrize("more", [("--journal",), ("--no-journal",)])
def test_killed_with_a_budget_what_may_have_been_paid_counts(more: tuple[str, ...], start: Start) -> None:
    write("in.jsonl", rows(40))
    options = ("--max-concurrency", "4", "--max-total-tokens", "60000", *more)
    with Asked(holds="<row") as server:
        process = start_batch(start, server, *options)
        wait_for(server, 4)
        process.kill()
        process.communicate()
        before = spent()
        assert 4 * 4096 < before < 60000  # nobody knows what became of the four in flight
        server.go_on.set()
        process = start_batch(start, server, *options)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert spent() == before + 12 * (len(server.asked) - 4)


def test_before_paying_it_is_looked_whose_output_it_is(batch: Apxm) -> None:
    write("in.jsonl", rows(3))
    batch("--limit", "2")
    before = Path("out.jsonl").read_bytes()
    Path("label.ais").write_text(PROGRAM.replace("Label it.", "Name it."))
    for command in ((), ("--dry-run",)):
        ended = batch(*command)
        assert (ended.status, ended.out) == (2, "")
        assert "out.jsonl: this is the output of another batch: the program was another one" in ended.err
    shown = batch("--dry-run", "--overwrite").out.splitlines()
    assert [line.split() for line in shown[:2]] == [["inputs", "3"], ["left", "3"]]
    assert Path("out.jsonl").read_bytes() == before
    Path("label.ais").write_text(PROGRAM)
    write("in.jsonl", [{"text": "a", "more": 1}])
    assert "its columns was" in batch("--dry-run").err
    write("in.jsonl", rows(3))
    Path("out.jsonl.batch").unlink()
    ended = batch("--dry-run")
    assert (ended.status, "this file is there, and no batch has written it" in ended.err) == (2, True)
    assert not Path("out.jsonl.batch").exists()  # nothing was written
    Path("out.jsonl").unlink()
    Path("out.jsonl").mkdir()
    assert batch("--dry-run").status == 2


@pytest.mark.parametrize("suffix", [".batch", ".spent"])
def test_what_lies_beside_the_output_is_not_the_input(suffix: str, batch: Apxm) -> None:
    name = f"out.jsonl{suffix}"
    write(name, rows(2))
    for more in ((), ("--overwrite",), ("--dry-run",)):
        ended = batch("--format", "jsonl", *more, input=name)
        assert (ended.status, f"beside --output, {Path(name).resolve()} is the input itself" in ended.err) == (2, True)
    assert Path(name).read_text().count("\n") == 2


def test_standard_output_is_no_output(apxm: Apxm) -> None:
    write("in.jsonl", rows(1))
    for more in ((), ("--dry-run",)):
        ended = apxm("batch", "label.ais", "--input", "in.jsonl", "--output", "-", *SIMULATED, *more)
        assert (ended.status, "standard output cannot be gone on with" in ended.err) == (2, True)
    assert sorted(os.listdir()) == ["in.jsonl", "label.ais"]


def test_a_disk_without_room_is_told_with_the_file(start: Start) -> None:
    write("in.jsonl", rows(3))
    process = start(
        "batch", "label.ais", "--input", "in.jsonl", "--output", "out.jsonl", *SIMULATED,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert re.search(r"error: cannot write \S+out\.jsonl\.batch: File too large", err)
    assert Path("out.jsonl").read_text() == ""
    process = start("batch", "label.ais", "--input", "in.jsonl", "--output", "out.jsonl", *SIMULATED)
    assert process.wait(60) == 0
