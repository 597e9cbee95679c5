"""Where the configuration lies, and how a file is read that anybody may have put there."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from apxm.errors import ConfigurationError
from apxm.regular import NotRegularError, read_regular
from apxm.source import printable

PROJECT_FILE = Path(".apxm", "config.toml")
LARGEST = 1024 * 1024


class Scope(Enum):
    CHOSEN = "--config"
    PROJECT = "project"
    """Found in the working directory or above: perhaps cloned from a stranger."""
    JOURNAL = "journal"
    """Named by a journal that may have been cloned as well."""
    USER = "user"


@dataclass(frozen=True)
class ConfigFile:
    path: Path
    scope: Scope
    content: bytes


def find_file(chosen: Path | None, directory: Path | None = None, scope: Scope = Scope.CHOSEN) -> ConfigFile | None:
    """The one file that counts: `chosen`, by whom says `scope`, else the project's, else the user's. Files are never
    merged."""
    if chosen is not None:
        content = read_file(chosen)
        if content is None:
            raise ConfigurationError("there is no such file", where=str(chosen))
        return ConfigFile(chosen, scope, content)
    if (found := find_project_file(directory)) is not None:
        return found
    content = read_file(user_file())  # only now: merged, one file could redirect the other's key
    return None if content is None else ConfigFile(user_file(), Scope.USER, content)


def find_project_file(directory: Path | None = None) -> ConfigFile | None:
    """``.apxm/config.toml`` in `directory`, by default the working one, or the nearest one above it."""
    directory = directory or working_directory()
    for above in (directory, *directory.parents):
        content = read_file(above / PROJECT_FILE)
        if content is not None:
            return ConfigFile(above / PROJECT_FILE, Scope.PROJECT, content)
    return None


def working_directory() -> Path:
    """Raises `ConfigurationError` where it was deleted: the system's own error names nothing."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigurationError("the working directory is gone", hint="change to one that exists") from None


def user_file() -> Path:
    return user_folder("config") / "config.toml"


def user_folder(kind: Literal["cache", "config", "data", "state"]) -> Path:
    """The user's own folder for files of ours of one kind, whether or not it exists."""
    import platformdirs  # not needed where all files are named, or a project has its own

    return getattr(platformdirs, f"user_{kind}_path")("apxm", appauthor=False)


def make_folder(path: Path, refusal: str, mode: int = 0o777) -> Path:
    """`path`, made where it is missing. Raises `ConfigurationError`, which begins with the `refusal`."""
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{refusal}: {error.strerror}", where=printable(str(path))) from None
    return path


def read_file(path: Path) -> bytes | None:
    """The content of a regular file of at most 1 MiB; None where there is none. Raises `ConfigurationError`.

    A device or a pipe at that place is refused before a byte of it is read, so it cannot hang us.
    """
    try:
        content = read_regular(path, LARGEST + 1)
    except NotRegularError as error:
        raise ConfigurationError(str(error.strerror), where=str(path)) from None
    except OSError as error:
        if _is_absent(path, error):
            return None
        raise ConfigurationError(f"the file cannot be read: {error.strerror}", where=str(path)) from None
    if len(content) > LARGEST:
        raise ConfigurationError("the file is larger than 1 MiB", where=str(path))
    return content


def _is_absent(path: Path, error: OSError) -> bool:
    if error.errno == errno.ENOTDIR:
        return True
    if error.errno in (errno.ENOENT, errno.EACCES):
        # A link to nowhere, and a file that is there but closed to us, are not "no file": another one must not be
        # taken in its place without a word.
        return not os.path.lexists(path) and not (error.errno == errno.EACCES and os.path.lexists(path.parent))
    return False
