"""What is opened as a regular file is one, or is refused at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from apxm.backends.transport import read_certificates
from apxm.config.files import Scope, read_file
from apxm.config.trust import is_trusted
from apxm.errors import ConfigurationError, JournalError
from apxm.journal.journal import Journal
from apxm.journal.lock import FileLock, is_held
from apxm.journal.pruning import prune
from apxm.journal.rows import Ended
from apxm.journal.runs import find_run, list_runs, show_run
from apxm.journal.store import store_of
from apxm.regular import NotRegularError, open_regular, read_regular
from tests.journal.journals import RUN_ID, result, write
from tests.journal.per_run_files import write_old


def make_socket(path: Path) -> None:
    # Bound by a short name: the longest is 108 bytes.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def make_linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


MAKE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "link to a pipe": make_linked_pipe,
    "socket": make_socket,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", MAKE)
def test_another_file_is_refused(tmp_path: Path, kind: str) -> None:
    MAKE[kind](tmp_path / "x")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        with pytest.raises(NotRegularError):
            open_regular(tmp_path / "x", flags)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_file(tmp_path / "x")


def test_a_regular_one_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", 3) == b"123"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "y")


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("end", [".apxmlog", ".index"])
def test_one_in_the_place_of_a_log_is_refused_and_keeps_nobody_from_working(
    tmp_path: Path, kind: str, end: str
) -> None:
    path = write(tmp_path, [result(0), Ended("succeeded")])
    store_of(tmp_path).rest()
    place = path.with_suffix(end)
    place.unlink()
    MAKE[kind](place)
    other = write(tmp_path, [result(0)], "20260101-000000-aaaa")
    statuses = {run.id: run.status for run in list_runs(tmp_path)}
    assert statuses.pop("20260101-000000-aaaa") == "interrupted"
    assert other != path
    assert statuses == {path.stem: "damaged"} if end == ".apxmlog" else {RUN_ID: "succeeded"}
    prune(tmp_path, now=1e12, keep_bytes=0)
    assert place.exists() or (end == ".index" and kind != "folder"), "what is no log of ours stays"


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("end", [".journal", ".journal-journal", ".journal-wal", ".journal-shm"])
def test_one_in_the_place_of_an_old_journal_is_refused_and_keeps_no_other_from_being_listed(
    tmp_path: Path, kind: str, end: str
) -> None:
    other = write_old(tmp_path, [result(0), Ended("succeeded")], "20260101-000000-aaaa")
    path = write_old(tmp_path, [result(0)])
    place = path.with_name(f"{RUN_ID}{end}")
    place.unlink(missing_ok=True)
    MAKE[kind](place)
    statuses = {run.id: run.status for run in list_runs(tmp_path)}
    assert statuses[other.stem] == "succeeded"
    assert RUN_ID in statuses
    with pytest.raises(JournalError, match="not a regular file"):
        Journal.reopen(tmp_path, RUN_ID)
    assert not is_held(path.with_suffix(".lock")), "whoever was refused holds nothing"


@pytest.mark.parametrize("kind", MAKE)
def test_one_in_the_place_of_a_lock_is_refused_and_the_run_is_shown(tmp_path: Path, kind: str) -> None:
    lock = write_old(tmp_path, [result(0)]).with_suffix(".lock")
    lock.unlink()
    MAKE[kind](lock)
    assert not is_held(lock)
    assert [run.status for run in list_runs(tmp_path)] == ["interrupted"]
    assert show_run(tmp_path, find_run(tmp_path, "last"))[0].id == RUN_ID
    for refused in (lambda: FileLock(lock, RUN_ID), lambda: Journal.reopen(tmp_path, RUN_ID)):
        with pytest.raises(JournalError, match="cannot be taken: this is not a regular file"):
            refused()


def test_a_link_in_a_circle_keeps_no_run_from_being_listed(tmp_path: Path) -> None:
    write(tmp_path, [result(0)])
    for end in (".journal", ".lock"):
        (tmp_path / f"20260101-000000-aaaa{end}").symlink_to(f"20260101-000000-aaaa{end}")
    assert RUN_ID in [run.id for run in list_runs(tmp_path)]


def test_a_pipe_of_certificates_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE.*not a regular file"):
        read_certificates({"SSL_CERT_FILE": str(tmp_path / "x")})


def test_a_pipe_among_what_is_trusted_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "apxm/trusted").mkdir(parents=True)
    os.mkfifo(tmp_path / "apxm/trusted" / sha256(b"").hexdigest())
    assert not is_trusted(Scope.PROJECT, b"")
