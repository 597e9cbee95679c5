"""A script of Python as one run: its text is the module ``__main__`` in the root lane of that."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import os
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, cast

from apxm.effects.users import OURS
from apxm.errors import ApxmError, OperationError, UsageError
from apxm.lanes.edits import meaning_of
from apxm.lanes.lane import Lane
from apxm.lanes.run import LaneRun
from apxm.lanes.tracebacks import kept
from apxm.operations.types import Value
from apxm.rewriting.promises import HERE, Promises, heads_of, promised
from apxm.rewriting.reached import Reached
from apxm.runtime.trace import Status, Trace
from apxm.scripts.modules import Finder, run_module
from apxm.sdks.in_place import sdks_in_place

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs

MAIN = "__main__"


@dataclass(frozen=True)
class Script:
    """A file of Python, and what it is called with. Raises `UsageError` where it cannot be read, and `ApxmError` where
    it is no Python."""

    path: str
    """Where it is."""
    arguments: Sequence[str] = ()
    each: Sequence[str] = ()
    """The loops that its user promises, as ``FILE:LINE``."""
    called: str | None = None
    """As the user named it; None: as `path`."""
    overlapped: bool = True
    """Whether its flows and its promised loops overlap; else every line of it runs as it stands."""

    def __post_init__(self) -> None:
        try:
            compile(self.text, self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # a NUL; what nests too deeply
            line = getattr(error, "lineno", None)
            where = self.path if line is None else f"{self.path}:{line}:{getattr(error, 'offset', None) or 1}"
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ApxmError(f"this is no Python that {_version()} reads: {said}", where=where) from None
        self.promises.lines(self.file, self.text)

    @cached_property
    def file(self) -> str:
        """Its absolute path."""
        return os.path.abspath(self.path)

    @cached_property
    def _data(self) -> bytes:
        try:
            if not os.path.isfile(self.path):
                what = "a folder" if os.path.isdir(self.path) else "not there, or no regular file"
                raise UsageError(f"this is {what}, and a script of Python is expected", where=self.path)
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            raise UsageError(f"the script cannot be read: {error.strerror}", where=self.path) from None

    @cached_property
    def text(self) -> str:
        try:
            return importlib.util.decode_source(self._data)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise ApxmError(f"the script cannot be decoded: {error}", where=self.path) from None

    @cached_property
    def promises(self) -> Promises:
        return Promises.of_script(self.each)

    @property
    def noted(self) -> dict[str, Value]:
        """What the journal keeps of it, beside its path and its arguments."""
        return {"digest": self.digest, "meaning": self.meaning, "named": self.named, "each": [*self.each]} | {
            "heads": list[Value](heads_of(self.each))
        }

    @property
    def named(self) -> str:
        """As its ``sys.argv[0]`` has it."""
        return self.path if self.called is None else self.called

    @property
    def digest(self) -> str:
        """That of its file, in hexadecimal."""
        return sha256(self._data).hexdigest()

    @cached_property
    def meaning(self) -> str:
        """A digest of what Python and we read in it: not of its layout, nor of comments that promise nothing."""
        try:
            tree = promised(ast.parse(self.text, self.file), self.promises.lines(self.file, self.text))
            return meaning_of(tree)
        except RecursionError:  # it nests deeper than a tree can be gone through
            return self.digest

    def run(self) -> None:
        """Runs it as Python does. Raises what it raises."""
        module = types.ModuleType(MAIN)
        names = module.__dict__
        names |= {
            "__file__": self.file,
            "__builtins__": sys.modules["builtins"],
            "__loader__": SourceFileLoader(MAIN, self.file),
            "__cached__": None,
        }
        # They stay: what it left for the end of the process, or in threads, looks for them.
        sys.modules[MAIN] = module
        sys.argv = [self.named, *self.arguments]
        if not sys.flags.safe_path:
            sys.path[0] = os.path.dirname(os.path.realpath(self.path))
        linecache.checkcache(self.file)
        linecache.getlines(self.file)  # it may change its directory
        HERE.promises, HERE.overlap = self.promises, self.overlapped
        HERE.reached = Reached(os.getcwd())
        Finder().install()
        run_module(self.text, self.file, names)


class ScriptRun(LaneRun):
    """The run of a script."""

    async def execute(self, recorder: Recorder | None = None) -> Trace:
        with sdks_in_place(self):
            return await super().execute(recorder)

    def _run_main(self, lane: Lane) -> None:
        super()._run_main(lane)
        raised = self.raised
        if isinstance(raised, SystemExit) and raised.code in (None, 0):
            self.raised = None
        elif isinstance(raised, KeyboardInterrupt):
            self.raised = None
            self.stop(Status.INTERRUPTED)
        elif raised is not None and not self.refusal:
            tell(raised)

    @property
    def refusal(self) -> ApxmError | None:
        """What ended it and says itself where and why, as the journal's of another request; None where anything else
        did, or nothing."""
        raised = self.raised
        if isinstance(raised, ApxmError) and raised.where and not isinstance(raised, OperationError):
            return raised
        return None

    def _abort(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):  # of a lane; what is around it hears of it as of any other end
            self._is_interrupted = self._state.stopped = True
            self._loop.call_soon(self.stop, Status.INTERRUPTED)
        else:
            super()._abort(error)

    def _rest(self) -> None:
        if not self._is_interrupted:
            super()._rest()

    def _how_it_ends(self) -> type[BaseException]:
        return KeyboardInterrupt if self._ending is Status.INTERRUPTED else super()._how_it_ends()

    @property
    def ended_by_itself(self) -> bool:
        """Whether neither an exception nor a signal or a limit ended it."""
        return self._ending is None and (self.raised is None or isinstance(self.raised, SystemExit))

    @property
    def exit_status(self) -> int:
        """What the process leaves with, as far as that is the script's to say."""
        match self.raised:
            case None:
                return 0
            case SystemExit(code=int(code)):
                return code & 0xFF
            case _:
                return 1


def tell(raised: BaseException) -> None:
    """Says on standard error what a script ended with, as Python does."""
    if isinstance(raised, SystemExit):
        if not isinstance(raised.code, int):
            print(raised.code, file=sys.stderr)
        return
    left: list[BaseException | None] = [raised]
    seen: set[int] = set()
    while left:
        error = left.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = kept(error.__traceback__, lambda file: not file.startswith(OURS))
        left += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", error).exceptions
    sys.excepthook(type(raised), raised, raised.__traceback__)


def _version() -> str:
    return f"Python {sys.version_info.major}.{sys.version_info.minor}"
