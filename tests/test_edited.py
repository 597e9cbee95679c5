"""Runs that go on with an edited program: what is kept, what is asked again, and what is said before."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apxm
from apxm.analysis.static import Range
from apxm.backends.protocol import ModelRequest, Price
from apxm.errors import BackendError, JournalError, UsageError
from apxm.journal.catalog import find, read
from apxm.journal.runs import find_run
from apxm.testing import ScriptedBackend
from tests.journal.per_run_files import write_old
from tests.programs import random_source

HEAD = "agent A { @entry flow main(topic: str) -> str {\n"


def program(body: str, head: str = HEAD) -> apxm.Program:
    return apxm.compile_text(f"{head}{body}\n}} }}")


def answering(fail: str | None = None) -> ScriptedBackend:
    """A function of the request; a prompt that holds `fail` is not answered."""

    def script(request: ModelRequest) -> str | BackendError:
        if fail is not None and fail in request.prompt:
            return BackendError("connection", "lost", retryable=False)
        return f"<{request.prompt}>"

    return ScriptedBackend(script, latency_ms=lambda _: 0)


def pool(backend: ScriptedBackend) -> apxm.BackendPool:
    return apxm.BackendPool({"scripted": backend}, "scripted")


def begin(folder: Path, body: str | apxm.Program, backend: ScriptedBackend | None = None) -> str:
    """The id of a run, however it ended."""
    p = program(body) if isinstance(body, str) else body
    inputs = {"topic": "bees"} if p.flows[-1].parameters else {}
    try:
        used = pool(backend or answering())
        return apxm.run(p, inputs, backends=used, journal=True, journal_dir=folder).run_id
    except apxm.RunFailed as failed:
        return failed.result.run_id


def go_on(
    folder: Path, run_id: str, body: str | apxm.Program | None, backend: ScriptedBackend | None = None
) -> tuple[apxm.Result, ScriptedBackend]:
    backend = backend or answering()
    edited = False if body is None else program(body) if isinstance(body, str) else body
    try:
        return apxm.resume(run_id, edited=edited, backends=pool(backend), journal_dir=folder), backend
    except apxm.RunFailed as failed:
        return failed.result, backend


THREE = """
    ask(f"first {topic}") -> first
    ask(f"second {first}") -> second
    print(first)
    return ask("third", second)
