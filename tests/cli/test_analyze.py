"""``apxm analyze``, ``apxm simulate`` and ``apxm calibrate``: nothing here calls a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apxm.analysis.profile import decode_profile
from apxm.config.profiles import profile_file
from apxm.reports.summary import duration
from tests.cli.conftest import ROOT, Apxm

WORKFLOW = str(ROOT / "workloads" / "4_scalability" / "workflow.ais")
SWITCH = """
agent A {
    flow main(topic: str, n: int = 1) -> str {
        ask("Which? " + topic) -> kind
        switch topic { case "short" => "done"  default => ask("More", kind) } -> x
        return x
    }
}
"""


@pytest.fixture
def switch(tmp_path: Path) -> str:
    path = tmp_path / "switch.ais"
    path.write_text(SWITCH)
    return str(path)


def test_analyze_says_what_is_known_before_a_run(apxm: Apxm) -> None:
    ended = apxm("analyze", WORKFLOW, "--flow", "parallel_4", "--p", "2,4")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "flow                     ScalabilityTest.parallel_4",
        "latencies                those of backend simulated: latency constant:1000, slowdown none",
        "T1, all calls            4.00 s",
        "T_inf, the longest path  1.00 s",
        "parallelism              4.00",
        "LLM calls                4",
        "input tokens, about      8",
        "output tokens, about     1,024 (4 to no limit)",
        "",
        "critical path:",
        "  1.00 s   ask    a       workflow.ais:12:9",
        "  0.00 ms  merge  result  workflow.ais:16:9",
        "",
        "| calls at once | not below | not above | predicted | 80% of runs |",
        "|--------------:|----------:|----------:|----------:|------------:|",
        "|             2 |    2.00 s |    2.50 s |    2.00 s |           – |",
        "|             4 |    1.00 s |    1.75 s |    1.00 s |           – |",
        "",
        "Bounds hold while a call takes as long as if it were alone; predictions include contention.",
    ]


def test_without_a_profile_the_configuration_says_how_long_a_simulated_backend_takes(
    apxm: Apxm, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[backends.dry]\nkind = "simulated"\nlatency = "constant:70"\nmax_concurrency = 1\n')
    (tmp_path / "a.ais").write_text('agent A { flow f() -> str { return merge(think("a"), reason("b"), ask("c")) } }')
    found = json.loads(apxm("analyze", "a.ais", "--config", "c.toml", "--json").out)
    assert found["latencies"] == "those of backend dry: latency constant:70, slowdown none"
    assert (found["t1_ms"]["expected"], found["t_inf_ms"]["expected"]) == (210, 70)
    simulated = json.loads(apxm("simulate", "a.ais", "--config", "c.toml", "--json").out)
    assert simulated["mean_ms"] == 210
    config.write_text('[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:1/v1"\n')
    found = json.loads(apxm("analyze", "a.ais", "--config", "c.toml", "--json").out)
    assert (
        found["latencies"]
        == "assumed: ask 1,000 ms, think 3,000 ms, reason 2,000 ms, plan 2,000 ms, verify 1,000 ms, reflect 1,000 ms"
    )
    refused = apxm("analyze", "a.ais", "--config", "nowhere.toml")
    assert (refused.status, "nowhere.toml" in refused.err) == (2, True)


def test_a_source_and_its_artifact_are_analyzed_alike(apxm: Apxm) -> None:
    assert apxm("compile", WORKFLOW, "-o", "w.apxmobj").status == 0
    source = apxm("analyze", WORKFLOW, "--flow", "parallel_2", "--json")
    artifact = apxm("analyze", "w.apxmobj", "--flow", "parallel_2", "--json")
    assert source.out == artifact.out
    found = json.loads(artifact.out)
    assert found["t1_ms"] == {"low": 2000, "expected": 2000, "high": 2000}
    assert [at["slots"] for at in found["at"]] == [1, 2, 4, 8]


def test_values_may_be_given_and_may_be_left_out(apxm: Apxm, switch: str) -> None:
    unknown = apxm("simulate", switch, "--runs", "50", "--json")
    assert len(set(json.loads(unknown.out)["samples_ms"])) == 2
    assert "not given, so what it decides is drawn: topic" in unknown.err
    known = apxm("simulate", switch, "short", "--json")
    assert json.loads(known.out) == {
        "mean_ms": 1000,
        "ci95_ms": [1000, 1000],
        "samples_ms": [1000],
        "calls": 1,
        "random": False,
        "interval80_ms": [1000, 1000],
        "unknown": [],
    }
    assert "not given" not in known.err
    assert "not given" in apxm("analyze", switch).out


LOOPS = """
agent A {
    flow main(topics: list[str]) -> str {
        for topic in topics (notes: "") {
            ask("About " + topic) -> found
            ask("Add", notes, found) -> longer
            next notes: longer
        } -> notes
        loop (max: 3, draft: notes) {
            ask("Good?", draft, choices: ["yes", "no"]) -> good
            switch good { case "yes" => { return true }  case "no" => { return false } } -> done
            until done
            next draft: ask("Better", draft)
        } -> final
        return final
    }
}
"""


def test_the_number_of_turns_may_be_given(apxm: Apxm) -> None:
    Path("loops.ais").write_text(LOOPS)
    told = ["loops.ais", "--with", "topics=100", "--with", "final=3"]
    lines = apxm("analyze", *told, "--p", "4").out.splitlines()
    assert lines[2:4] == [
        "T1, all calls            3 min 24 s (3 min 23 s to 3 min 26 s)",
        "T_inf, the longest path  1 min 46 s (1 min 46 s to 1 min 47 s)",
    ]
    notes, final = lines[lines.index("loops:") :][1:3]
    assert notes.split("  ")[1:4] == ["notes", "for", " 100 turns"]
    assert notes.endswith("each turn ends 1.00 s after the one before  loops.ais:4:9")
    assert "1.50 s (1.00 s to 2.00 s) of calls in each" in final
    assert final.endswith("each turn ends 2.00 s after the one before  loops.ais:9:9")
    assert lines[lines.index("what would help:") :][1:4] == [
        "  notes  if no turn needed `notes` from the one before  all turns would run at once"
        "                 T_inf 7.50 s, not 1 min 46 s",
        "  final  if no turn needed `draft` from the one before  each would end 1.00 s after the one before"
        "  T_inf 1 min 44 s, not 1 min 46 s",
        "",
    ]
    simulated = apxm("simulate", *told, "--json", "-q")
    assert json.loads(simulated.out)["samples_ms"]
    assert "open at once" not in "".join(lines)
    assert "with 4,096 a run" in " ".join(apxm("analyze", "loops.ais", "--with", "topics=5000", "--p", "4").out.split())
    refused = apxm("simulate", "loops.ais", "--with", "notes=2", "--with", "finally=3")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == "error: A.main has no list and no loop called 'finally'\nhint: did you mean final?\n"


ASKS = """
agent A {
    capability look(q: str) -> str
    flow main(x: str) -> str {
        ask(x, schema: list[str]) -> chunks
        for chunk in chunks (notes: "") {
            ask(notes, chunk, tools: [look]) -> found
            next notes: found
        } -> all
        return all
    }
}
"""


def test_what_cannot_be_changed_is_no_help_and_what_is_assumed_is_said(apxm: Apxm) -> None:
    Path("asks.ais").write_text(ASKS)
    text = apxm("analyze", "asks.ais").out
    assert "`rounds`" not in text
    assert "if no turn needed `notes` from the one before" in text
    assert "  how many turns is assumed of all: `--with NAME=N` says it, by this name or a parameter's\n" in text
    known = apxm("analyze", "asks.ais", "--with", "all=20").out
    assert "20 turns" in known
    assert "is assumed of" not in known
    refused = apxm("analyze", "asks.ais", "--with", "chunks=3")
    assert "error: A.main has no list and no loop called 'chunks'\n" in refused.err
    assert "hint: only lists of parameters and loops, by their path, have a number: there are all" in refused.err


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3599, "59 min 59 s"), (3600, "1 h 00 min"), (86_399, "23 h 59 min"), (100_000_022, "1,157 d 09 h")],
)
def test_long_durations_are_hours_and_days(seconds: int, expected: str) -> None:
    assert duration(seconds * 1000) == expected


def test_a_calibration_is_kept_and_predicted_from(apxm: Apxm, tmp_path: Path) -> None:
    calibrated = apxm("calibrate", "--latency", "constant:200", "--slowdown", "usl:0.5,0", "--c", "1,2,4")
    assert calibrated.status == 0
    assert "sharing: calls that are in flight together all get slower" in calibrated.out
    assert "| 4 |    10 |   500.0 |   500.0 | 500.0 | 2.500 |     -0.000 |" in calibrated.out.replace(
        "+0.000", "-0.000"
    )
    assert "α 0.5000, β 0.000000" in calibrated.out
    assert "this makes up to" in calibrated.err
    kept = profile_file("simulated")
    assert kept.is_relative_to(tmp_path / "home")
    assert f"wrote {kept}" in calibrated.err
    assert decode_profile(kept.read_bytes(), where="kept").isolated_ms == 200

    for chosen in ("simulated", str(kept)):
        ended = apxm("simulate", WORKFLOW, "--flow", "parallel_4", "--profile", chosen, "--json", "-q")
        assert json.loads(ended.out)["mean_ms"] == pytest.approx(500, abs=0.01)
        assert ended.err == ""
    limited = apxm(
        "simulate", WORKFLOW, "--flow", "parallel_4", "--profile", "simulated", "--max-concurrency", "1", "--json"
    )
    assert json.loads(limited.out)["mean_ms"] == pytest.approx(800, abs=0.01)
    assert json.loads(apxm("analyze", WORKFLOW, "--profile", "simulated", "--json").out)["t1_ms"]["expected"] == 400


ENGINE = "tokens:fixed=5,step=12,prefill=0.2,decode=0.5,slots=4,answer=400"


def test_a_calibration_by_tokens_says_what_it_will_take_and_what_a_call_costs(apxm: Apxm) -> None:
    Path("priced.toml").write_text(
        f'[backends.s]\nkind = "simulated"\nlatency = "{ENGINE}"\n'
        "prices.simulated = { input = 1000, output = 10000 }\n"
    )
    ended = apxm("calibrate", "--config", "priced.toml", "--c", "1,4,8", "--calls", "40")
    assert ended.status == 0
    planned = next(line for line in ended.err.splitlines() if line.startswith("planned: "))
    calls, given, taken, cost = (float(n.replace(",", "")) for n in re.findall(r"[0-9][0-9,.]*[0-9]", planned))
    assert calls == 8 + 2 * (4 + 8)
    assert cost == pytest.approx((given * 1000 + taken * 10000) / 1e6, rel=0.01)
    costs = [re.split(r" *\| *", line)[1:4] for line in ended.out.splitlines() if "±" in line]
    assert costs == [
        ["fixed", "5", "± 0"],
        ["step", "12", "± 0"],
        ["prefill", "0.2", "± 0"],
        ["decode", "0.5", "± 0"],
    ]
    assert "calls in service     4 slots" in ended.out
    assert "not learned:\n- " in ended.out


def test_a_program_is_predicted_by_its_tokens_and_what_is_not_known_is_said(apxm: Apxm) -> None:
    Path("p.ais").write_text(
        'agent A { @entry flow f() -> str { ask("Say it.", max_tokens: 101) -> a; ask("And on.") -> b; '
        "merge(a, b) -> both; return both } }"
    )
    assert apxm("calibrate", "--latency", ENGINE, "--c", "1,4", "--for", "p.ais", "-q", "-o", "e.json").status == 0
    ended = apxm("simulate", "p.ais", "--profile", "e.json", "-q")
    assert ended.status == 0, ended.err
    assert "80% of runs" in ended.out
    assert "Nobody knows how long these answers are, so that is drawn: b." in " ".join(ended.out.split())
    found = json.loads(apxm("simulate", "p.ais", "--profile", "e.json", "--json", "-q").out)
    assert found["unknown"] == ["b"]
    assert found["interval80_ms"][0] >= 5 + 12 + 100 * 12.5


def test_a_single_run_says_whether_another_could_differ(apxm: Apxm) -> None:
    assert apxm("calibrate", "--latency", "lognormal:200,0.4", "--c", "1,2", "-q", "-o", "random.json").status == 0
    drawn = apxm("simulate", WORKFLOW, "--flow", "parallel_2", "--profile", "random.json", "--runs", "1", "-q")
    assert drawn.out.endswith("ms (one of many that are possible)\n")
    assert apxm("simulate", WORKFLOW, "--flow", "parallel_2", "-q").out.endswith("(nothing in it is random)\n")


def test_a_calibration_prints_the_profile_as_json(apxm: Apxm) -> None:
    ended = apxm("calibrate", "--json", "-q", "-o", "mine.json", "--c", "1,2")
    assert ended.err == ""
    assert decode_profile(ended.out.encode(), where="out") == decode_profile(
        Path("mine.json").read_bytes(), where="file"
    )


def test_a_backend_that_is_set_up_to_fail_is_not_measured(apxm: Apxm) -> None:
    Path("failing.toml").write_text('[backends.s]\nkind = "simulated"\nfaults = "hang:@5"\n')
    ended = apxm("calibrate", "--config", "failing.toml", "-o", "mine.json")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: s is set up to fail (hang:@5), and only answers can be measured\nhint: ")


def test_a_backend_that_is_not_simulated_is_not_called_without_a_yes(
    apxm: Apxm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    refused = apxm("calibrate", "--backend", "openai", "--c", "1,2")
    assert refused.status == 2
    assert "need a yes, and standard input is no terminal" in refused.err
    assert "this makes up to" in refused.err
    failed = apxm("calibrate", "--backend", "openai", "--c", "1,2", "--yes")
    assert failed.status == 1
    assert "2 of 2 calls failed" in failed.err
    assert apxm("simulate", WORKFLOW, "--profile", "openai").status == 2  # nothing was kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", WORKFLOW, "--p", "1,x"], "--p '1,x': expected numbers of at least 1"),
        (["analyze", WORKFLOW, "--p", "0"], "--p '0'"),
        (["analyze", WORKFLOW, "--with", "xs=many"], "--with xs=many: expected a number of items or turns"),
        (["analyze", WORKFLOW, "--with", "3"], "--with wants NAME=N, not '3'"),
        (["simulate", WORKFLOW, "--with", "xs=2", "--with", "xs=3"], "--with gives 'xs' twice"),
        (["calibrate", "--c", ""], "--c ''"),
        (["calibrate", "--by", "luck"], "--by 'luck': expected tokens or load"),
        (["calibrate", "--by", "tokens", "--max-tokens", "5"], "--max-tokens is of --by load"),
        (["calibrate", "--seconds", "5"], "--seconds is of --by tokens"),
        (["calibrate", "--for", "p.ais"], "--for is of --by tokens"),
        (["analyze", WORKFLOW, "--profile", "nobody"], "no profile of a backend of that name"),
        (["analyze", WORKFLOW, "--profile", WORKFLOW], "this is not a profile"),
        (["simulate", "missing.ais"], "missing.ais"),
        (["simulate", WORKFLOW, "--flow", "parallel_3"], "did you mean"),
        (["simulate", WORKFLOW, "value"], "takes no values"),
        (["calibrate", "--backend", "nobody"], "there is no backend 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused(apxm: Apxm, arguments: list[str], message: str) -> None:
    ended = apxm(*arguments)
    assert ended.status == 2
    assert message in ended.err
    assert ended.out == ""
