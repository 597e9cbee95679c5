"""Files that a user names for what they hold: a pipe or a device is read as a regular file is."""

from __future__ import annotations

import os

from apxm.errors import UsageError


def read_named(path: str | os.PathLike[str], most: int) -> bytes:
    """What the file at `path` holds, `most` bytes of it at most. Raises `UsageError` where it cannot be read."""
    shown = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except IsADirectoryError:
        raise UsageError("this is a directory, expected a file", where=shown) from None
    except FileNotFoundError:
        raise UsageError("there is no such file", where=shown) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"the file cannot be read: {reason}", where=shown) from None
