"""How far a batch is, in words."""

from __future__ import annotations

import sys

from apxm.analysis.static import Range
from apxm.batches.estimate import Estimate
from apxm.batches.tally import Tally
from apxm.batches.text import batch_progress, batch_summary, estimate_text


def tally_at(seconds: float) -> Tally:
    now = [0.0]
    tally = Tally(lambda: now[0])
    now[0] = seconds
    tally.succeeded, tally.open, tally.calls, tally.tokens = 1197, 64, 3600, 1_234_567
    for kind in ("timeout", "input", "input"):
        tally.fail(kind)
    return tally


class Half:
    """An input of which half is read."""

    size, position = 1000, 500


def test_progress() -> None:
    tally = tally_at(60)
    tally.fetched, tally.read, tally.cost = 1264, 1204, 0.5
    left = tally.left(Half)  # type: ignore[arg-type]
    assert left == 2 * 1264 - 1200
    assert batch_progress(tally, left, 2, [], sys.maxsize) == (
        "1,200 done, 3 failed, 64 running; 20/s; 1:00, about 1:06 left; cost 0.5 of about 1.053; 1,234,567 tokens; "
        "2 equal calls made once"
    )
    assert batch_progress(tally, left, 2, [], 66) == "1,200 done, 3 failed, 64 running; 20/s; 1:00, about 1:06 left"
    assert batch_progress(tally, None, 0, [], 40) == "1,200 done, 3 failed, 64 running; 20/s"
    assert "; 4:00, about" in batch_progress(tally_at(240), 10.0, 0, [], sys.maxsize)
    assert batch_progress(tally, None, 0, [16, 64], sys.maxsize).startswith(
        "1,200 done, 3 failed, 64 running; 20/s; 1:00; "
    )
    assert batch_progress(Tally(lambda: 0.0), None, 0, [], 80) == "0 done, 0 failed, 0 running; 0/s; 0:00"


def test_what_is_left() -> None:
    tally = tally_at(60)
    tally.fetched = tally.read = 1264
    pipe = type("Pipe", (), {"size": None, "position": 500})
    assert tally.left(pipe) is None  # type: ignore[arg-type]
    assert tally.left(pipe, 1300) == 100  # type: ignore[arg-type]
    assert tally.left(Half, 1300) == 100  # type: ignore[arg-type]
    tally.whole = 1264
    assert tally.left(pipe) == 64  # type: ignore[arg-type]
    tally.kept = 30
    assert tally.left(pipe) == 34  # type: ignore[arg-type]


def test_summary() -> None:
    tally = tally_at(60)
    tally.kept, tally.kept_failed, tally.unwritten = 50, 2, 7
    assert batch_summary(tally, 40) == (
        "1,197 done, 3 failed (2 input, 1 timeout), 7 of them not written, 50 were done before, 2 of them failed; "
        "3,600 calls, 40 of them equal to others and not made in 1 min 00 s (20 inputs/s); 1,234,567 tokens"
    )
    tally.cost = 1.5
    assert batch_summary(tally, 0).endswith("; 1,234,567 tokens; cost 1.5")


def test_what_it_will_take_is_told_in_whole_tokens() -> None:
    tokens = Range(700_000.4, 803_507.1, 900_000.6)
    found = Estimate(
        inputs=3, unfit=0, first_unfit=None, done=0, left=3, sampled=3,
        calls=Range(3, 4.5, 6), input_tokens=tokens, output_tokens=tokens, seconds=Range(1, 1, 1),
    )  # fmt: skip
    shown = estimate_text(found, 2)
    assert "LLM calls               4.5 (3 to 6)" in shown
    assert "input tokens, about     803,507 (700,000 to 900,001)" in shown
