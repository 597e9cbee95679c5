"""The folder of the journals: which files a run has there, and whether a journal is safe in it."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from apxm.errors import JournalError, UsageError
from apxm.journal.ids import RUN_ID, is_run_id
from apxm.source import printable

MOUNTS = Path("/proc/self/mountinfo")
_UNSAFE = re.compile(
    r"nfs4?|cifs|smb\w*|9p|afs|ceph|coda|davfs|gfs2?|gpfs|lustre|ncpfs|ocfs2|orangefs|beegfs"
    r"|fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph\w*|curlftpfs|davfs2?|smb\w*|nfs\w*|goofys|mount-s3|juicefs)"
)
"""File systems that other machines may write to. A WAL is shared by memory, which ends at the machine."""
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_ENDS = ("", "-wal", "-shm")
_FILE = re.compile(rf"({RUN_ID.pattern})\.((journal|part)(-wal|-shm)?|lock)")


@dataclass(frozen=True)
class RunFiles:
    """What one run has in a folder of journals."""

    folder: Path
    run_id: str

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.run_id}.journal"

    @property
    def draft(self) -> Path:
        """The journal until its header is in it."""
        return self.folder / f"{self.run_id}.part"

    @property
    def lock(self) -> Path:
        return self.folder / f"{self.run_id}.lock"

    @property
    def all_but_lock(self) -> list[Path]:
        """Whatever else there may be of the run: SQLite has two files beside each database."""
        return [self.folder / f"{database.name}{end}" for database in (self.journal, self.draft) for end in _ENDS]


def files_of(folder: Path, run_id: str) -> RunFiles:
    """The files of a run whose id anybody may have made up. Raises `UsageError`."""
    if not is_run_id(run_id):
        raise UsageError(
            f"{run_id!r} is no run id, which looks like 20260131-235959-k3vd",
            hint="`apxm runs list` shows the runs",
        )
    return RunFiles(folder, run_id)


@dataclass
class KeptRun:
    """The files of a run, by their looks."""

    files: RunFiles
    has_journal: bool = False
    size_bytes: int = 0
    written: float = 0.0
    """When the last of the files was written, in unix time."""
    ours: bool = True
    """Whether all of them are regular files, as those of a run are."""


def runs_in(folder: Path) -> list[KeptRun]:
    """Every run that has a file there, by id, which is by the time they began; none where there is no folder. Raises
    `JournalError`."""
    runs: dict[str, KeptRun] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (match := _FILE.fullmatch(entry.name)):
                    continue
                run_id = match[1]
                run = runs.setdefault(run_id, KeptRun(RunFiles(folder, run_id)))
                try:
                    state = entry.stat()
                except FileNotFoundError:
                    continue  # it is being removed
                except OSError:  # a link in a circle, or to where this user may not look
                    run.ours = False
                else:
                    run.size_bytes += state.st_size
                    run.written = max(run.written, state.st_mtime)
                    run.has_journal |= match[2] == "journal"
                    run.ours &= stat.S_ISREG(state.st_mode)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(folder, error) from None
    return [runs[run_id] for run_id in sorted(runs)]


def check_folder(folder: Path) -> None:
    """Raises `JournalError` where a journal in that folder would not be safe."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise JournalError(
            f"the folder of the journals {found}", where=printable(str(folder)), hint="make it, or name another one"
        )
    try:
        mounts = MOUNTS.read_bytes()
    except OSError:
        return  # not Linux: whether SQLite grants a WAL has to do
    kind = file_system(folder, mounts)
    if kind and _UNSAFE.fullmatch(kind):
        raise JournalError(
            f"a journal is not safe on a network file system ({kind})",
            where=printable(str(folder)),
            hint="name a folder on a local disk",
        )


def file_system(folder: Path, mounts: bytes) -> str | None:
    """The kind of file system that a folder lies on, by the text of ``/proc/self/mountinfo``."""
    target = os.fsencode(os.path.realpath(folder))
    longest, kind = b"", None
    for line in mounts.splitlines():
        before, _, after = line.partition(b" - ")
        fields, described = before.split(b" "), after.split(b" ")
        if len(fields) < 5 or not described[0]:
            continue
        point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), fields[4])
        inside = target == point or target.startswith(point.rstrip(b"/") + b"/")
        # Of two at one place, the later one covers the earlier one.
        if inside and len(point) >= len(longest):
            longest, kind = point, described[0].decode(errors="replace")
    return kind


def unusable(folder: Path, error: OSError) -> JournalError:
    return JournalError(
        f"the folder of the journals cannot be used: {error.strerror}",
        where=printable(str(folder)),
        hint="name a folder that this user can write to",
    )
