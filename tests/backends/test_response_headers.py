"""What the headers of an answer say."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from apxm.backends.response_headers import retry_after, service_time, should_retry


@pytest.fixture(autouse=True)
def the_zone_of_the_machine() -> Iterator[None]:
    yield
    time.tzset()


@pytest.mark.parametrize(
    ("server_timing", "processing", "expected"),
    [
        ([], None, None),
        (["total;dur=12.5"], "7", 12_500_000),
        (['db;dur=1, total;desc="all";dur=2'], None, 2_000_000),
        (["cfRequestDuration;dur=9", "TOTAL ; DUR=3"], None, 3_000_000),
        (["edge;dur=1, subtotal;dur=5"], "7", 7_000_000),
        (["total"], "7", 7_000_000),
        (["total;dur=-4"], None, 0),
        (["total;dur=nan"], None, None),
        (["total;dur=nan", "total;dur=3"], "7", 3_000_000),
        (["total;dur=nan"], "7", 7_000_000),
        (["total;dur=1e308"], None, None),
        (["total;dur=1e308"], "7", 7_000_000),
        (["total;dur=1e30"], None, None),
        (["total;dur=-1e308"], None, None),
        (["total;dur=" + "9" * 5000], None, None),
        ([], "soon", None),
        ([], "inf", None),
        ([], "1e308", None),
        ([], "9" * 400, None),
    ],
)
def test_the_service_time_is_the_total_that_the_endpoint_states(
    server_timing: list[str], processing: str | None, expected: int | None
) -> None:
    assert service_time(server_timing, processing) == expected


@pytest.mark.parametrize(
    ("milliseconds", "header", "seconds"),
    [
        (None, None, None),
        ("1500", "9", 1.5),
        (None, "2", 2),
        (None, "0.25", 0.25),
        ("soon", "3", 3),
        (None, "Wed, 21 Oct 2026 07:28:00 GMT", 10),
        (None, "Wed, 21 Oct 2026 07:28:00 -0000", 10),
        (None, "Wed, 21 Oct 2026 07:28:00 +0000", 10),
        (None, "Wed, 21 Oct 2026 07:28:00", 10),
        (None, "Wed, 21 Oct 2026 07:28:00 UT", 10),
        (None, "Wednesday, 21-Oct-26 07:28:00 GMT", 10),
        (None, "Wed Oct 21 07:28:00 2026", 10),
        (None, "Sun Nov  1 07:28:00 2026", 11 * 86_400 + 10),
        (None, "Wed, 21 Oct 2026 09:28:00 +0200", 10),
        (None, "Wed, 21 Oct 2026 07:27:00 GMT", 0),
        (None, "soon", None),
        (None, "-1", None),
        (None, "nan", None),
        (None, "inf", None),
        (None, "Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_how_long_an_endpoint_asks_to_be_left_alone(
    milliseconds: str | None, header: str | None, seconds: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert retry_after(milliseconds, header, now=lambda: 1_792_567_670) == seconds


@pytest.mark.parametrize(
    ("header", "expected"),
    [("true", True), ("false", False), (" False ", False), ("no", None), ("", None), (None, None)],
)
def test_an_endpoint_may_say_whether_to_try_again(header: str | None, expected: bool | None) -> None:
    assert should_retry(header) is expected
