from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apxm.errors import ApxmError, UsageError
from apxm.files import OutputFile


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


# --- where open(2) would write, and nowhere else -------------------------------------------------------------------

NOBODY = 65534


@contextmanager
def an_ordinary_user() -> Generator[None]:
    """As whom the block runs: root may do everything, and would prove nothing."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user reaches."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o777)
        yield path


def opens(path: Path) -> bool:
    """Whether the system would write there; creates nothing that was not there."""
    there = os.path.lexists(path)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    except OSError:
        return False
    if not there:
        path.unlink()
    return True


def writes(path: Path) -> bool:
    """Whether it is written, as seen before the work."""
    try:
        with OutputFile(str(path)) as file:
            file.write(b"new")
    except UsageError:
        return False
    assert path.read_bytes() == b"new"
    return True


def test_what_a_user_may_not_write_is_refused_before_the_work(folder: Path) -> None:
    closed, private = folder / "closed", folder / "private"
    closed.mkdir(mode=0o755)
    private.mkdir(mode=0o700)
    read_only = folder / "read-only"
    with an_ordinary_user():
        read_only.write_text("old")
        read_only.chmod(0o444)
        closed_own = folder / "closed-own"
        closed_own.mkdir(mode=0o555)
    refused = [read_only, closed_own / "new"]
    if os.geteuid() == 0:
        (closed / "theirs").write_text("old")
        (folder / "link").symlink_to(closed / "theirs")
        refused += [closed / "new", closed / "theirs", private / "new", folder / "link"]
    with an_ordinary_user():
        for path in refused:
            assert not opens(path)
            with pytest.raises(UsageError, match="Permission denied"), OutputFile(str(path)):
                pytest.fail("the work must not begin")
    assert read_only.read_text() == "old"
    assert not list(folder.rglob("*.part"))


def test_a_file_in_a_folder_that_takes_no_new_one_is_written_in_place(folder: Path) -> None:
    with an_ordinary_user():
        (folder / "closed").mkdir()
        target = folder / "closed/out.json"
        target.write_text("old and longer")
        (folder / "closed").chmod(0o555)
        assert opens(target)
        assert writes(target)
        assert list((folder / "closed").iterdir()) == [target]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("sticky", [0o777, 0o1777])
def test_a_file_of_another_user_stays_theirs(folder: Path, sticky: int) -> None:
    target = folder / "theirs"
    target.write_text("old")
    target.chmod(0o666)
    folder.chmod(sticky)
    with an_ordinary_user():
        assert writes(target) == opens(target)
    assert (target.stat().st_uid, stat.S_IMODE(target.stat().st_mode)) == (0, 0o666)
    os.chown(target, NOBODY, NOBODY)
    target.chmod(0o640)
    assert writes(target)
    assert (target.stat().st_uid, target.stat().st_gid, stat.S_IMODE(target.stat().st_mode)) == (NOBODY, NOBODY, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_of_another_user_in_a_sticky_folder_is_followed_where_the_system_does(folder: Path, there: bool) -> None:
    target = folder / "target"
    folder.chmod(0o1777)
    with an_ordinary_user():
        (folder / "link").symlink_to(target)
        if there:
            target.write_text("old")
            target.chmod(0o666)
    followed = os.path.exists(folder / "link") or (not there and opens(folder / "link"))
    assert writes(folder / "link") == followed
    assert os.path.exists(target) == (there or followed)


def test_all_names_of_a_file_have_the_new_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    second.hardlink_to(first)
    assert writes(first)
    assert second.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(draft: str, target: str) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", target, None, draft)

    target = tmp_path / "mounted"
    target.write_text("old")
    monkeypatch.setattr(os, "replace", busy)
    assert writes(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "a b\n", "-", b"\xff".decode(errors="surrogateescape")])
def test_every_name_that_the_system_takes_is_taken(tmp_path: Path, name: str) -> None:
    assert writes(tmp_path / name)


@pytest.mark.parametrize("name", ["", "new/", "n" * 256, "a\0b", "file/", "file/new", "loop"])
def test_and_no_other(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="cannot write"), OutputFile(f"{tmp_path}/{name}" if name else ""):
        pytest.fail("the work must not begin")
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_to_what_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "link").symlink_to("below/new")
    assert writes(tmp_path / "link")
    assert (tmp_path / "below/new").read_bytes() == b"new"


def test_a_pipe_is_opened_when_there_is_something_to_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with OutputFile(str(tmp_path / "pipe")) as file:
        read = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        file.write(b"new")
    with open(read, "rb") as pipe:
        assert pipe.read() == b"new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_is_full_is_no_bad_usage() -> None:
    with (
        OutputFile("/dev/full") as file,
        pytest.raises(ApxmError, match="cannot write /dev/full: No space left on device") as caught,
    ):
        file.write(b"new")
    assert not isinstance(caught.value, UsageError)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs descriptors that are files")
@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/thread-self/fd/{}", "link"])
@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_a_descriptor_is_written_on_from_where_it_is(tmp_path: Path, place: str, flags: int) -> None:
    target = tmp_path / "out"
    target.write_text("before ")
    descriptor = os.open(target, os.O_WRONLY | flags)
    if not flags:
        os.lseek(descriptor, 0, os.SEEK_END)
    place = place.format(descriptor)
    if place == "link":
        (tmp_path / place).symlink_to(f"/dev/fd/{descriptor}")
        place = str(tmp_path / place)
    with OutputFile(place) as file:
        os.write(descriptor, b"result ")
        file.write(b"metrics")
    os.close(descriptor)
    assert target.read_bytes() == b"before result metrics"
    assert target in tmp_path.iterdir()


@pytest.mark.parametrize("open_for", [os.O_RDONLY, None])
def test_a_descriptor_that_is_not_for_writing_is_refused_before_the_work(tmp_path: Path, open_for: int | None) -> None:
    (tmp_path / "in").write_text("old")
    descriptor = os.open(tmp_path / "in", open_for or os.O_RDONLY)
    if open_for is None:
        os.close(descriptor)
    with pytest.raises(UsageError, match=r"Bad file descriptor|No such file"), OutputFile(f"/dev/fd/{descriptor}"):
        pytest.fail("the work must not begin")
    if open_for is not None:
        os.close(descriptor)
