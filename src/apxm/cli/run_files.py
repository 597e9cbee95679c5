"""What a run leaves behind beside its output: files, by the options that name them, and spans (``--otel``)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import time
from typing import TYPE_CHECKING

from apxm.cli.options import AnyRun
from apxm.errors import ApxmError, UsageError
from apxm.files import OutputFile
from apxm.session import Result, Session

if TYPE_CHECKING:
    from apxm.runtime.observing import CallObserver


def _metrics(_session: Session, result: Result) -> bytes:
    from apxm.advice.graph import measured
    from apxm.advice.measured import MOST_OPERATIONS, packed

    trace = None if len(result.trace.raw) > MOST_OPERATIONS else packed(measured(result.trace))
    return result.metrics.to_json(trace=trace).encode()


def _trace(session: Session, result: Result) -> bytes:
    from apxm.telemetry.perfetto import trace_file

    return trace_file(result.trace, result.run_id, session.run.who)


class _Report:
    """The page of the run."""

    def __init__(self, redacts: bool) -> None:
        from apxm.reports.page.texts import CallTexts, Texts

        self._redacts = redacts
        self._texts = None if redacts else Texts()
        self.observer = None if self._texts is None else CallTexts(self._texts)
        """Who has to be told of each call."""

    def made(self, session: Session, result: Result) -> bytes:
        """Of a run that goes on it has what the processes before did."""
        from apxm.reports.page.model import Reported
        from apxm.reports.page.page import run_page
        from apxm.reports.page.sources import sources_of

        recorder = session.recorder
        if recorder is not None and recorder.goes_on and recorder.failure is None:
            from apxm.journal.runs import show_run
            from apxm.reports.page.journaled import journaled

            recorder.flush()
            _, history = show_run(recorder.path.parent, result.run_id)
            reported = journaled(result.run_id, history, self._texts, redacts=self._redacts)
        else:
            reported = Reported(
                trace=result.trace,
                metrics=result.metrics,
                run_id=result.run_id,
                began=time() - result.trace.duration / 1e9,
                texts=self._texts,
                redacts=self._redacts,
            )
        return run_page(reported, sources_of(reported.trace))


_WRITTEN: dict[str, Callable[[Session, Result], bytes]] = {"--emit-metrics": _metrics, "--trace-file": _trace}
"""What is written, by the option that names the file."""


def named_files(shown: AnyRun) -> dict[str, str | None]:
    """The paths that were given, by their options."""
    return {"--emit-metrics": shown.emit_metrics, "--trace-file": shown.trace_file, "--report": shown.report}


class RunFiles:
    """They are opened before the run, so that none is paid for and then cannot be written."""

    def __init__(self, shown: AnyRun, stack: ExitStack) -> None:
        """Raises `UsageError` for one that cannot be written, and what `exporting` raises."""
        if shown.redact and shown.report is None:
            raise UsageError("--redact leaves texts out of a report: give --report too")
        if shown.otel:
            from apxm.telemetry.exporting import exporting

            stack.enter_context(exporting())
        self._files = {
            option: stack.enter_context(OutputFile(path)) for option, path in named_files(shown).items() if path
        }
        self._report = _Report(shown.redact) if shown.report else None
        self._written = _WRITTEN if self._report is None else {**_WRITTEN, "--report": self._report.made}

    @property
    def observer(self) -> CallObserver | None:
        """Who has to be told of each call, for what is written at the end."""
        return None if self._report is None else self._report.observer

    def write(self, session: Session, result: Result) -> ApxmError | None:
        """Writes all that can be written. Returns the first failure."""
        failure: ApxmError | None = None
        for option, file in self._files.items():
            try:
                file.write(self._written[option](session, result))
            except ApxmError as error:
                failure = failure or error
        return failure