"""


def test_only_what_is_another_request_is_asked_again(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE, answering(fail="third"))
    result, backend = go_on(tmp_path, run_id, THREE.replace('"third"', '"drittens"'))
    assert backend.prompts == ["drittens\n\nContext 1: <second <first bees>>"]
    assert result.trace.reused == 2
    assert result.printed == ["<first bees>"]


def test_what_uses_an_answer_that_is_another_one_now_is_asked_again(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE)
    result, backend = go_on(tmp_path, run_id, THREE.replace("second {", "zweitens {"))
    assert len(backend.prompts) == 2
    assert result.value == "<third\n\nContext 1: <zweitens <first bees>>>"


def test_an_answer_that_turns_out_the_same_keeps_all_behind_it(tmp_path: Path) -> None:
    same = answering()
    same.script = lambda request: "same" if "second" in request.prompt else f"<{request.prompt}>"
    run_id = begin(tmp_path, THREE, same)
    _, backend = go_on(tmp_path, run_id, THREE.replace("second {", "second, {"), same)
    assert backend.prompts[3:] == ["second, <first bees>"]


def test_an_operation_that_stands_elsewhere_or_has_another_name_keeps_its_answer(tmp_path: Path) -> None:
    run_id = begin(tmp_path, 'return merge(ask("a"), ask("b"), ask("c"))')
    head = 'agent A { flow helped() -> str { return ask("b") } @entry flow main(topic: str) -> str {'
    edited = program('ask("new") -> n return merge(n, ask("c"), ask("a")) + helped()', head)
    result, backend = go_on(tmp_path, run_id, edited)
    assert (result.value, backend.prompts) == ("<new>\n<c>\n<a><b>", ["new"])
    assert go_on(tmp_path, run_id, None)[1].prompts == [], "and the next process finds them where they are now"


def test_two_equal_requests_are_two_samples(tmp_path: Path) -> None:
    numbered = answering()
    numbers = count(1)
    numbered.script = lambda request: f"{request.prompt} {next(numbers)}"
    run_id = begin(tmp_path, 'return merge(ask("a"), ask("a"))', numbered)
    result, backend = go_on(tmp_path, run_id, 'return merge(ask("a"), ask("a"), ask("a"))', numbered)
    assert result.value == "a 1\na 2\na 3"
    assert backend.prompts == ["a", "a", "a"]


def test_the_next_process_goes_on_with_the_edited_program(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE, answering(fail="third"))
    edited = THREE.replace("second {", "zweitens {")
    go_on(tmp_path, run_id, edited, answering(fail="third"))
    result, backend = go_on(tmp_path, run_id, None)
    assert result.value == "<third\n\nContext 1: <zweitens <first bees>>>"
    assert len(backend.prompts) == 1


def test_an_edit_that_is_taken_back_costs_nothing(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE)
    go_on(tmp_path, run_id, THREE.replace("first {", "erstens {"))
    result, backend = go_on(tmp_path, run_id, THREE)
    assert (backend.prompts, result.trace.reused) == ([], 3)


def test_answers_are_given_to_no_other_operation_by_a_process_that_ends_early(tmp_path: Path) -> None:
    """Two equal requests that have been answered once: which of them has the answer must not change."""
    run_id = begin(tmp_path, 'return ask("a")')
    edited = 'ask("a") -> x ask("a") -> y return ask("then", x, y)'
    numbered = answering(fail="then")
    plain = numbered.script
    numbered.script = lambda r: f"answer {len(numbered.calls)}" if r.prompt == "a" else plain(r)
    go_on(tmp_path, run_id, edited, numbered)
    result, backend = go_on(tmp_path, run_id, None)
    assert backend.prompts == ["then\n\nContext 1: <a>\n\nContext 2: answer 1"]
    assert result.trace.reused == 2


def test_an_answer_is_used_once_in_however_many_edits(tmp_path: Path) -> None:
    run_id = begin(tmp_path, 'return ask("a")')
    go_on(tmp_path, run_id, 'ask("a") -> x return merge(x, ask("b"))')
    result, backend = go_on(tmp_path, run_id, 'ask("b") -> y return merge(ask("a"), ask("a"), y)')
    assert (backend.prompts, result.trace.reused) == (["a"], 2)


def test_lines_are_those_of_the_program_as_it_is_now(tmp_path: Path) -> None:
    run_id = begin(tmp_path, 'print("before") return ask("a")')
    result, _ = go_on(tmp_path, run_id, 'print("after") return ask("a")')
    assert result.printed == ["after"]
    assert read(tmp_path, run_id).printed == {0: "after"}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_file_of_an_earlier_version_becomes_part_of_a_log_when_its_run_goes_on(tmp_path: Path, version: int) -> None:
    begun, old = tmp_path / "begun", tmp_path / "old"
    for folder in (begun, old):
        folder.mkdir()
    run_id = begin(begun, 'return ask("a")')
    rows = [record.row for record in read(begun, run_id).records]
    path = write_old(old, rows, run_id, version, find(begun, run_id).header)
    go_on(old, run_id, 'return ask("b")')
    assert not path.exists()
    assert [record.row for record in read(old, run_id).records][: len(rows)] == rows
    assert go_on(old, run_id, None)[1].prompts == []


def test_a_program_that_was_compiled_from_a_file_goes_on_as_the_file_is_now(tmp_path: Path) -> None:
    file = tmp_path / "w.ais"
    file.write_text(f"{HEAD}{THREE}}} }}")
    run_id = begin(tmp_path, apxm.compile(file), answering(fail="third"))
    plain = apxm.compile_text(file.read_text(), name="w.ais")
    assert (apxm.compile(file) == plain, plain.origin) == (True, None), "where it comes from is no part of it"
    file.write_text(f"{HEAD}{THREE.replace('third', 'drittens')}}} }}")
    with pytest.raises(JournalError, match="the program has changed since the run began"):
        go_on(tmp_path, run_id, None)
    found = apxm.preview_resume(run_id, edited=True, backends=pool(answering()), journal_dir=tmp_path)
    assert (found.reused, found.asked) == (2, ("ask#1",))
    backend = answering()
    assert apxm.resume(run_id, edited=True, backends=pool(backend), journal_dir=tmp_path).trace.reused == 2
    assert len(backend.prompts) == 1


def test_inputs_are_kept_by_name(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE)
    head = "agent A { @entry flow main(depth: int = 2, topic: str) -> str {\n"
    _, backend = go_on(tmp_path, run_id, program('return ask(f"{depth} {topic}")', head))
    assert backend.prompts == ["2 bees"]
    with pytest.raises(UsageError, match="main needs a value for more: str"):
        go_on(tmp_path, run_id, program('return ask("x")', "agent A { @entry flow main(more: str) -> str {\n"))
    with pytest.raises(UsageError, match="topic must be an int"):
        go_on(tmp_path, run_id, program('return ask("x")', "agent A { @entry flow main(topic: int) -> str {\n"))
    with pytest.raises(UsageError, match=r"no flow called 'A.main'"):
        go_on(tmp_path, run_id, program('return ask("x")', "agent A { @entry flow other(topic: str) -> str {\n"))
    assert go_on(tmp_path, run_id, None)[1].prompts == [], "what is refused changes nothing"


def test_a_budget_counts_what_the_program_cost_before_it_was_edited(tmp_path: Path) -> None:
    p = program('return ask("a", max_tokens: 10)')
    with pytest.raises(apxm.RunFailed):
        apxm.run(p, topic="", backends=pool(answering("a")), journal_dir=tmp_path, journal=True, max_total_tokens=100)
    run_id = find_run(tmp_path, "last")
    edited = program('return ask("b", max_tokens: 60)')
    with pytest.raises(apxm.RunFailed) as stopped:
        apxm.resume(run_id, edited=edited, backends=pool(answering()), journal_dir=tmp_path)
    assert stopped.value.result.status is apxm.Status.STOPPED, "43 tokens nobody knows the end of, and 93 more"


# --- what is said before -------------------------------------------------------------------------------------------


def previewed(folder: Path, run_id: str, body: str, backend: ScriptedBackend | None = None) -> apxm.Preview:
    used = pool(backend or answering())
    return apxm.preview_resume(run_id, edited=program(body), backends=used, journal_dir=folder)


def test_what_cannot_be_limited_is_refused_before_as_it_will_be(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE, answering(fail="third"))
    for go_on_or_look in (apxm.preview_resume, apxm.resume):
        with pytest.raises(UsageError, match="the cost of this run cannot be limited"):
            go_on_or_look(run_id, max_cost=1, backends=pool(answering()), journal_dir=tmp_path)


SWITCH = """
    ask("which") -> kind
    ask("other", max_tokens: 8) -> other
    switch kind {
        case "long" => ask("abcdefgh", other, max_tokens: 100)
        default => ask("abcdefgh", max_tokens: 20)
    } -> x
    return x
