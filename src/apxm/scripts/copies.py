"""Copies of a folder for runs that write into it, bounded: what is left out is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from stat import S_ISREG
from typing import Literal

import msgspec

from apxm.errors import UsageError

MOST_FILES = 20_000
MOST_BYTES = 500_000_000
LARGEST_BYTES = 50_000_000
_LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", ".mypy_cache",
        ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints",
    }
)  # fmt: skip
Why = Literal["kept apart by its name", "too large", "no regular file", "a link to elsewhere", "cannot be read"]


class Copied(msgspec.Struct, frozen=True):
    """Something that a copy lacks."""

    path: str
    why: Why


class Folder:
    """A folder as it is now. Raises `UsageError` where there is too much in it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.left_out: list[Copied] = []
        self._files: dict[str, int] = {}
        self._links: dict[str, str] = {}
        self._folders: list[str] = []
        total = 0
        for path in self._walked(root):
            total += self._files.get(path, 0)
            if len(self._files) > MOST_FILES or total > MOST_BYTES:
                raise UsageError(
                    f"the folder is too large to be copied: it has more than {MOST_FILES:,} files or "
                    f"{MOST_BYTES / 1e6:,.0f} MB",
                    where=root,
                    hint="run the check in a folder that has what the script needs, and nothing else",
                )
        self._digests = {path: _digest(os.path.join(root, path)) for path in self._files}

    def _walked(self, folder: str) -> Iterator[str]:
        """The paths of files within it, each as soon as it is known what becomes of it."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self._leave_out(folder, "cannot be read")
            return
        for entry in entries:
            path = os.path.relpath(entry.path, self.root)
            if entry.name == "__pycache__":
                continue  # nobody misses it
            if entry.name in _LEFT_OUT and entry.is_dir():
                self._leave_out(entry.path, "kept apart by its name")
            elif entry.is_symlink():
                self._link(entry.path, path)
            elif entry.is_dir(follow_symlinks=False):
                self._folders.append(path)
                yield from self._walked(entry.path)
            else:
                found = entry.stat(follow_symlinks=False)
                if not S_ISREG(found.st_mode):
                    self._leave_out(entry.path, "no regular file")
                elif found.st_size > LARGEST_BYTES:
                    self._leave_out(entry.path, "too large")
                elif not os.access(entry.path, os.R_OK):
                    self._leave_out(entry.path, "cannot be read")
                else:
                    self._files[path] = found.st_size
                    yield path

    def _link(self, full: str, path: str) -> None:
        target = os.path.realpath(full)
        if not (target + os.sep).startswith(self.root + os.sep):
            self._leave_out(full, "a link to elsewhere")
        else:
            self._links[path] = os.path.relpath(target, os.path.dirname(full))

    def _leave_out(self, full: str, why: Why) -> None:
        self.left_out.append(Copied(os.path.relpath(full, self.root), why))

    def copy_to(self, place: str) -> None:
        """Makes a copy of it."""
        os.makedirs(place)
        for path in self._folders:
            os.makedirs(os.path.join(place, path))
        for path in self._files:
            shutil.copy2(os.path.join(self.root, path), os.path.join(place, path))
        for path, target in self._links.items():
            os.symlink(target, os.path.join(place, path))

    def written_in(self, copy: str) -> dict[str, bytes | None]:
        """What somebody wrote in a copy of it, by path; None for what was removed."""
        there = {path: os.path.join(copy, path) for path in _files_in(copy)}
        found: dict[str, bytes | None] = dict.fromkeys(self._files.keys() - there.keys())
        for path, full in there.items():
            if _digest(full) != self._digests.get(path):
                with open(full, "rb") as file:
                    found[path] = file.read().replace(copy.encode(), self.root.encode())
        return found


def _files_in(copy: str) -> Iterator[str]:
    for folder, folders, files in os.walk(copy):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            full = os.path.join(folder, name)
            if os.path.isfile(full) and not os.path.islink(full):
                yield os.path.relpath(full, copy)


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return sha256(file.read()).digest()
