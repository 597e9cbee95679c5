"""Which runs are journaled, and how a run goes on from its journal (docs/resume.md)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from apxm.config.files import Scope
from apxm.config.runs import Journaling
from apxm.config.selection import Selection
from apxm.errors import JournalError, UsageError
from apxm.journal.journal import Journal
from apxm.journal.model import History, Kind, Result, header_of
from apxm.journal.runs import find_run, prune
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.difference import difference
from apxm.program.invocation import select_flow
from apxm.program.model import Flow, Program
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.source import printable

logger = logging.getLogger("apxm")

PRUNED_EACH_S = 60
"""To look at ten thousand runs takes as long as a short one."""
_pruned: dict[Path, float] = {}
"""When this process did, by folder."""

Origin = tuple[str, Kind]
"""The absolute path of a program, and what is there."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options in the header of a journal: what the next process needs besides the program and its inputs."""

    backend: str | None = None
    model: str | None = None
    latency: str | None = None
    slowdown: str | None = None
    faults: str | None = None
    seed: int | None = None
    file: str | None = None
    """Absolute, as `directory` is."""
    directory: str | None = None
    max_concurrency: int | None = None
    on_error: str = "finish"
    max_total_tokens: int | None = None
    max_cost: float | None = None
    default: str | None = None
    """The backend that answered where the program names none, whatever chose it."""


_SELECTED = [field.name for field in fields(Selection) if field.name != "scope"]
_LIMITS = ["max_concurrency", "on_error", "max_total_tokens", "max_cost"]


@dataclass(frozen=True)
class Earlier:
    """A run that another process began."""

    program: Program
    flow: Flow
    inputs: tuple[Value, ...]
    selection: Selection
    began_with: Kept
    recorder: Recorder

    def kept(self, **given: object) -> dict[str, Any]:
        """The options of a run that it goes on with: those that are `given`, and else those it had."""
        before = {name: getattr(self.began_with, name) for name in _LIMITS}
        named = {name: value for name, value in given.items() if value is not None}
        return {"seed": self.selection.seed or 0} | before | named

    def refuse_another_backend(self, default: str) -> None:
        """Raises `JournalError` where `default` is not the backend that it began with: a key that is not set any more
        would have its other half simulated."""
        before = self.began_with.default
        if before is not None and before != default:
            raise JournalError(
                f"the run began with backend {printable(before)!r}, and now {default!r} would answer",
                hint="set its key or its configuration as they were; apxm doctor shows what there is",
            )


def begin(
    journaling: Journaling,
    run_id: str,
    origin: Origin | None,
    program: Program,
    flow: Flow,
    inputs: Sequence[Value],
    selection: Selection,
    options: RunOptions,
    default: str,
    apxm: str,
) -> Recorder:
    """The journal of a new run; `default` is the backend that answers by default. Raises `JournalError`, and
    `ConfigurationError` where its folder cannot be made."""
    folder = journaling.make_folder()
    # A program without a file has a name only, which is no absolute path: nothing to compare with when it goes on.
    path, kind = origin or (program.names.file, "source")
    header = header_of(
        program,
        apxm=apxm,
        run_id=run_id,
        started=time.time(),
        path=path,
        kind=kind,
        flow=flow.qualified_name,
        inputs=inputs,
        options=_kept(selection, options, default),
    )
    return Recorder(Journal.create(folder, header, sync=journaling.mode), apxm, required=journaling.required)


def reopen(
    journaling: Journaling,
    wanted: str,
    apxm: str,
    *,
    config: str | os.PathLike[str] | None = None,
    as_recorded: bool = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
) -> Earlier:
    """Takes a run over that no process owns any more; `wanted` names it.

    It is configured by the file that `config` names, and else by the one it began with. Anybody may have written a
    journal that lies elsewhere than in the user's own folder: what that names needs trust.

    An operation with an outside effect that began, and of which nobody knows whether it ended, is made again where
    `redo` names its path, and has the value that `assume` gives it; else the run does not go on.

    Raises `UsageError` where there is no such run, and `JournalError`, also where the program has changed since, unless
    it is to run `as_recorded`.
    """
    folder = journaling.path
    journal, history = Journal.reopen(folder, find_run(folder, wanted).files.run_id, sync=journaling.mode)
    try:
        header = history.header
        program = codec.decode(header.program)
        if not as_recorded:
            _refuse_another_program(history, program)
        _decide(history, redo, assume or {})
        began_with = _options_of(history)
        scope = Scope.CHOSEN if journaling.folder is None else Scope.JOURNAL
        selection = Selection(**{name: getattr(began_with, name) for name in _SELECTED}, scope=scope)
        if config is not None:
            selection = replace(selection, file=config, scope=Scope.CHOSEN)
        return Earlier(
            program,
            select_flow(program, header.flow),
            header.inputs,
            selection,
            began_with,
            Recorder(journal, apxm, history, required=journaling.required),
        )
    except BaseException:
        journal.close()
        raise


def finish(recorder: Recorder, journaling: Journaling) -> None:
    """Closes the journal, and now and then removes those that are old or too many."""
    recorder.close()
    folder, now = journaling.path, time.time()
    if now - _pruned.get(folder, -inf) < PRUNED_EACH_S:
        return
    _pruned[folder] = now
    try:
        prune(folder, now=now)
    except JournalError as error:  # no reason to lose what the run has given
        logger.warning("old runs were not removed: %s", error)


def _kept(selection: Selection, options: RunOptions, default: str) -> dict[str, Value]:
    """As `Kept` has them, to be stored."""
    file = None if selection.file is None else os.path.abspath(selection.file)
    here = replace(selection, file=file, directory=os.getcwd())
    values = {name: getattr(here, name) for name in _SELECTED} | {name: getattr(options, name) for name in _LIMITS}
    return cast(dict[str, Value], msgspec.to_builtins(Kept(**values, default=default)))


def _options_of(history: History) -> Kept:
    try:
        return msgspec.convert(history.header.options, Kept)
    except msgspec.ValidationError as error:
        raise JournalError(f"the options of run {history.header.run_id} are damaged: {error}") from None


def _refuse_another_program(history: History, recorded: Program) -> None:
    header = history.header
    path = Path(header.path)
    if not path.is_absolute() or not path.exists():
        return  # then there is no other one
    if header.kind == "source":
        from apxm.compiler.pipeline import compile_source
        from apxm.language.parser import read_source

        now = compile_source(read_source(path), level=header.optimization_level, needs_entry=False).program
    else:
        now = codec.read(path)
    if sha256(codec.encode(now)).hexdigest() != header.program_digest:
        raise JournalError(
            f"the program has changed since the run began: {difference(recorded, now)}",
            where=printable(header.path),
            hint="--as-recorded goes on with the program as it was; a new run has the new one",
        )


def _decide(history: History, redo: Sequence[str], assume: Mapping[str, Value]) -> None:
    """What became of operations of which nobody knows the end."""
    for path in (*redo, *assume):
        if path not in history.unknown:
            known = ", ".join(sorted(history.unknown)) or "there is none"
            raise UsageError(f"{path!r} is no operation of an unknown outcome", hint=f"of these there are: {known}")
    for path, value in assume.items():
        history.results[path] = Result(path, history.unknown[path].digest, value)
    if left := sorted(history.unknown.keys() - {*redo, *assume}):
        raise JournalError(
            f"{left[0]} began and nobody knows whether it ended"
            + (f", and so {len(left) - 1} more" if len(left) > 1 else ""),
            hint=f"--redo {left[0]} makes it again, --assume {left[0]}=VALUE says what it gave",
        )
