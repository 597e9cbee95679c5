"""The HTTP client library, with threads of this process.

It keeps its threads, and what they share, once for each copy of it that is loaded. They do not live on in a forked
process, and nothing there starts them again: a call would wait for ever. So a process that was forked from one that had
used the library loads a copy of its own.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from apxm.errors import ConfigurationError
from apxm.forks import ProcessLock, tell_of_forks

_ORIGINAL: Any = import_module("pyqwest._pyqwest")


class _ProcessLibrary:
    def __init__(self) -> None:
        self.lock = ProcessLock()
        self.library = _ORIGINAL
        """The copy that this process uses; None from a fork until it is needed again."""
        self.used = False
        self._before: list[Any] = []
        """The copies of the processes before, not let go of: the threads that would have to end them are gone."""

    def forked(self) -> None:
        if self.used:
            self._before.append(self.library)
            self.library, self.used = None, False


_process = _ProcessLibrary()
tell_of_forks(_process)


def client_library() -> Any:
    """What `pyqwest` holds, as a module that only this process uses.

    Raises `ConfigurationError` where a second copy cannot be loaded.
    """
    if _process.library is None:
        with _process.lock:
            if _process.library is None:
                _process.library = _copy()
    _process.used = True
    return _process.library


def _copy() -> Any:
    # Under a name of its own, as the system loads what has the same name, or is the same file, only once.
    try:
        with TemporaryDirectory(prefix="apxm-") as folder:
            path = shutil.copy(_ORIGINAL.__file__, folder)
            spec = spec_from_file_location(_ORIGINAL.__name__, Path(path))
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
    except (OSError, ImportError) as error:
        raise ConfigurationError(
            f"a process forked from one that had called an endpoint loads the HTTP client anew, and cannot: {error}",
            hint="let TMPDIR name a folder that libraries may be loaded from, or start processes by spawn",
        ) from None
    return module
