"""What is said about the journal of a run, and where journals lie unless a folder is named: in the user's data
directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from apxm.config.files import make_folder, user_folder
from apxm.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Journaling:
    """What the caller of a run says about its journal."""

    journal: bool | None = None
    """None: where a backend that the program calls is real."""
    journal_dir: str | os.PathLike[str] | None = None
    """None: the user's own."""
    journal_sync: Literal["full", "normal"] = "full"
    require_journal: bool = False
    """Whether the run must not go on without."""

    def __post_init__(self) -> None:
        if self.journal_sync not in ("full", "normal"):
            raise UsageError(f"a journal is written full or normal, not {self.journal_sync!r}")
        if self.require_journal and self.journal is False:
            raise UsageError("a journal cannot be required and not be wanted")

    @cached_property
    def folder(self) -> Path:
        """The folder of the journals, whether or not it exists."""
        folder = runs_folder() if self.journal_dir is None else self.journal_dir
        return folder if isinstance(folder, Path) else Path(folder)  # which remembers its text, where runs share it

    def make_folder(self) -> Path:
        """`folder`, made where it is missing, and open to this user only. Raises `ConfigurationError`."""
        return make_folder(self.folder, "the folder of the journals cannot be made", mode=0o700)


def runs_folder() -> Path:
    """The user's own folder of journals, whether or not it exists."""
    return user_folder("data") / "runs"
