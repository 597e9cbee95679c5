"""Which runs are journaled, and how a run goes on from its journal (docs/resume.md)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from apxm.config.files import Scope
from apxm.config.runs import Journaling
from apxm.config.selection import Selection
from apxm.errors import JournalError, SourceError, UsageError
from apxm.journal.journal import Journal
from apxm.journal.model import Edited, Header, History, Record, Result, edited, header_of
from apxm.journal.runs import find_run, prune
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program import codec
from apxm.program.difference import difference, same_meaning
from apxm.program.invocation import arguments_for, assign, select_flow
from apxm.program.model import Flow, Origin, Program
from apxm.runtime.budget import DEFAULT_MAX_TOKENS
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.source import Diagnostic, is_utf8, printable

if TYPE_CHECKING:
    from apxm.analysis.preview import Preview

logger = logging.getLogger("apxm")

PRUNED_EACH_S = 60
"""To look at ten thousand runs takes as long as a short one."""
_pruned: dict[Path, float] = {}
"""When this process did, by folder."""


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
    path: str
    """The file of its program, as the journal has it."""
    warnings: tuple[Diagnostic, ...] = ()
    """Of the compiler, where the program was edited."""

    def kept(self, **given: object) -> dict[str, Any]:
        """The options of a run that it goes on with: those that are `given`, and else those it had."""
        before = self.began_with
        return {
            "seed": self.selection.seed or 0,
            **{name: getattr(before, name) if value is None else value for name, value in given.items()},
        }

    def preview(self, loaded: LoadedProgram, pool: BackendPool, options: RunOptions) -> Preview:
        """What it will ask, and what that may cost. Asks nothing, and changes nothing."""
        from apxm.analysis.preview import preview  # what every other run can do without

        recorder = self.recorder
        most = DEFAULT_MAX_TOKENS if options.has_budget else inf
        return preview(loaded, self.flow, self.inputs, pool, recorder.preview(), recorder.answered, most)

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
    if not is_utf8(path):  # as a row is
        path = program.names.file
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
    as_edited: bool | Program = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
) -> Earlier:
    """Takes a run over that no process owns any more; `wanted` names it.

    It is configured by the file that `config` names, and else by the one it began with. Anybody may have written a
    journal that lies elsewhere than in the user's own folder: what that names needs trust.

    An operation with an outside effect that began, and of which nobody knows whether it ended, is made again where
    `redo` names its path, and has the value that `assume` gives it; else the run does not go on.

    Where the program has changed since, it can run `as_recorded`, or `as_edited`: as its file is now, or as another
    `Program`. The answers that the run has count for whatever makes the same request in it.

    Raises `UsageError` where there is no such run, `JournalError`, also where the program has changed since and nothing
    is said of it, and `SourceError` where the edited one has errors.
    """
    if as_recorded and as_edited:
        raise UsageError("a run goes on either as recorded or as edited")
    folder = journaling.path
    journal, history = Journal.reopen(folder, find_run(folder, wanted).files.run_id, sync=journaling.mode)
    try:
        recorded = codec.decode(history.header.program)
        _decide(history, redo, assume or {})
        change: Edited | None = None
        warnings: tuple[Diagnostic, ...] = ()
        if as_edited:
            program, warnings = (as_edited, ()) if isinstance(as_edited, Program) else _program_now(history.header)
            change = edited(program, _inputs_now(history.header, recorded, program))
            history.add(Record(time.time(), change))
        else:
            program = recorded
            if not as_recorded:
                _refuse_another_program(history.header, recorded)
        header = history.header
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
            Recorder(journal, apxm, history, edited=change, required=journaling.required),
            header.path,
            warnings,
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


def _program_now(header: Header) -> tuple[Program, tuple[Diagnostic, ...]]:
    """The program as its file has it now, and what the compiler warns of. Raises `UsageError` where there is none."""
    path = Path(header.path)
    if not path.is_absolute() or not path.exists():
        raise UsageError(
            f"the file that run {header.run_id} began with is not there: {printable(header.path)}",
            hint="--as-recorded goes on with the program as it was",
        )
    if header.kind == "artifact":
        return codec.read(path), ()
    from apxm.compiler.pipeline import compile_source
    from apxm.language.parser import read_source

    compilation = compile_source(read_source(path), level=header.optimization_level, needs_entry=False)
    return compilation.program, compilation.warnings


def _inputs_now(header: Header, recorded: Program, program: Program) -> list[Value]:
    """The run's inputs for the flow as it is now, by name; new parameters have their defaults. Raises `UsageError`."""
    before = select_flow(recorded, header.flow).parameters
    now = select_flow(program, header.flow)
    names = {parameter.name for parameter in now.parameters}
    given = {p.name: value for p, value in zip(before, header.inputs, strict=True) if p.name in names}
    return arguments_for(now, assign(now, (), given))


def _refuse_another_program(header: Header, recorded: Program) -> None:
    path = Path(header.path)
    if not path.is_absolute() or not path.exists():
        return  # then there is no other one
    hint = (
        "--edited goes on with it as it is now, and keeps every answer to a request that is still the same; "
        "--as-recorded goes on with it as it was"
    )
    try:
        now, _ = _program_now(header)
    except SourceError as error:
        changed = f"it has errors now, the first: {error.message}"
        raise JournalError(
            f"the program has changed since the run began: {changed}",
            where=printable(error.where or path.name),
            hint=hint,
        ) from None
    if not same_meaning(recorded, now):
        raise JournalError(
            f"the program has changed since the run began: {difference(recorded, now)}",
            where=printable(header.path),
            hint=hint,
        )


def _decide(history: History, redo: Sequence[str], assume: Mapping[str, Value]) -> None:
    """What became of operations of which nobody knows the end."""
    for path in (*redo, *assume):
        if path not in history.unknown:
            known = ", ".join(sorted(history.unknown)) or "there is none"
            raise UsageError(f"{path!r} is no operation of an unknown outcome", hint=f"of these there are: {known}")
    for path, assumed in assume.items():
        try:
            value = plain(assumed, JSON, f"what is assumed of {path}")
        except ValueError as unfit:
            raise UsageError(str(unfit)) from None
        history.results[path] = Result(path, history.unknown[path].digest, value)
    if left := sorted(history.unknown.keys() - {*redo, *assume}):
        raise JournalError(
            f"{left[0]} began and nobody knows whether it ended"
            + (f", and so {len(left) - 1} more" if len(left) > 1 else ""),
            hint=f"--redo {left[0]} makes it again, --assume {left[0]}=VALUE says what it gave",
        )
