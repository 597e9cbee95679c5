"""What of the benchmark on a real engine can be seen without one."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import msgspec
import pytest
from benchmarks.real import engine, install
from benchmarks.real.results import Discipline, Machine, Results, Round
from benchmarks.real.tables import results_text

from apxm.errors import ApxmError
from apxm.workloads.comparison import ComparisonResults
from tests.analysis.endpoints import profile
from tests.workloads.comparisons import comparison


def predicted_with(*errors: float) -> Results:
    """One round for each error of the prediction at every width."""
    rounds = tuple(
        Round((0.5, 1.5), profile(1000.0), _with_error(error), {"previous N": {2: 500.0, 8: 1000.0}})
        for error in errors
    )
    return Results(
        "2026-01-01", Machine("a processor", 2), {"torch": "1"}, 16, (Discipline("default", "serve", rounds),)
    )


def _with_error(error: float) -> ComparisonResults:
    made = comparison()
    results = tuple(
        msgspec.structs.replace(width, apxm=msgspec.structs.replace(width.apxm, prediction_error=error))
        for width in made.results
        if width.apxm is not None
    )
    return msgspec.structs.replace(made, results=results)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([-0.5, -0.1, 0.19], "N = 8 was held out: within 20% in the median. By round: -50.0%, -10.0%, +19.0%."),
        ([-0.35, -0.21, 0.02], "N = 8 was held out: MISSED, not within 20% in the median. By round: -35.0%"),
    ],
)
def test_a_miss_is_reported_as_a_miss(errors: list[float], said: str) -> None:
    assert said in results_text(predicted_with(*errors))


def test_durations_are_medians_of_the_samples_of_all_rounds() -> None:
    lines = results_text(predicted_with(0.0, 0.0)).splitlines()
    row = next(line for line in lines if line.startswith("| 8 |"))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "8", "1705 [1703–1707]", "1805 [1803–1807]", "4.69x", "4.43x", "1739", "+0.0%",
    ]  # fmt: skip


def test_raw_samples_come_back_from_their_file() -> None:
    results = predicted_with(0.1)
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


def test_an_engine_that_ends_at_once_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho 'no torch here' >&2\nexit 3\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(engine, "PYTHON", interpreter)
    with pytest.raises(ApxmError, match="the engine ended with status 3: no torch here"), engine.engine(tmp_path):
        pytest.fail("it answers")


def test_gigabytes_for_cuda_are_not_installed_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", str(tmp_path)])
    monkeypatch.setattr(venv, "create", lambda *_arguments, **_options: None)
    monkeypatch.setattr(install, "_plan", lambda _command: ["torch", "nvidia-cublas", "numpy", "triton"])
    monkeypatch.setattr(install.subprocess, "run", lambda *_arguments, **_options: pytest.fail("it installs"))
    monkeypatch.delenv(install.ALLOWED, raising=False)
    with pytest.raises(SystemExit, match="torch with 2 packages for CUDA, several gigabytes: nvidia-cublas, triton"):
        install.main()
