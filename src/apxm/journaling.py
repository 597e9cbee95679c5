"""Which runs are journaled, and how a run goes on from its journal (docs/resume.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

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

Origin = tuple[str, Kind]
"""The absolute path of a program, and what is there."""
_KEPT = ("max_concurrency", "on_error", "max_total_tokens", "max_cost")
"""Options of a run that the next process goes on with."""


@dataclass(frozen=True)
class Earlier:
    """A run that another process began."""

    program: Program
    flow: Flow
    inputs: tuple[Value, ...]
    selection: Selection
    options: Mapping[str, Value]
    """What it began with."""
    recorder: Recorder

    def kept(self, **given: object) -> dict[str, Any]:
        """The options of a run that it goes on with: those that are `given`, and else those it had."""
        before = {name: self.options[name] for name in _KEPT if name in self.options}
        named = {name: value for name, value in given.items() if value is not None}
        return {"seed": self.selection.seed or 0} | before | named


def begin(
    journaling: Journaling,
    run_id: str,
    origin: Origin | None,
    program: Program,
    flow: Flow,
    inputs: Sequence[Value],
    selection: Selection,
    options: RunOptions,
    apxm: str,
) -> Recorder:
    """The journal of a new run. Raises `JournalError`, and `ConfigurationError` where its folder cannot be made."""
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
        options=_kept(selection, options),
    )
    return Recorder(Journal.create(folder, header, sync=journaling.mode), apxm, required=journaling.required)


def reopen(
    journaling: Journaling,
    wanted: str,
    apxm: str,
    *,
    as_recorded: bool = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
) -> Earlier:
    """Takes a run over that no process owns any more; `wanted` names it.

    An operation with an outside effect that began, and of which nobody knows whether it ended, is made again where
    `redo` names its path, and has the value that `assume` gives it; else the run does not go on.

    Raises `UsageError` where there is no such run, and `JournalError`, also where the program has changed since, unless
    it is to run `as_recorded`.
    """
    folder = journaling.path
    journal, history = Journal.reopen(folder, find_run(folder, wanted), sync=journaling.mode)
    try:
        header = history.header
        program = codec.decode(header.program)
        if not as_recorded:
            _refuse_another_program(history, program)
        _decide(history, redo, assume or {})
        chosen: dict[str, Any] = {field.name: header.options.get(field.name) for field in fields(Selection)}
        return Earlier(
            program,
            select_flow(program, header.flow),
            header.inputs,
            Selection(**chosen),
            header.options,
            Recorder(journal, apxm, history, required=journaling.required),
        )
    except BaseException:
        journal.close()
        raise


def finish(recorder: Recorder, journaling: Journaling) -> None:
    """Closes the journal, and removes those that are old or too many."""
    recorder.close()
    prune(journaling.path, now=time.time())


def _kept(selection: Selection, options: RunOptions) -> dict[str, Value]:
    """What the next process needs besides the program and its inputs."""
    file = None if selection.file is None else os.path.abspath(selection.file)
    here = replace(selection, file=file, directory=os.getcwd())
    values = asdict(here) | {name: getattr(options, name) for name in _KEPT}
    return {name: value for name, value in values.items() if value is not None}


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
