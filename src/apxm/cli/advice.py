"""``apxm explain`` of a run that is over: what would have made it quicker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from apxm.cli.inputs import refuse_collection
from apxm.errors import ApxmError, UsageError
from apxm.reading import read_named
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.advice.measured import MeasuredRun
    from apxm.analysis.profile import Profile

_LARGEST = 64 << 20
_OTHER_FILES = (".ais", ".apxmobj")


def is_measured(what: str) -> bool:
    """Whether `apxm explain` is given a run, by its id or its file of metrics, rather than a file of Python."""
    return not what.endswith((".py", *_OTHER_FILES)) and not os.path.isdir(what)


def explain_run(
    what: str, profile: str | None, config: str | None, journal_dir: str | None, *, as_json: bool, quiet: bool
) -> bool:
    """Says what would have made a run quicker. Gives whether anything could be said. Raises `ApxmError`."""
    from msgspec.structs import asdict

    from apxm.advice.advise import advise
    from apxm.advice.laws import law_of
    from apxm.cli.output import write
    from apxm.cli.terminal import note
    from apxm.reports.advice import advice_text
    from apxm.reports.structs import as_json as json_of

    name, run = _from_file(what) if os.path.isfile(what) or what.endswith(".json") else _from_journal(what, journal_dir)
    known = _profiles(run, profile, config)
    found = advise(run, {endpoint: law_of(each) for endpoint, each in known.items()})
    of = "as the run shows them" if not known else ", ".join(_calibrated(each) for each in known.values())
    if as_json:
        write(json_of({"run": name, "status": run.status, "endpoints": of, **asdict(found)}), json=True)
    else:
        write(advice_text(found, name, of))
    if not found.fits:
        note(
            f"error: {name} cannot be explained: running again from its trace it takes "
            f"{found.rerun_ms / 1000:,.2f} s, and it took {found.duration_ms / 1000:,.2f} s. Something held it up that "
            "its trace does not show, so what a change would do is not known"
        )
    elif not quiet and run.status in ("interrupted", "stopped", "paused"):
        note(f"the run was {run.status}: what it had not done by then is no part of this")
    return found.fits


def _from_file(path: str) -> tuple[str, MeasuredRun]:
    from apxm.advice.measured import MOST_OPERATIONS, unpacked

    refuse_collection(path)
    content = read_named(path, _LARGEST + 1)
    try:
        if len(content) > _LARGEST:
            raise ValueError("it is too large")
        metrics = json.loads(content)
        if not isinstance(metrics, dict) or "execution" not in metrics:
            raise ValueError("it has no metrics of a run")
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{printable(path)} is no file of metrics: {error}",
            hint="`--emit-metrics F.json` writes one; `apxm explain` takes that, the id of a run, or a file of Python",
        ) from None
    fields = cast("dict[str, Any]", metrics)
    if "trace" not in fields:
        raise ApxmError("these metrics were written without the trace of their run, by an earlier version", where=path)
    if not isinstance(fields["trace"], str):
        raise ApxmError(
            f"these metrics are without the trace of their run, which has more than {MOST_OPERATIONS:,} operations",
            where=path,
            hint="where the run was journaled, apxm explain RUN_ID knows all of it",
        )
    try:
        return printable(path), unpacked(fields["trace"])
    except ApxmError as error:
        error.where = path
        raise


def _from_journal(wanted: str, journal_dir: str | None) -> tuple[str, MeasuredRun]:
    from apxm.advice.graph import measured
    from apxm.cli.runs import folder_of
    from apxm.journal import runs
    from apxm.reports.page.journaled import journaled

    folder = folder_of(journal_dir)
    try:
        run_id = runs.find_run(folder, wanted)
    except UsageError as error:
        if not _may_be_run(wanted):
            error.message = f"{printable(wanted)} is neither a file nor a run"
            error.hint = "apxm explain takes a file of Python, a file of metrics, or the id of a run: apxm runs list"
        raise
    summary, history = runs.show_run(folder, run_id)
    reported = journaled(run_id, history, redacts=True)
    if not reported.is_whole:
        raise ApxmError(
            f"the journal of run {summary.id} does not have all of its instants: "
            + ("it goes on" if summary.status == "running" else "a process that carried it was killed")
        )
    breaks = [round(at * 1e6) for at, _ in reported.breaks]
    return f"run {summary.id}", measured(reported.trace, breaks)


def _may_be_run(wanted: str) -> bool:
    """Whether somebody may have meant the id of a run, or a part of one."""
    return wanted == "last" or all(part.isalnum() for part in wanted.split("-"))


def _profiles(run: MeasuredRun, chosen: str | None, config: str | None) -> Mapping[str, Profile]:
    """The profiles of the run's endpoints: the one that was chosen, or those that there are."""
    from apxm.analysis.profile import decode_profile
    from apxm.config.files import read_file
    from apxm.config.profiles import known_profile, profile_file
    from apxm.config.selection import Selection

    if chosen is not None:
        profile = known_profile(chosen, Selection(file=config))
        assert profile is not None, "it was chosen"
        if all(profile.backend != each.name for each in run.endpoints):
            names = ", ".join(each.name for each in run.endpoints) or "none"
            raise UsageError(f"the profile is of backend {profile.backend}, and the run asked: {names}")
        return {profile.backend: profile}
    found: dict[str, Profile] = {}
    for each in run.endpoints:
        path = profile_file(each.name)
        content = read_file(path)
        profile = None if content is None else decode_profile(content, where=str(path))
        if profile is not None and profile.model == each.model:
            found[each.name] = profile
    return found


def _calibrated(profile: Profile) -> str:
    return f"{profile.backend} by its profile, calibrated {profile.date}" if profile.date else profile.backend
