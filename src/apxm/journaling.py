"""Which runs are journaled, and how a run goes on from its journal (docs/resume.md)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

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
from apxm.program.difference import difference, same_meaning
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
    """The options in the header of a journal, beside those of the `Selection`."""

    max_concurrency: int | None = None
    on_error: str = "finish"
    max_total_tokens: int | None = None
    max_cost: float | None = None
    default: str | None = None
    """The backend that answered where the program names none, whatever chose it."""


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
        before = self.began_with
        return {
            "seed": self.selection.seed or 0,
            **{name: getattr(before, name) if value is None else value for name, value in given.items()},
        }

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
        options=_stored(selection, options, default),
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
        if config is not None:
            selection, began_with = _restored(history, file=os.fspath(config), scope=Scope.CHOSEN)
        else:
            scope = Scope.CHOSEN if journaling.folder is None else Scope.JOURNAL
            selection, began_with = _restored(history, scope=scope)
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


def finish(recorder: Recorder, journaling: Journaling) -> JournalError | None:
    """Closes the journal, and now and then removes those that are old or too many. Returns why the journal lacks the
    end of the run, where that is so and nobody has been told."""
    lost = recorder.close()
    folder, now = journaling.path, time.time()
    if now - _pruned.get(folder, -inf) < PRUNED_EACH_S:
        return lost
    _pruned[folder] = now
    try:
        prune(folder, now=now)
    except JournalError as error:  # no reason to lose what the run has given
        logger.warning("old runs were not removed: %s", error)
    return lost


def _stored(selection: Selection, options: RunOptions, default: str) -> dict[str, Value]:
    """What the next process needs besides the program and its inputs."""
    file = None if selection.file is None else os.path.abspath(selection.file)
    chosen = msgspec.to_builtins(replace(selection, file=file, directory=os.getcwd()))
    del chosen["scope"]  # for the next process to judge
    kept = Kept(
        max_concurrency=options.max_concurrency,
        on_error=options.on_error,
        max_total_tokens=options.max_total_tokens,
        max_cost=options.max_cost,
        default=default,
    )
    return {name: value for name, value in chosen.items() if value is not None} | msgspec.to_builtins(kept)


def _restored(history: History, **named: object) -> tuple[Selection, Kept]:
    """What `_stored` made of them, but for what is `named`. Raises `JournalError`."""
    header = history.header
    try:
        return msgspec.convert(header.options | named, Selection), msgspec.convert(header.options, Kept)
    except msgspec.ValidationError as error:
        raise JournalError(f"the options of run {header.run_id} are damaged: {error}") from None


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
    if not same_meaning(recorded, now):
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
