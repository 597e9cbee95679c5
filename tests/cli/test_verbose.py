"""`--verbose`: each call of a run as it happens, on standard error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm, Start

FAST = ("--latency", "constant:1")
TWO = """\
agent A {
    @entry flow f(topic: str) -> str {
        ask(f"About {topic}", system: "Be brief.") -> a
        ask("Then", a, retries: 0) -> b
        print("done")
        return b
    }
}
"""


@pytest.fixture(autouse=True)
def two(tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text(TWO)


def without_times(text: str) -> list[str]:
    lines = [line.partition("] ")[2] if line.startswith("[") else line for line in text.splitlines()]
    return [re.sub(" after [0-9.]+ m?s", "", line) for line in lines]


def test_each_call_is_told_of_with_prompt_and_answer(apxm: Apxm) -> None:
    ended = apxm("execute", "two.ais", "bees", "--verbose", *FAST)
    assert ended.out.splitlines()[0] == "done"
    shown = without_times(ended.err)
    answer = shown[5].removeprefix("  answer: ")
    assert answer.endswith("About bees")
    assert shown[1:-1] == [
        "a asks simulated (backend simulated)",
        "  system: Be brief.",
        "  prompt: About bees",
        "a is answered, 6 tokens in, 10 out",
        f"  answer: {answer}",
        "b asks simulated (backend simulated)",
        "  prompt:",
        "    Then",
        "",
        f"    Context 1: {answer}",
        "b is answered, 14 tokens in, 20 out",
        shown[-2],
    ]


def test_a_failed_attempt_says_why_and_its_request_is_not_repeated(apxm: Apxm) -> None:
    ended = apxm("execute", "two.ais", "bees", "-v", *FAST, "--faults", "503:@1")
    told = [line for line in without_times(ended.err) if not line.startswith(" ")]
    assert [line for line in told if line.startswith("a ")] == [
        "a asks simulated (backend simulated)",
        "a fails",
        "a is tried again at the earliest",
        "a asks simulated (backend simulated), attempt 2",
        "a is answered, 6 tokens in, 10 out, attempt 2",
    ]
    assert "  http_status: simulated answered 503 Service Unavailable (a simulated fault)" in ended.err.splitlines()
    assert ended.err.count("prompt: About bees") == 1


def test_texts_are_escaped_and_long_ones_cut_with_their_length(apxm: Apxm) -> None:
    ended = apxm("execute", "two.ais", "\x1b[2J" + "x" * 5000, "-v", *FAST)
    assert "\x1b" not in ended.err
    assert "  prompt: About \\x1b[2Jxxx" in ended.err
    assert "x… (the first 2,000 of 5,010 characters)" in ended.err


def test_quiet_and_verbose_contradict_each_other(apxm: Apxm) -> None:
    ended = apxm("execute", "two.ais", "bees", "-v", "-q", *FAST)
    assert (ended.status, ended.out) == (2, "")
    assert "--quiet says only what went wrong, --verbose tells of each call" in ended.err


def test_a_resumed_run_tells_what_the_journal_answers_and_what_is_asked(apxm: Apxm, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    failed = apxm(
        "execute", "two.ais", "bees", "--journal-dir", str(folder), "--journal", "--faults", "redirect:@2", *FAST,
        "--max-total-tokens", "100000",
    )  # fmt: skip
    assert failed.status == 1, failed.err
    run_id = json.loads(apxm("runs", "list", "--json", "--journal-dir", str(folder)).out)[0]["id"]
    ended = apxm("resume", run_id, "--journal-dir", str(folder), "-v")
    told = [line for line in without_times(ended.err) if not line.startswith(" ")]
    assert "a is answered by the journal" in told
    assert "  prompt: About bees" in ended.err
    assert "b asks simulated (backend simulated)" in told
    assert "a asks simulated (backend simulated)" not in told


def test_an_artifact_is_told_of_too_and_json_stays_one_object(apxm: Apxm) -> None:
    apxm("compile", "two.ais")
    ended = apxm("run", "two.apxmobj", "bees", "-v", "--json", *FAST)
    assert json.loads(ended.out)["printed"] == ["done"]
    assert "  prompt: About bees" in ended.err


def test_a_call_is_told_of_while_it_runs(start: Start) -> None:
    running = start("execute", "two.ais", "bees", "-v", "--latency", "constant:600000")
    assert running.stderr is not None
    lines = [running.stderr.readline() for _ in range(4)]
    assert "About bees" in lines[3]
    running.terminate()
    _, rest = running.communicate(timeout=20)
    assert "a is given up after " in rest


TOOLS = """\
agent A {
    capability look(q: str) -> str readonly
    @entry flow f(topic: str) -> str { return ask(topic, tools: [look]) }
}
"""


def test_calls_of_tools_are_told_of_with_what_they_gave(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "tools.ais").write_text(TOOLS)
    options = ("--seed", "1", *FAST, "--tool-latency", "1", "--journal", "--journal-dir", "runs")
    ended = apxm("execute", "tools.ais", "bees", "--verbose", "--stream", *options)
    shown = without_times(ended.err)
    begin = shown.index("ask#1[1]/ask asks simulated (backend simulated)")
    assert shown[begin + 1 : begin + 6] == [
        "  tools: look", "  prompt: bees", "ask#1[1]/ask is answered, 1 token in, 10 out",
        '  calls look: {"q":"q c5fa"}', '  calls look: {"q":"q b716"}',
    ]  # fmt: skip
    again = shown.index("ask#1[2]/ask asks simulated (backend simulated)")
    assert shown[again + 1 : again + 7] == [
        "  tools: look", "  prompt: bees", '  calls look: {"q":"q c5fa"}', "  gave: value 5dc2",
        '  calls look: {"q":"q b716"}', "  gave: value 11f1",
    ]  # fmt: skip
    assert "the result is not the answer of one call, so --stream shows it whole at the end" in ended.err
    assert ended.out.startswith("Simulated answer ")
    calls = json.loads(apxm("runs", "show", "last", "--prompts", "--json", "--journal-dir", "runs").out)["calls"]
    assert [(call["path"], call["exact"], call["tools"], len(call["rounds"])) for call in calls] == [
        ("ask#1[1]/ask", True, ["look"], 0), ("ask#1[2]/ask", True, ["look"], 1),
    ]  # fmt: skip
    assert calls[1]["rounds"][0]["results"] == ["value 5dc2", "value 11f1"]
    lines = apxm("runs", "show", "last", "--journal-dir", "runs").out.splitlines()
    asked, answered = (next(line for line in lines if line.startswith(f"  ask#1[{n}]/ask ")) for n in (1, 2))
    assert asked.endswith(' calls look {"q": "q c5fa"}, calls look {"q": "q b716"}')
    assert ' "Simulated answer ' in answered
    prompts = apxm("runs", "show", "last", "--prompts", "--journal-dir", "runs").out
    assert '  calls look: {"q":"q c5fa"}\n  calls look: {"q":"q b716"}\n\n2. ask#1[2]/ask' in prompts
    assert "  answer: Simulated answer " in prompts
