"""Locks of files: `flock`, which the system lets go of when the process ends, however it ends. A pid in a file would
outlive it, and be given to another process."""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from types import ModuleType

from apxm.errors import JournalBusyError, JournalError
from apxm.forks import tell_of_forks
from apxm.journal.folder import unusable
from apxm.regular import NotRegularError, open_regular
from apxm.source import printable

_TRIES = 20
_PAUSE_S = 0.005
"""Who only looks whether a file is locked holds its lock for some microseconds: that is no reason to be refused."""
_PATIENT_TRIES = 6000


class FileLock:
    """The lock of a file that is there for its lock alone, held from here until `release`.

    Raises `JournalBusyError` where another one holds that of a run, `JournalError` where there can be none.
    """

    def __init__(self, path: Path, run_id: str | None = None) -> None:
        """`run_id` says whose it is; without one, it is held for a moment only, and waited for."""
        self._path = path
        self._made = not path.exists()
        try:
            self._descriptor = _locked(path, run_id)
        except NotRegularError as error:
            raise JournalError(f"a lock cannot be taken: {error.strerror}", where=printable(str(path))) from None
        except OSError as error:
            raise unusable(path.parent, error) from None
        self._held = True
        tell_of_forks(self)

    def forked(self) -> None:
        # The lock is the parent's, and would be held until the last process that has it open ends.
        self.release()

    def release(self) -> None:
        if self._held:
            self._held = False
            os.close(self._descriptor)

    def give_up(self) -> None:
        """Leaves the folder as it was."""
        if self._made:
            self.remove()
        self.release()

    def remove(self) -> None:
        """Releases it, and leaves no file."""
        if self._held:
            self._path.unlink(missing_ok=True)
        self.release()


def lock_file(descriptor: int, tries: int = _TRIES) -> bool:
    """Locks an open file, for as long as it is open; False where somebody else has it locked."""
    locks = _locks()
    for attempt in range(tries):
        if attempt:
            sleep(_PAUSE_S)
        try:
            locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
            return True
        except BlockingIOError:
            pass
    return False


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return False
    try:
        return is_locked(descriptor)
    finally:
        os.close(descriptor)


def is_locked(descriptor: int) -> bool:
    """Whether another one holds the lock of an open file."""
    locks = _locks()
    try:
        # Shared, so that two who look do not take each other for the owner.
        locks.flock(descriptor, locks.LOCK_SH | locks.LOCK_NB)
        locks.flock(descriptor, locks.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locked(path: Path, run_id: str | None) -> int:
    """The descriptor of the lock file that is there, with its lock. Raises `JournalBusyError` and `OSError`."""
    while True:
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            if not lock_file(descriptor, _PATIENT_TRIES if run_id is None else _TRIES):
                if run_id is None:
                    raise JournalError("another process does not let go of a lock", where=printable(str(path)))
                raise JournalBusyError(run_id)
            # It may have been removed between the two: then its lock guards nothing.
            if is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locks() -> ModuleType:
    try:
        import fcntl
    except ImportError:  # Windows
        raise JournalError("this system has no file locks (flock), which journals need") from None
    return fcntl
