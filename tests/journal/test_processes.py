"""What only processes show: who owns a run, what a kill leaves, and what a full disk does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from apxm.errors import JournalBusyError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.runs import list_runs, prune
from tests.journal.journals import RUN_ID, names, result
from tests.journal.owner import WAITING

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def owner(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, "-m", "tests.journal.owner", str(folder), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline().strip() for _ in range(count)]


def test_another_process_is_refused_while_the_owner_lives_and_not_a_moment_longer(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        lines(process, 1)
        with pytest.raises(JournalBusyError, match="going on in another process"):
            Journal.reopen(tmp_path, RUN_ID)
        assert [run.status for run in list_runs(tmp_path)] == ["running"]
        assert prune(tmp_path, now=1e12, keep_bytes=0) == []
        process.kill()
        process.wait()
        assert [run.status for run in list_runs(tmp_path)] == ["interrupted"]
        Journal.reopen(tmp_path, RUN_ID)[0].close()


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_leaves_a_prefix_with_every_row_whose_callback_came(tmp_path: Path, seed: int) -> None:
    with owner(tmp_path) as process:
        told = lines(process, Random(seed).randrange(1, 400))
        process.kill()
        assert process.stdout
        told += process.stdout.read().split()
    assert told == [str(number) for number in range(len(told))]
    journal, history = Journal.reopen(tmp_path, RUN_ID)
    journal.close()
    rows = [record.row for record in history.records]
    assert rows == [result(number) for number in range(len(rows))]
    assert len(told) <= len(rows) <= len(told) + WAITING


def test_on_a_full_disk_the_run_is_told_once_and_goes_on_without_a_journal(tmp_path: Path) -> None:
    with owner(tmp_path, "60000") as process:
        assert process.stdout
        shown = process.stdout.read().splitlines()
        assert process.wait() == 0
    (failure,) = [line for line in shown if line.startswith("failed")]
    assert "disk" in failure
    committed = shown.index(failure)
    assert [line for line in shown if line != failure] == [str(number) for number in range(1000)]
    rows = [record.row for record in read(tmp_path, RUN_ID).records]
    assert rows == [result(number) for number in range(len(rows))]
    assert committed <= len(rows) < 1000


def test_a_journal_without_room_for_its_header_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.journal.owner", str(tmp_path), "2000"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "the journal cannot be made: " in ended.stderr
    assert names(tmp_path) == set()