"""


def test_a_preview_names_what_is_asked_and_what_it_takes(tmp_path: Path) -> None:
    run_id = begin(tmp_path, SWITCH)
    priced = answering()
    priced.prices = {"scripted": Price(1.0, 1_000_000.0)}
    found = previewed(tmp_path, run_id, SWITCH.replace('"other"', '"another!"'), priced)
    assert (found.reused, found.asked, found.dependent) == (2, ("other",), ())
    assert found.unused == ("other",)
    # Eight characters are two tokens. The arm that was taken needs no answer to `other`.
    assert found.tokens == Range(2 + 1, 2 + 8, 2 + 8)
    assert found.cost is not None
    assert found.cost.high == pytest.approx(8 + 2e-6)
    assert not priced.calls


def test_arms_that_are_not_chosen_yet_may_all_be_taken(tmp_path: Path) -> None:
    run_id = begin(tmp_path, SWITCH)
    found = previewed(tmp_path, run_id, SWITCH.replace('"which"', '"which, then?"'))
    assert (found.reused, found.asked) == (1, ("kind",))
    assert found.dependent == ("x/long/ask#1", "x/default/ask#1")
    assert found.unused == ("kind", "x/default/ask#1")
    assert found.tokens.high is None, "nothing limits the answer to `kind`"
    # 3 for the prompt of `kind` and 1 for its answer; then the cheaper arm.
    assert found.tokens.low == 3 + 1 + 2 + 1
    assert found.cost is None


LOOP = """
    ask("start", max_tokens: 4) -> start
    loop (max: 3, d: start) {
        ask("check", d, max_tokens: 4) -> c
        switch c { case "done" => { return true }  default => { return false } } -> done
        until done
        ask("better", d, max_tokens: 4) -> e
        next d: e
    } -> x
    for n in [1, 2] { try { ask("item", n, max_tokens: 4) -> y  print(y) } catch { print(ask("no", max_tokens: 4)) } }
    return x
