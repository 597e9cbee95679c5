"""Which file goes to which command, and none of them twice."""

from __future__ import annotations

import os

from apxm.errors import UsageError
from apxm.program.codec import MAGIC
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


def refuse_artifact(path: str) -> None:
    """Raises `UsageError` where `path` holds an artifact instead of a source."""
    if is_artifact(path):
        raise UsageError("this is an artifact, already compiled", where=path, hint=f"apxm run {path}")


def refuse_source(path: str, instead: str) -> None:
    """Raises `UsageError` where `path` names a source instead of an artifact; the command `instead` takes it."""
    if path.endswith(".ais"):
        raise UsageError("this is a source, not an artifact", where=path, hint=f"apxm {instead} {path}")


def refuse_overwriting(path: str, **outputs: str | None) -> None:
    """Raises `UsageError` where a file to write is the input, at `path`, or one that something else is written to too.

    `outputs` are named by their options, without dashes; None is one that was not asked for.
    """
    taken = {os.path.realpath(path): "the input"}
    for name, output in outputs.items():
        if output is None:
            continue
        option = "-o" if name == "output" else "--" + name.replace("_", "-")
        if not output:
            raise UsageError(f"{option} names no file: it is empty")
        if os.path.exists(output) and not os.path.isfile(output):
            continue  # a device takes from many
        real = os.path.realpath(output)
        if real in taken:
            raise UsageError(f"{option} {printable(output)} is {taken[real]} itself: name another file")
        taken[real] = f"the file of {option}"
