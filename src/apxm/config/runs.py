"""Where the journals of runs lie unless a folder is named: in the user's data directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apxm.errors import ConfigurationError, UsageError
from apxm.source import printable


@dataclass(frozen=True, kw_only=True)
class Journaling:
    """What the caller of a run says about its journal."""

    wanted: bool | None = None
    """None: where a backend that the program calls is real."""
    folder: str | os.PathLike[str] | None = None
    """None: the user's own."""
    sync: str = "full"
    required: bool = False
    """Whether the run must not go on without."""

    def __post_init__(self) -> None:
        if self.sync not in ("full", "normal"):
            raise UsageError(f"a journal is written full or normal, not {self.sync!r}")
        if self.required and self.wanted is False:
            raise UsageError("a journal cannot be required and not be wanted")

    @property
    def path(self) -> Path:
        """The folder, whether or not it exists."""
        return runs_folder() if self.folder is None else Path(self.folder)

    def make_folder(self) -> Path:
        """`path`, made where it is missing, and open to this user only. Raises `ConfigurationError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            where = printable(str(self.path))
            raise ConfigurationError(
                f"the folder of the journals cannot be made: {error.strerror}", where=where
            ) from None
        return self.path

    @property
    def mode(self) -> Literal["full", "normal"]:
        return "normal" if self.sync == "normal" else "full"


def runs_folder() -> Path:
    """The folder, whether or not it exists."""
    from platformdirs import user_data_path  # not needed where a folder is named

    return user_data_path("apxm", appauthor=False) / "runs"
