"""Which runs are journaled, and how a run goes on from its journal (docs/resume.md)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import MappingProxyType

import msgspec

from apxm.config.files import Scope
from apxm.config.invocation import Invocation
from apxm.config.journal_settings import Journaling
from apxm.config.selection import Selection
from apxm.errors import JournalError, SourceError, UsageError
from apxm.journal.journal import Journal
from apxm.journal.pruning import prune
from apxm.journal.rows import Answered, Edited, Header, History, TimedRow, header_of
from apxm.journal.rows import edited as edited_row
from apxm.journal.runs import find_run
from apxm.journal.store import store_of
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program import codec
from apxm.program.difference import difference, same_meaning
from apxm.program.invocation import arguments_for, assign, select_flow
from apxm.program.program import Flow, Kind, Program
from apxm.runtime.content import ContentFiles
from apxm.runtime.options import RunLimits, RunOptions
from apxm.runtime.recording import Recorder
from apxm.source import Diagnostic, is_utf8, printable
from apxm.version import VERSION

logger = logging.getLogger("apxm")

PRUNED_EACH_S = 60
"""How rarely a folder is pruned, as looking at ten thousand runs takes as long as a short run."""
_pruned: dict[Path, float] = {}
"""When this process last pruned each folder."""
_KEPT = ("max_concurrency", "on_error", "max_total_tokens", "max_cost")
"""The limits that a run keeps when it goes on; its time counts anew."""


@dataclass(frozen=True)
class JournaledRun:
    """A run that another process began, taken over with its journal."""

    program: Program
    flow: Flow
    inputs: tuple[Value, ...]
    told: Invocation
    default: str | None
    """The backend that answered where the program names none, whatever chose it; None: the journal does not say."""
    recorder: Recorder
    path: str
    """The file of its program, as the journal has it."""
    kind: Kind
    """What that file is."""
    noted: Mapping[str, Value]
    """What its first process stored for the next ones."""
    warnings: tuple[Diagnostic, ...] = ()
    """What the compiler says, where the program was edited."""

    def refuse_another_backend(self, default: str) -> None:
        """Raises `JournalError` where `default` is not the backend that it began with: a key that is not set any more
        would have its other half simulated."""
        if self.default is not None and self.default != default:
            raise JournalError(
                f"the run began with backend {printable(self.default)!r}, and now {default!r} would answer",
                hint="set its key or its configuration as they were; apxm doctor shows what there is",
            )


def begin(
    run_id: str,
    program: Program,
    flow: Flow,
    inputs: Sequence[Value],
    told: Invocation,
    default: str,
    noted: Mapping[str, Value] = MappingProxyType({}),
) -> Recorder:
    """The journal of a new run; `default` is the backend that answers by default, `noted` what the next process needs
    besides. Raises `JournalError`, and `ConfigurationError` where its folder cannot be made."""
    journaling = told.journaling
    header = header_for(run_id, program, flow, inputs, told, default, noted)
    return Recorder(created(journaling, header), VERSION, required=journaling.require_journal)


def created(journaling: Journaling, header: Header) -> Journal:
    """The journal of a new run, in a folder that is made where it is missing. Raises as `begin`."""
    try:
        return Journal.create(journaling.folder, header, sync=journaling.journal_sync)
    except JournalError:
        if os.path.isdir(journaling.folder):
            raise
    return Journal.create(journaling.make_folder(), header, sync=journaling.journal_sync)


def header_for(
    run_id: str,
    program: Program,
    flow: Flow,
    inputs: Sequence[Value],
    told: Invocation,
    default: str,
    noted: Mapping[str, Value],
) -> Header:
    """What the journal of a new run begins with; the arguments are those of `begin`."""
    # A program without a file has a name only, which is no absolute path: nothing to compare with when it goes on.
    path, kind = program.origin or (program.names.file, "source")
    if not is_utf8(path):  # as a row is
        path = program.names.file
    return header_of(
        program,
        apxm=VERSION,
        run_id=run_id,
        started=time.time(),
        path=path,
        kind=kind,
        flow=flow.qualified_name,
        inputs=inputs,
        options={**_stored(told, default), **noted},
    )


def reopen(
    wanted: str,
    journaling: Journaling,
    *,
    config: str | os.PathLike[str] | None = None,
    as_recorded: bool = False,
    edited: bool | Program = False,
    redo: Sequence[str] = (),
    assume: Mapping[str, Value] | None = None,
    kinds: Sequence[Kind] = ("source", "artifact"),
) -> JournaledRun:
    """Takes a run over that no process owns any more; `wanted` names it.

    It is configured by the file that `config` names, and else by the one it began with. Anybody may have written a
    journal that lies elsewhere than in the user's own folder: what that names needs trust.

    An operation with an outside effect that began, and has no result in the journal, is made again where
    `redo` names its path, and has the value that `assume` gives it; else the run does not go on.

    The caller can go on with runs of these `kinds`. Python has no program that could have changed: whoever runs it
    looks for what did.

    Where the program has changed since, it can run `as_recorded`, or `edited`: as its file is now, or as another
    `Program`. The answers that the run has count for whatever makes the same request in it.

    Raises `UsageError` where there is no such run, `JournalError`, also where the program has changed since and nothing
    is said of it, and `SourceError` where the edited one has errors.
    """
    if as_recorded and edited:
        raise UsageError("a run goes on either as recorded or as edited")
    folder = journaling.folder
    store_of(folder).flush()  # it may be one of this process
    journal, history = Journal.reopen(folder, find_run(folder, wanted), sync=journaling.journal_sync)
    try:
        program = recorded = codec.decode(history.header.program)
        _refuse_another_kind(history.header, kinds)
        is_python = history.header.kind in _PYTHON
        if is_python and (edited or as_recorded):
            raise UsageError(
                f"run {history.header.run_id} is one of Python, which goes on as its code is now",
                hint="where that asks something else than it did, --as-changed goes on, and keeps every answer to a "
                "request that is the same",
            )
        _decide(history, redo, assume or {})
        change: Edited | None = None
        warnings: tuple[Diagnostic, ...] = ()
        if edited:
            program, warnings = (edited, ()) if isinstance(edited, Program) else _program_now(history.header)
            change = edited_row(program, _inputs_now(history.header, recorded, program))
            history.add(TimedRow(time.time(), change))
        elif not (as_recorded or is_python):
            _refuse_another_program(history.header, recorded)
        header = history.header
        named = {} if config is None else {"file": os.fspath(config)}
        scope = Scope.CHOSEN if named or journaling.journal_dir is None else Scope.JOURNAL
        told, default = _restored(header, journaling, **named, scope=scope)
        told = told.but({"files": _files(told, header, program, own=journaling.journal_dir is None)})
        recorder = Recorder(journal, VERSION, history, edited=change, required=journaling.require_journal)
        flow = select_flow(program, header.flow)
        return JournaledRun(
            program, flow, header.inputs, told, default, recorder, header.path, header.kind, header.options, warnings
        )
    except BaseException:
        journal.close()
        raise


def tidy(journaling: Journaling) -> None:
    """Removes runs that are old or too many, now and then."""
    folder, now = journaling.folder, time.time()
    if not is_due(journaling):
        return
    _pruned[folder] = now
    try:
        prune(folder, now=now)
    except JournalError as error:  # no reason to lose what the run has given
        logger.warning("old runs were not removed: %s", error)


def is_due(journaling: Journaling) -> bool:
    """Whether `tidy` has something to look for."""
    return time.time() - _pruned.get(journaling.folder, -inf) >= PRUNED_EACH_S


def _stored(told: Invocation, default: str) -> dict[str, Value]:
    """What the next process needs besides the program and its inputs."""
    selection, options = told.selection, told.options
    file = None if selection.file is None else os.path.abspath(selection.file)
    said = {**vars(selection), "file": file, "directory": os.getcwd()}
    del said["scope"]  # for the next process to judge
    said |= {name: value for name in _KEPT if (value := getattr(options, name)) != getattr(RunLimits, name)}
    said["default"] = default
    return {name: value for name, value in said.items() if value is not None}


def _restored(header: Header, journaling: Journaling, **named: object) -> tuple[Invocation, str | None]:
    """What `_stored` was given, but for what is `named`. Raises `JournalError`."""
    stored = header.options
    try:
        selection = msgspec.convert(stored | named, Selection)
        default = msgspec.convert(stored.get("default"), str | None)
        limits = msgspec.convert({name: stored[name] for name in _KEPT if name in stored}, RunLimits)
    except msgspec.ValidationError as error:
        raise JournalError(f"the options of run {header.run_id} are damaged: {error}") from None
    options = RunOptions(**vars(limits), seed=selection.seed or 0)
    return Invocation(flow=header.flow, selection=selection, options=options, journaling=journaling), default


def _files(told: Invocation, header: Header, program: Program, *, own: bool) -> ContentFiles:
    """What the calls of a run may read: what they might when it began. A journal that is not the user's `own` can name
    any place, and nobody chose what its arguments name."""
    directory = told.selection.directory
    if not own:
        return ContentFiles(os.getcwd())
    origin = header.path if os.path.isabs(header.path) else None
    return ContentFiles.of(origin, select_flow(program, header.flow), header.inputs, directory)


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
    return arguments_for(now, assign(now, (), given), program.record_types)


_PYTHON = ("flow", "script")


def _refuse_another_kind(header: Header, kinds: Sequence[Kind]) -> None:
    if header.kind in kinds:
        return
    match header.kind:
        case "flow":
            what = f"the flow {header.flow} of Python"
            hint = f"{header.flow}.resume({header.run_id!r}, …) goes on with it, given the arguments that it had"
        case "script":
            what, hint = "a script of Python", f"`apxm resume {header.run_id}` goes on with it"
        case _:
            what, hint = f"the program {header.flow}", f"apxm.resume({header.run_id!r}) goes on with it"
    raise JournalError(f"run {header.run_id} is one of {what}", where=printable(header.path), hint=hint)


def _refuse_another_program(header: Header, recorded: Program) -> None:
    path = Path(header.path)
    if not path.is_absolute() or not path.exists():
        return  # then there is no other one
    try:
        now, _ = _program_now(header)
        where, changed = header.path, "" if same_meaning(recorded, now) else difference(recorded, now)
    except SourceError as error:
        where, changed = error.where or path.name, f"it has errors now, the first: {error.message}"
    if changed:
        raise JournalError(
            f"the program has changed since the run began: {changed}",
            where=printable(where),
            hint="--edited goes on with it as it is now, and keeps every answer to a request that is still the same; "
            "--as-recorded goes on with it as it was",
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
        history.results[path] = Answered(path, history.unknown[path].digest, value)
    if left := sorted(history.unknown.keys() - {*redo, *assume}):
        raise JournalError(
            f"{left[0]} began, and the journal does not have its result: it may have changed something"
            + (f", and so {len(left) - 1} more" if len(left) > 1 else ""),
            hint=f"--redo {left[0]} makes it again, --assume {left[0]}=VALUE says what it gave",
        )
