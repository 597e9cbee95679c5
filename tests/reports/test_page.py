"""The page of a run: what its model says, and that nothing of it is read as anything but text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from apxm import api
from apxm.advice.advise import advise
from apxm.advice.laws import law
from apxm.advice.measured import MeasuredRun
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases, Metrics
from apxm.backends.protocol import BackendInfo
from apxm.errors import BackendError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.program.program import Program
from apxm.reports.page.batched import BatchPage
from apxm.reports.page.model import Reported, run_model
from apxm.reports.page.page import run_page
from apxm.reports.page.sites import without_shortcuts
from apxm.reports.page.sources import sources_of
from apxm.reports.page.texts import ENTRIES, PIECE, CallTexts, Texts
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Trace
from apxm.source import as_utf8
from apxm.testing import ScriptedBackend, execute_virtually
from tests.lanes.comparing import ran
from tests.lanes.talking import SECOND
from tests.reports.pages import around_data, data_of, texts_of

HOSTILE = '</script><img src=x onerror="alert(1)"><!-- \u202ereversed\u202c \x1b[31m \x00 \ud800'


def compiled(text: str) -> Program:
    return api.compile_text(text)


def measured(trace: Trace) -> Metrics:
    return measure(trace, LinkPhases(), BackendInfo(name="b", kind="simulated", model="m"))


def reported(trace: Trace, **more: Any) -> Reported:
    return Reported(trace=trace, metrics=measured(trace), run_id="20260131-235959-k3vd", **more)


def model(trace: Trace, **more: Any) -> dict[str, Any]:
    return run_model(reported(trace, **more))


def paths(found: dict[str, Any]) -> list[str]:
    return found["operations"]["path"]


LOOP = """
agent A {
    @entry flow main() -> str {
        ask("first") -> first
        for n in range(5) { return ask(f"turn {n} {first}") } -> turns
        merge(first, join(turns, " ")) -> both
        return ask(both)
    }
}
"""


def test_turns_of_a_loop_are_one_site_and_edges_go_through_what_is_no_operation() -> None:
    found = model(execute_virtually(compiled(LOOP)))
    sites = {site.path: site for site in found["sites"]}
    turn = next(site for site in sites.values() if site.opened == 5)
    assert turn.family == "model"
    assert "[" not in turn.path
    assert sum("[" in path for path in paths(found)) == 5
    numbers = {path: number for number, path in enumerate(sites)}
    edges = set(found["edges"])
    assert (numbers["first"], numbers[turn.path]) in edges
    assert (numbers[turn.path], numbers["both"]) in edges
    assert (numbers["first"], numbers["both"]) not in edges  # a longer way tells it already


TWO = 'agent A { @entry flow f() -> str { ask("a") -> a ask("b") -> b return a + b } }'


def advice_of(trace: Trace, **more: Any) -> Any:
    return data_of(run_page(reported(trace, **more)))["model"]["runs"][0]["advice"]


def test_it_says_what_would_have_helped() -> None:
    trace = execute_virtually(compiled(TWO), options=RunOptions(max_concurrency=1))
    found = advice_of(trace)
    assert (found["fits"], found["duration_ms"], found["rerun_ms"]) == (True, 2000, 2000)
    limit = next(each for each in [*found["gains"], *found["unsure"]] if each["kind"] == "limit")
    assert (limit["change"], limit["high_ms"]) == ("limit 1 → 2", 1000)


def test_it_does_not_where_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = execute_virtually(compiled(TWO))
    assert advice_of(trace, goes_on=True) is None
    assert advice_of(trace, is_whole=False) is None
    assert advice_of(execute_virtually(compiled('agent A { @entry flow f() -> str { return "x" } }'))) is None
    monkeypatch.setattr("apxm.reports.page.advised.MOST_OPERATIONS", 1)
    assert advice_of(trace)["notes"] == [
        "The run is too large to be run again for its page: `apxm explain 20260131-235959-k3vd` does it."
    ]


def test_the_page_of_a_batch_says_what_more_inputs_at_once_would_have_gained() -> None:
    program = compiled("agent A { @entry flow f(q: str) -> str { ask(q) -> a return ask(a) } }")
    batch = BatchPage("f", redacts=True)
    origin = batch._origin  # pyright: ignore[reportPrivateUsage] - from which it counts
    for number in range(8):  # two at once, each for two seconds
        trace = execute_virtually(program, arguments=[f"q{number}"])
        began = origin + number // 2 * 2_000_000_000
        trace.raw = [shifted(raw, began) for raw in trace.raw]
        trace.started, trace.ended = began, began + trace.ended
        batch.ended(f"{number}", trace)
    run = measured_batch(batch)
    gains = {each.change: each for each in advise(run, {"scripted": law(None, 0, 0)}).gains}
    assert gains["inputs at once 2 → 8"].ms == 6000
    assert gains["`a` twice as fast"].ms == 4 * 500


def shifted(raw: Any, by: int) -> Any:
    return (*raw[:3], raw[3] + by, raw[4] + by, (), *(each + by for each in raw[6:10]), *raw[10:])


def measured_batch(batch: BatchPage) -> MeasuredRun:
    measuring = batch._measuring  # pyright: ignore[reportPrivateUsage] - what its page says follows from it
    assert measuring is not None
    return measuring.made(8_000_000_000, "succeeded", inputs_at_once=2)


def test_the_critical_path_is_marked_and_waits_stand_apart_from_work() -> None:
    found = model(execute_virtually(compiled(TWO), options=RunOptions(max_concurrency=1)))
    columns = found["operations"]
    assert paths(found) == ["a", "b"]
    assert columns["granted"] == [0, 1_000_000]  # µs that each waited for the only slot
    assert columns["received"] == [1_000_000, 1_000_000]
    assert found["figures"]["duration"] == 2000
    assert found["losses"]["terms"]["waiting"] == 1000
    assert len(columns["critical"]) == 1


@flow
def label(rows: list[str]) -> str:
    answers: list[str] = []
    for row in each(rows):
        answers.append(ask(row) + ask("again", row))
    return ask("all", *answers)


def test_lanes_of_a_flow_are_one_site_for_each_place_in_its_text() -> None:
    _, trace = ran(lambda: label.lanes(["a", "b", "c"]), lambda: SECOND)
    found = model(trace)
    assert sum(site.opened for site in found["sites"]) == 7
    assert len(found["sites"]) < 7
    assert found["edges"]


def test_the_text_of_a_flow_is_in_its_page() -> None:
    result = label.using(backend="simulated", latency="constant:1").run(["a"])
    assert dict(sources_of(result.trace))[__file__] == Path(__file__).read_text()


def hostile_page(*, redacts: bool = False) -> bytes:
    texts = Texts()
    backend = ScriptedBackend(script=lambda request: f"answer to {request.prompt}")
    program = compiled("agent A { @entry flow f(q: str) -> str { ask(q) -> a return ask(a) } }")
    trace = execute_virtually(program, backend, arguments=[HOSTILE], options=RunOptions(observer=CallTexts(texts)))
    return run_page(reported(trace, texts=None if redacts else texts, redacts=redacts), [("f.ais", as_utf8(HOSTILE))])


def test_what_is_hostile_is_data_and_nothing_else() -> None:
    page = hostile_page()
    assert (0, "prompt", HOSTILE.replace("\ud800", "\ufffd")) in texts_of(page, "a")
    around = around_data(page)
    assert around.count("<script") == around.count("</script") == 1  # the code of the page
    assert "onerror" not in around.split("<script>")[0]
    assert not set(around) & {"\u202e", "\x00", "\x1b"}


def test_the_policy_of_the_page_allows_its_own_code_and_style_alone_and_no_network() -> None:
    page = hostile_page().decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        assert f"{directive} 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=.?https?:", around_data(page.encode()))


def test_a_redacted_page_has_nothing_that_the_program_or_a_model_said() -> None:
    whole, redacted = (json.dumps(data_of(hostile_page(redacts=redacts))) for redacts in (False, True))
    for said in ("onerror", "answer to", "reversed"):
        assert said in whole
        assert said not in redacted


def test_a_message_of_a_failure_may_quote_an_answer_so_it_is_redacted_too() -> None:
    backend = ScriptedBackend(script=lambda _request: BackendError("bad_request", "the secret answer", retryable=False))
    trace = execute_virtually(compiled(TWO), backend)
    assert "secret" in json.dumps(model(trace)["failures"])
    assert "secret" not in json.dumps(model(trace, redacts=True)["failures"])


def test_texts_are_packed_in_pieces_and_found_again() -> None:
    texts = Texts()
    for number in range(ENTRIES + 2):
        texts.add(str(number), 0, [("prompt", f"p{number}")])
    texts.add("long", 1, [("answer", "x" * PIECE)])
    pieces = [json.loads(zlib.decompress(piece)) for piece in texts.pieces()]
    assert [len(piece) for piece in pieces] == [ENTRIES, 3]
    for path in ("0", str(ENTRIES - 1), str(ENTRIES + 1), "long"):
        (place,) = texts.places[path]
        assert pieces[place // ENTRIES][place % ENTRIES][0][2] == ("x" * PIECE if path == "long" else f"p{path}")


def test_texts_beyond_what_a_page_can_hold_are_left_out_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.reports.page.texts.MOST_BYTES", 0)
    texts = Texts()
    for path in ("a", "b"):
        texts.add(path, 0, [("prompt", "x" * PIECE)])
    assert list(texts.places) == ["a"]
    assert "1 attempts" in model(execute_virtually(compiled(TWO)), texts=texts)["notes"][0]


def test_edges_that_a_longer_way_tells_are_left_out_but_never_all_of_a_circle() -> None:
    assert without_shortcuts([(0, 1), (1, 2), (0, 2)]) == [(0, 1), (1, 2)]
    kept = without_shortcuts([(0, 1), (0, 2), (1, 2), (2, 1)])
    assert {1, 2} & {target for source, target in kept if source == 0}
    assert without_shortcuts([(3, 3)]) == [(3, 3)]


WEB = Path(__file__).parents[2] / "web"


def test_the_code_of_the_page_is_what_its_sources_give() -> None:
    if shutil.which("node") is None or not (WEB / "node_modules").is_dir():
        pytest.skip("NOT CHECKED: the code of the report's page; `make web` needs node and npm")
    checked = subprocess.run(["node", "build.mjs", "--check"], cwd=WEB, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
