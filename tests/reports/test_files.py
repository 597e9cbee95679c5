from __future__ import annotations

import os
from pathlib import Path

import pytest

from apxm.errors import UsageError
from apxm.reports.files import OutputFile


def test_the_file_appears_when_it_is_complete_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with OutputFile(str(target)) as file:
        assert not target.exists()
        file.write(b"{}")
    assert target.read_bytes() == b"{}"
    assert list(tmp_path.iterdir()) == [target]


def test_work_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), OutputFile(str(target)):
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    with OutputFile(str(link)) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_device_is_written_not_replaced() -> None:
    with OutputFile("/dev/null") as file:
        file.write(b"gone")
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize(
    ("path", "message"),
    [(".", "cannot write .*: it is a directory"), ("missing/out.json", "cannot write .*: No such file or directory")],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message), OutputFile(str(tmp_path / path)):
        pytest.fail("the work must not begin")
