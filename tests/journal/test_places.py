"""Where a journal may lie, and where it is refused."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from apxm.errors import JournalError
from apxm.journal import folder as folders
from apxm.journal.catalog import read
from apxm.journal.folder import file_system
from apxm.journal.journal import Journal
from apxm.journal.store import store_of
from tests.journal.journals import HEADER, RUN_ID, contents, names, result, write

MOUNTS = b"""\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /home rw shared:1 - nfs4 server:/home rw
31 30 0:31 / /home/me/local rw shared:1 master:2 - xfs /dev/vdb rw
32 22 0:32 / /with\\040space rw - fuse.sshfs me@host:/ rw
33 22 0:33 / /twice rw - tmpfs none rw
34 22 0:34 / /twice rw - 9p host rw
a line that makes no sense
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home", "nfs4"),
        ("/home/me", "nfs4"),
        ("/homes/me", "ext4"),
        ("/home/me/local/runs", "xfs"),
        ("/with space/runs", "fuse.sshfs"),
        ("/twice/runs", "9p"),
    ],
)
def test_the_innermost_and_last_mount_counts(place: str, kind: str) -> None:
    assert file_system(Path(place), MOUNTS) == kind


def test_no_mount_at_all_tells_nothing() -> None:
    assert file_system(Path("/x"), b"") is None


def mounted(folder: Path, kind: str) -> bytes:
    place = os.fsencode(os.path.realpath(folder)).replace(b" ", b"\\040")
    return b"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:9 / %s rw - %s x rw\n" % (place, kind.encode())


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.rclone", "ceph", "lustre"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = tmp_path / "the runs"
    folder.mkdir()
    write(folder, [result(0)])
    store_of(folder).rest()
    before = contents(folder)
    (tmp_path / "mounts").write_bytes(mounted(folder, kind))
    monkeypatch.setattr(folders, "MOUNTS", tmp_path / "mounts")
    for refused in (lambda: Journal.create(folder, HEADER), lambda: Journal.reopen(folder, RUN_ID)):
        with pytest.raises(JournalError, match=f"network file system \\({kind}\\)"):
            refused()
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs", "tmpfs", "overlay", "zfs", "fuse.fuse-overlayfs"])
def test_a_local_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (tmp_path / "mounts").write_bytes(mounted(tmp_path, kind))
    monkeypatch.setattr(folders, "MOUNTS", tmp_path / "mounts")
    Journal.create(tmp_path, HEADER).close()


def test_without_a_table_of_mounts_it_is_for_the_user_to_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOUNTS", tmp_path / "nothing")
    Journal.create(tmp_path, HEADER).close()


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for refused in (lambda: Journal.create(folder, HEADER), lambda: Journal.reopen(folder, RUN_ID)):
        with pytest.raises(JournalError, match="does not exist"):
            refused()
    assert names(tmp_path) == set()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(JournalError, match="is not a folder"):
        Journal.create(tmp_path / "runs", HEADER)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="nowhere that even root cannot write to")
def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(JournalError, match="cannot be used: Permission denied") as refused:
        Journal.create(Path("/sys/kernel"), HEADER)
    assert refused.value.where == "/sys/kernel"


def test_a_log_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(JournalError, match="cannot be used: Input/output error"):
        Journal.create(tmp_path, HEADER)
    assert names(tmp_path) == set()


def test_reading_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, [result(0)])
    before = contents(tmp_path)
    assert len(read(tmp_path, RUN_ID).records) == 1
    assert contents(tmp_path) == before


def test_a_name_with_every_kind_of_character_works(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20é&"
    folder.mkdir()
    write(folder, [result(0)])
    with closing(Journal.reopen(folder, RUN_ID)[0]) as journal:
        assert journal.path.exists()
