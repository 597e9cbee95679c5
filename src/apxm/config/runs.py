"""Where the journals of runs lie unless a folder is named: in the user's data directory."""

from __future__ import annotations

from pathlib import Path

from apxm.errors import ConfigurationError


def runs_folder() -> Path:
    """The folder, whether or not it exists."""
    from platformdirs import user_data_path  # not needed where a folder is named

    return user_data_path("apxm", appauthor=False) / "runs"


def make_runs_folder() -> Path:
    """`runs_folder`, made where it is missing, and open to this user only. Raises `ConfigurationError`."""
    folder = runs_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"journals cannot be kept: {error.strerror}", where=str(folder)) from None
    return folder
