"""The folder of the journals, and whether a journal is safe in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from apxm.errors import JournalError, UsageError
from apxm.journal.ids import is_run_id
from apxm.source import printable

MOUNTS = Path("/proc/self/mountinfo")
_UNSAFE = re.compile(
    r"nfs4?|cifs|smb\w*|9p|afs|ceph|coda|davfs|gfs2?|gpfs|lustre|ncpfs|ocfs2|orangefs|beegfs"
    r"|fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph\w*|curlftpfs|davfs2?|smb\w*|nfs\w*|goofys|mount-s3|juicefs)"
)
"""File systems that other machines may write to: their locks, and what they write, may end at the machine."""
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def checked_id(run_id: str) -> str:
    """A run id that anybody may have made up. Raises `UsageError`."""
    if not is_run_id(run_id):
        raise UsageError(
            f"{run_id!r} is no run id, which looks like 20260131-235959-k3vd",
            hint="`apxm runs list` shows the runs",
        )
    return run_id


def check_folder(folder: Path) -> None:
    """Raises `JournalError` where a journal in that folder would not be safe."""
    if not os.path.isdir(folder):
        found = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise JournalError(
            f"the folder of the journals {found}", where=printable(str(folder)), hint="make it, or name another one"
        )
    try:
        mounts = MOUNTS.read_bytes()
    except OSError:
        return  # not Linux: it is for the user to know
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