"""


def test_turns_that_may_follow_are_those_that_are_left(tmp_path: Path) -> None:
    run_id = begin(tmp_path, LOOP)
    found = previewed(tmp_path, run_id, LOOP, answering())
    assert (found.reused, found.asked, found.dependent, found.tokens) == (9, (), (), Range(0, 0, 0))
    found = previewed(tmp_path, run_id, LOOP.replace('"start"', '"begin"'))
    assert (found.reused, found.asked) == (2, ("start",))
    assert sorted(found.dependent) == ["x[1]/c", "x[1]/e", "x[2]/c", "x[2]/e"], "the second stands for the third, too"
    found = previewed(tmp_path, run_id, LOOP.replace('"item"', '"piece"'))
    assert found.asked == ("for#1[1]/try#1/body/y", "for#1[2]/try#1/body/y")
    assert found.dependent == ("for#1[1]/try#1/catch/ask#1", "for#1[2]/try#1/catch/ask#1")


def test_a_preview_changes_nothing(tmp_path: Path) -> None:
    run_id = begin(tmp_path, THREE)
    before = read(tmp_path, run_id).records
    first = previewed(tmp_path, run_id, THREE.replace("first {", "erstens {"))
    assert previewed(tmp_path, run_id, THREE.replace("first {", "erstens {")) == first
    assert read(tmp_path, run_id).records == before


def forty(edit: str = "") -> str:
    """Forty calls: a report of thirty-nine parts."""
    parts = range(39)
    lines = [f'ask(f"Read part {i} of {{topic}}.{edit if i == 17 else ""}", max_tokens: 50) -> p{i}' for i in parts]
    return "\n".join([*lines, f'return ask("Report.", {", ".join(f"p{i}" for i in parts)})'])


def test_at_least_95_percent_are_kept_after_one_prompt_was_edited(tmp_path: Path) -> None:
    run_id = begin(tmp_path, forty())
    result, backend = go_on(tmp_path, run_id, forty(" Briefly."))
    assert result.trace.reused >= 0.95 * 40
    assert len(backend.prompts) == 40 - result.trace.reused


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.booleans())
def test_exactly_the_requests_that_are_new_are_made(
    tmp_path_factory: pytest.TempPathFactory, seed: int, other: int, unrelated: bool
) -> None:
    """Against a run from nothing: the edited program gives the same, and pays for nothing that was paid for."""
    source = random_source(Random(seed))
    edited = random_source(Random(other)) if unrelated else with_an_edit(source, Random(other))
    folder = tmp_path_factory.mktemp("runs")
    first, whole = answering(), answering()
    first_program = apxm.compile_text(source)
    run_id = begin(folder, first_program, first)
    p = apxm.compile_text(edited)
    try:
        expected = apxm.run(p, backends=pool(whole))
    except apxm.RunFailed as failed:
        expected = failed.result
    if p.flows[p.entry or 0].agent != first_program.flows[first_program.entry or 0].agent:
        with pytest.raises(UsageError, match="no flow called"):
            go_on(folder, run_id, p)
        return
    result, backend = go_on(folder, run_id, p)
    assert (result.value, result.printed, result.status) == (expected.value, expected.printed, expected.status)
    assert requests(backend) == requests(whole) - requests(first)
    assert result.trace.reused == len(whole.calls) - len(backend.calls)


def requests(backend: ScriptedBackend) -> Counter[ModelRequest]:
    return Counter(call.request for call in backend.calls)


def with_an_edit(source: str, random: Random) -> str:
    """Another prompt somewhere, or a call before all others."""
    prompts = [m.start() + 1 for m in re.finditer(r'"(plain|something|two words)"', source)]
    if prompts and random.random() < 0.7:
        place = random.choice(prompts)
        return source[:place] + "edited: " + source[place:]
    place = source.index("{", source.index("flow main")) + 1
    return source[:place] + '\nprint(ask("inserted"))' + source[place:]
