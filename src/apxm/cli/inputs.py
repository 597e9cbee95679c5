"""Which file goes to which command, and none of them twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from apxm.errors import UsageError
from apxm.program.magic import MAGIC
from apxm.source import printable


def is_artifact(path: str) -> bool:
    """Whether a file begins as an artifact does. One that is not there is none: whoever reads it says what is wrong."""
    if not os.path.isfile(path):
        return False  # what is read from a pipe is gone for the next reader
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def is_script(path: str) -> bool:
    """Whether a file is named as a script of Python."""
    return path.endswith(".py")


def refuse_artifact(path: str, python: str = "run") -> None:
    """Raises `UsageError` where `path` holds an artifact, or names a script, instead of a source; the command `python`
    takes a script."""
    refuse_collection(path)
    if is_artifact(path):
        raise UsageError("this is an artifact, already compiled", where=path, hint=f"apxm run {path}")
    if is_script(path):
        raise UsageError("this is a script of Python, which is not compiled", where=path, hint=f"apxm {python} {path}")


def refuse_source(path: str, instead: str, python: str = "run") -> None:
    """Raises `UsageError` where `path` names a source instead of an artifact; the command `instead` takes it, and
    `python` takes a script."""
    refuse_collection(path)
    if path.endswith(".ais"):
        raise UsageError("this is a source, not an artifact", where=path, hint=f"apxm {instead} {path}")
    if is_script(path):
        raise UsageError("this is a script of Python, not an artifact", where=path, hint=f"apxm {python} {path}")


def refuse_collection(path: str) -> None:
    """Raises `UsageError` for a directory, and for an archive such as `python` runs."""
    if os.path.isdir(path):
        main = os.path.join(path, "__main__.py")
        hint = f"name the file to start with, such as {main}" if os.path.isfile(main) else "name a file in it"
        raise UsageError("this is a directory, and one file is expected", where=path, hint=hint)
    if path.endswith((".pyz", ".pyzw", ".zip")):
        raise UsageError(
            "this is an archive, and one file of Python or of AIS is expected",
            where=path,
            hint=f"unpack it, and name the file to start with: python -m zipfile -e {path} FOLDER",
        )


def refuse_overwriting(
    inputs: Mapping[str, str | None], outputs: Mapping[str, str | None], config: str | None = None
) -> None:
    """Raises `UsageError` where a file to write is one that is read, or one that something else is written to too.

    `inputs` are named in words, `outputs` by their options; None is one that was not given. So is the configuration
    that was chosen; without one it is the file that counts here.
    """
    from apxm.files import own_descriptor

    taken = {_identity(path): name for name, path in inputs.items() if path}
    if all(path is None for path in outputs.values()):
        return
    for path, name in _configurations(config):
        taken.setdefault(_identity(str(path)), name)
    for number, name in ((1, "standard output"), (2, "standard error")):
        with suppress(OSError):
            taken.setdefault(_number(os.fstat(number)), name)
    for option, path in outputs.items():
        if path is None:
            continue
        if not path:
            raise UsageError(f"{option} names no file: it is empty")
        if own_descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path)):
            continue  # a device takes from many
        found = _identity(path)
        if found in taken:
            raise UsageError(f"{option} {printable(path)} is {taken[found]} itself: name another file")
        taken[found] = f"the file of {option}"


def _configurations(chosen: str | None) -> Iterator[tuple[str | Path, str]]:
    from apxm.config.files import find_project_file, user_file

    yield user_file(), "your own configuration"
    if chosen is not None:
        yield chosen, "the file of --config"
    elif (project := find_project_file()) is not None:
        yield project.path, "the configuration"


def _identity(path: str) -> object:
    """What is equal for all names of a file."""
    try:
        return _number(os.stat(path))
    except (OSError, ValueError):
        return os.path.realpath(path)


def _number(found: os.stat_result) -> object:
    return found.st_dev, found.st_ino
