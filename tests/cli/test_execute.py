"""`apxm execute` and `apxm run`: output, summary, files, exit statuses."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from tests.cli.conftest import ROOT, Apxm, Start

FAST = ("--latency", "constant:1")
RESEARCH = """\
agent A {
    @entry flow research(topic: str, depth: int = 2) -> str {
        print("topic:", topic)
        print("depth:", depth)
        ask(f"{topic} to depth {depth}") -> findings
        return findings
    }
    flow data(items: list[int]) -> json { return {"items": items} }
    flow silent() { print("only this") }
}
"""


@pytest.fixture(autouse=True)
def research(tmp_path: Path) -> None:
    (tmp_path / "research.ais").write_text(RESEARCH)


def test_stdout_gets_printed_lines_then_the_result_and_stderr_the_rest(apxm: Apxm) -> None:
    ended = apxm("execute", "research.ais", "bees", *FAST)
    assert ended.status == 0
    assert ended.out.splitlines()[:2] == ["topic: bees", "depth: 2"]
    assert ended.out.splitlines()[2].endswith(": bees to depth 2")
    first, last = ended.err.splitlines()
    assert first.startswith("model: simulated")
    assert "OPENAI_API_KEY" in first
    assert last.startswith("succeeded: 3 operations, 1 LLM call in ")
    assert "T1 " in last
    assert "T_inf " in last
    assert "speedup " in last


def test_in_a_pipe_a_line_now_and_then_says_how_far_a_long_run_is(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.cli.session.LINES_EACH_S", 0.001)
    shown = {
        option: apxm("execute", "research.ais", "bees", "--latency", "constant:100", option).err
        for option in ("--json", "-q", "-v")
    }
    assert "2 done, 1 running, 0 waiting; 0:00\n" in shown["--json"]
    assert "1 running" not in shown["-q"] + shown["-v"]


def test_options_may_stand_before_and_after_the_file(apxm: Apxm) -> None:
    before = apxm("execute", "--quiet", *FAST, "-O0", "--arg", "topic=x", "research.ais")
    after = apxm("execute", "research.ais", "--arg", "topic=x", "-O2", *FAST, "--quiet")
    assert before == after
    assert before.err == ""


def test_another_flow_a_json_result_and_a_flow_without_one(apxm: Apxm) -> None:
    assert apxm("execute", "research.ais", "--flow", "A.data", "[1, 2]", "-q").out == '{"items":[1,2]}\n'
    assert apxm("execute", "research.ais", "--flow", "silent", "-q").out == "only this\n"


def test_json_is_one_object_with_everything(apxm: Apxm) -> None:
    ended = apxm("execute", "research.ais", "bees", "--json", *FAST)
    report = json.loads(ended.out)
    assert list(report) == ["run_id", "status", "result", "printed", "failures", "caught", "metrics"]
    assert report["status"] == "succeeded"
    assert report["result"].endswith(": bees to depth 2")
    assert report["printed"] == ["topic: bees", "depth: 2"]
    assert report["metrics"]["llm"]["total_requests"] == 1
    assert report["metrics"]["link_phases"]["compile_ms"] > 0
    assert len(ended.err.splitlines()) == 2


def test_the_seeds_commands_compile_run_and_write_their_files(apxm: Apxm, tmp_path: Path) -> None:
    workflow = (ROOT / "workloads/4_scalability/workflow.ais").read_text()
    (tmp_path / "workflow.ais").write_text(workflow)
    compiled = apxm(
        "compile", "workflow.ais", "-o", "workflow.apxmobj", "--emit-diagnostics", "diagnostics.json", "-O1"
    )
    assert compiled == (0, "", "wrote workflow.apxmobj\n")
    diagnostics = json.loads((tmp_path / "diagnostics.json").read_text())
    shape = {"total_nodes": 3, "entry_nodes": 2, "exit_nodes": 1, "total_edges": 2}
    assert diagnostics["dag_statistics"].items() >= shape.items()

    ran = apxm("run", "--emit-metrics", "metrics.json", "workflow.apxmobj", *FAST)
    assert ran.status == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["execution"]["nodes_executed"] == 3
    assert metrics["scheduler"]["max_parallelism"] == 2
    assert metrics["link_phases"]["compile_ms"] == 0
    assert metrics["link_phases"]["artifact_ms"] > 0
    asked, merged = metrics["work_span"]["critical_path"]
    assert asked["where"] in ("workflow.ais:4:9", "workflow.ais:5:9")
    assert (merged["path"], merged["where"]) == ("result", "workflow.ais:6:9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["execute", "research.ais"], "error: research needs a value for topic: str\nhint: its signature is research("),
        (["execute", "research.ais", "a", "1", "2"], "error: research takes 2 values, and 3 were given"),
        (["execute", "research.ais", "a", "--arg", "depth=two"], "error: depth is of type int, and 'two' is not one"),
        (["execute", "research.ais", "--flow", "reserch"], "error: this program has no flow called 'reserch'"),
        (["execute", "research.ais", "a", "--timeout", "0"], "error: the timeout must be"),
        (["execute", "research.ais", "a", "--latency", "soon"], "error: "),
        (
            ["execute", "research.ais", "a", "--faults", "often"],
            "error: faults 'often': found 'often', expected none or",
        ),
        (["execute", "research.ais", "a", "--backend", "nowhere"], "error: "),
        (["execute", "missing.ais"], "error: missing.ais: there is no such file"),
        (["execute", "."], "error: .: this is a directory"),
        (["run", "research.ais"], "error: research.ais: this is a source, not an artifact\nhint: apxm execute"),
        (["inspect", "research.ais"], "error: research.ais: this is a source, not an artifact\nhint: apxm compile"),
        (["run", "missing.apxmobj"], "error: missing.apxmobj: the artifact cannot be read: No such file or directory"),
        (["execute", "research.ais", "a", "--emit-metrics", "no/m.json"], "error: cannot write no/m.json: No such"),
        (["execute", "research.ais", "a", "--emit-metrics", "."], "error: cannot write .: it is a directory"),
        (["compile", "research.ais", "-o", "./research.ais"], "error: -o ./research.ais is the input itself"),
        (["compile", "research.ais", "-o", ""], "error: -o names no file"),
        (["compile", "research.ais", "-o", "x", "--emit-diagnostics", "./x"], "is the file of -o itself"),
        (["execute", "research.ais", "a", "--emit-metrics", "research.ais"], "is the input itself: name another file"),
        (["run", "research.apxmobj", "--emit-metrics", "./research.apxmobj"], "is the input itself"),
        (
            ["execute", "research.ais", "a", "--emit-metrics", "m", "--emit-diagnostics", "m"],
            "error: --emit-diagnostics m is the file of --emit-metrics itself: name another file",
        ),
        (["execute", "research.ais", "a", "--emit-metrics", ""], "error: --emit-metrics names no file"),
        (["execute", "research.ais", "a", "--max-concurrency", "0"], "--max-concurrency"),
        (["execute", "research.ais", "-O3"], "-O"),
        (["execute"], "FILE.ais"),
        (["exekute"], "exekute"),
    ],
)
def test_bad_usage_is_status_2_and_says_why(apxm: Apxm, arguments: list[str], message: str) -> None:
    ended = apxm(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert "model:" not in ended.err, "refused before anything begins"


def test_an_artifact_given_to_execute_says_what_to_type(apxm: Apxm) -> None:
    apxm("compile", "research.ais")
    ended = apxm("execute", "research.apxmobj")
    assert ended.status == 2
    assert "hint: apxm run research.apxmobj" in ended.err


def test_a_source_with_errors_is_status_1_and_runs_nothing(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "bad.ais").write_text("agent A { flow f() -> str { return missing } }")
    for command in ("execute", "compile", "check"):
        ended = apxm(command, "bad.ais")
        assert (ended.status, ended.out) == (1, "")
        assert "bad.ais:1:36: error[undefined-name]" in ended.err
    assert not (tmp_path / "bad.apxmobj").exists()


def test_a_damaged_artifact_is_status_1(apxm: Apxm, tmp_path: Path) -> None:
    apxm("compile", "research.ais")
    artifact = tmp_path / "research.apxmobj"
    artifact.write_bytes(artifact.read_bytes()[:-1])
    ended = apxm("run", "research.apxmobj", "bees")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: research.apxmobj: the artifact is truncated")


def test_a_run_that_fails_is_status_1_tells_where_and_still_writes_its_metrics(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "pick.ais").write_text(
        'agent A { flow f(x: str) -> str { print("first") switch x { case "a" => ask("A") } -> y return y } }'
    )
    ended = apxm("execute", "pick.ais", "b", "--emit-metrics", "m.json", *FAST)
    assert ended.status == 1
    assert ended.out == "first\n"
    assert "pick.ais:1:" in ended.err
    assert "no_match" in ended.err
    assert ended.err.splitlines()[-1].startswith("failed: ")
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "failed"
    report = json.loads(apxm("execute", "pick.ais", "b", "--json", "-q", *FAST).out)
    assert report["status"] == "failed"
    assert report["result"] is None
    assert [list(failure) for failure in report["failures"]] == [["operation", "where", "kind", "message"]]


def test_a_result_that_nobody_could_write_out_fails_the_run_and_loses_nothing(apxm: Apxm, tmp_path: Path) -> None:
    steps = "".join(f"wait_all(v{i}) -> v{i + 1} " for i in range(600))
    write = (tmp_path / "deep.ais").write_text
    write(f'agent A {{ flow f() -> json {{ ask("paid") -> v0 {steps} return v600 }} }}')
    ended = apxm("execute", "deep.ais", "--emit-metrics", "m.json", *FAST)
    assert (ended.status, ended.out) == (1, "")
    assert "return failed (too_large): a value nests deeper than 200 levels" in ended.err
    assert ended.err.splitlines()[-1].startswith("failed: 601 operations, 1 LLM call")
    assert json.loads((tmp_path / "m.json").read_text())["llm"]["total_requests"] == 1
    report = json.loads(apxm("execute", "deep.ais", "--json", *FAST).out)
    assert (report["status"], report["result"], report["failures"][0]["operation"]) == ("failed", None, "return")


def test_a_run_over_its_time_is_stopped_with_status_4(apxm: Apxm) -> None:
    ended = apxm("execute", "research.ais", "bees", "--timeout", "0.01", "--latency", "constant:60000")
    assert ended.status == 4
    assert ended.out == "topic: bees\ndepth: 2\n"
    assert ended.err.splitlines()[-1].startswith("stopped: ")


def test_faults_are_met_where_they_are_asked_for(apxm: Apxm) -> None:
    assert apxm("compile", "research.ais", "-o", "research.apxmobj").status == 0
    for command in (["execute", "research.ais"], ["run", "research.apxmobj"]):
        ended = apxm(*command, "bees", "--faults", "redirect:@1", *FAST)
        assert ended.status == 0
        assert ended.err.splitlines()[0].startswith("model: simulated, no real model: latency constant:1,")
        assert "faults redirect:@1" in ended.err.splitlines()[0]
        assert "3 operations, 2 LLM calls in" in ended.err, "it was tried again"
        assert apxm(*command, "bees", "--faults", "none", *FAST).status == 0


def test_warnings_follow_the_line_that_says_who_answers(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "wasteful.ais").write_text('agent A { flow f() -> str { ask("x") -> a return "done" } }')
    lines = apxm("execute", "wasteful.ais").err.splitlines()
    assert lines[0].startswith("model: ")
    assert lines[1].startswith("wasteful.ais:1:29: warning[")
    quiet = apxm("execute", "wasteful.ais", "-q")
    assert quiet.err == ""


def test_every_model_that_the_program_names_is_announced(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text(
        'agent A { flow f() { ask("x") -> a ask("y", backend: "paid") -> b ask("z", backend: "paid") -> c print(a) } }'
    )
    (tmp_path / "c.toml").write_text(
        'default_backend = "free"\n[backends.free]\nkind = "simulated"\nlatency = "constant:1"\n'
        '[backends.paid]\nkind = "openai"\nmodel = "large"\nendpoint = "http://127.0.0.1:9/v1"\n'
    )
    lines = apxm("execute", "two.ais", "-O0", "--config", "c.toml").err.splitlines()
    assert lines[0].startswith("model: simulated")
    assert lines[1] == "model: large at http://127.0.0.1:9/v1 (backend paid), where the program names it"
    lines = apxm("execute", "two.ais", "-O0", "--config", "c.toml", "--backend", "simulated", *FAST).err.splitlines()
    assert [line for line in lines if line.startswith("model:")] == lines[:1]


def test_simulated_options_with_a_real_backend_are_a_usage_error(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    ended = apxm("execute", "research.ais", "bees", "--seed", "1")
    assert ended.status == 2
    assert "--seed" in ended.err
    assert "secret" not in ended.err


def test_a_defect_of_ours_is_told_as_one(apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.cli.session.run_program", lambda *_: 1 / 0)
    ended = apxm("execute", "research.ais", "bees")
    assert ended.status == 1
    assert ended.err.startswith("error: ZeroDivisionError: division by zero\nhint: APXM_DEBUG=1")
    assert "defect of A-PXM" in ended.err


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff\xfe junk", b"(" * 10_000, b"APXM\x01", "agent Ä {}".encode("latin-1")],
    ids=["empty", "binary", "nested", "magic only", "latin-1"],
)
def test_reckless_files_end_in_a_message(apxm: Apxm, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ais").write_bytes(content)
    (tmp_path / "x.apxmobj").write_bytes(content)
    for arguments in (["check", "x.ais"], ["execute", "x.ais"], ["run", "x.apxmobj"], ["inspect", "x.apxmobj"]):
        ended = apxm(*arguments)
        assert ended.status in (1, 2)
        assert "error" in ended.err
        assert "defect" not in ended.err


def test_the_first_failure_ends_the_run_where_asked_to(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "failing.ais").write_text("""
        agent A {
            @entry flow f() {
                switch ask("quick") { case "never" => print("never") }
                ask("slow") -> x
                print(x)
            }
        }
    """)
    arguments = ("failing.ais", "--latency", "trace:1,600000", "--emit-metrics", "m.json")
    ended = apxm("execute", *arguments, "--on-error", "cancel")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("failed: 1 operation, 2 LLM calls in ")
    assert json.loads((tmp_path / "m.json").read_text())["execution"]["status"] == "failed"


def test_a_wrong_word_for_what_to_do_on_an_error_is_refused(apxm: Apxm) -> None:
    ended = apxm("execute", "research.ais", "bees", "--on-error", "stop")
    assert (ended.status, ended.err) == (2, "error: on an error a run can finish or cancel, not 'stop'\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_backend_that_keeps_the_loop_busy_is_named(apxm: Apxm, monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    def slow(_self: SimulatedBackend, _request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        time.sleep(0.2)
        return clock.call_at(clock.now(), lambda: done(ModelAnswer("done")))

    monkeypatch.setattr(SimulatedBackend, "begin", slow)
    ended = apxm("execute", "research.ais", "bees", *(["--quiet"] if quiet else []))
    assert ended.status == 0
    warnings = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == (not quiet)
    if warnings:
        assert "findings: backend 'simulated' kept the event loop busy for at least " in warnings[0]


def test_all_that_a_run_lacks_is_told_before_it_begins(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text(
        'agent A { flow f(x: str) { ask(x, backend: "a") -> a ask("z", backend: "b") -> b print(a, b) } }'
    )
    ended = apxm("execute", "two.ais", "--arg", "x=@missing.txt", "--journal")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "error: missing.txt: there is no such file",
        "error: the program asks for backend 'a', which is not configured",
        "hint: configured: simulated",
        "error: the program asks for backend 'b', which is not configured",
        "hint: configured: simulated",
    ]
    assert apxm("runs", "list", "--json").out == "[]\n"
    assert apxm("execute", "two.ais", "x", "--backend", "simulated", "-q", *FAST).status == 0


def test_values_come_from_files_and_standard_input(apxm: Apxm, start: Start, tmp_path: Path) -> None:
    (tmp_path / "topic.txt").write_text("bees\n")
    (tmp_path / "args.json").write_text('{"topic": "ants", "depth": 5}')
    ended = apxm("execute", "research.ais", "--arg", "topic=@topic.txt", "--args", "args.json", "-q", *FAST)
    assert ended.out.splitlines()[:3] == ["topic: bees", "", "depth: 5"]
    refused = apxm("execute", "research.ais", "--args", "args.json", "--emit-metrics", "./args.json")
    assert "--emit-metrics ./args.json is the file of --args itself" in refused.err
    process = start("execute", "research.ais", "--arg", "topic=@-", "-q", *FAST, stdin=subprocess.PIPE)
    assert process.communicate("wasps", timeout=60)[0].splitlines()[:2] == ["topic: wasps", "depth: 2"]
