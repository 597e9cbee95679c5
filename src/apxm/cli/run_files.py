"""The files that a run writes at its end, beside what it prints."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from time import time
from typing import TYPE_CHECKING, NamedTuple

from apxm.cli.options import AnyRun
from apxm.errors import ApxmError, UsageError
from apxm.files import OutputFile

if TYPE_CHECKING:
    from apxm.runtime.observing import CallObserver
    from apxm.runtime.recording import Recorder
    from apxm.session import Result


def files_of(shown: AnyRun) -> dict[str, str | None]:
    """Those that the options name, as `refuse_overwriting` takes them."""
    return {"--emit-metrics": shown.emit_metrics, "--report": shown.report}


class RunReport:
    """The page that ``--report`` promises."""

    def __init__(self, path: str, redacts: bool) -> None:
        from apxm.reports.page.texts import CallTexts, Texts

        self.file = OutputFile(path)
        self.redacts = redacts
        self._texts = None if redacts else Texts()
        self.observer: CallObserver | None = None if self._texts is None else CallTexts(self._texts)
        """Who has to be told of each call."""

    def write(self, result: Result, recorder: Recorder | None) -> None:
        """`recorder` is the journal of the run; of one that goes on it has what the processes before did."""
        from apxm.reports.page.model import Reported
        from apxm.reports.page.page import run_page
        from apxm.reports.page.sources import sources_of

        if recorder is not None and recorder.goes_on and recorder.failure is None:
            from apxm.journal.runs import show_run
            from apxm.reports.page.journaled import journaled

            recorder.flush()
            _, history = show_run(recorder.path.parent, result.run_id)
            reported = journaled(result.run_id, history, self._texts, redacts=self.redacts)
        else:
            reported = Reported(
                trace=result.trace,
                metrics=result.metrics,
                run_id=result.run_id,
                began=time() - result.trace.duration / 1e9,
                texts=self._texts,
                redacts=self.redacts,
            )
        self.file.write(run_page(reported, sources_of(reported.trace)))


class RunFiles(NamedTuple):
    metrics: OutputFile | None = None
    report: RunReport | None = None

    def write(self, result: Result, recorder: Recorder | None) -> ApxmError | None:
        """Writes them all; gives the first reason why one could not be written."""
        failure: ApxmError | None = None
        if self.metrics is not None:
            try:
                self.metrics.write(result.metrics.to_json().encode())
            except ApxmError as error:
                failure = error
        if self.report is not None:
            try:
                self.report.write(result, recorder)
            except ApxmError as error:
                failure = failure or error
        return failure


@contextmanager
def run_files(shown: AnyRun) -> Generator[RunFiles]:
    """Makes ready to write them. Raises `UsageError` where one cannot be written."""
    if shown.redact and shown.report is None:
        raise UsageError("--redact leaves texts out of a report: give --report too")
    with ExitStack() as stack:
        metrics = stack.enter_context(OutputFile(shown.emit_metrics)) if shown.emit_metrics else None
        report = RunReport(shown.report, shown.redact) if shown.report else None
        if report is not None:
            stack.enter_context(report.file)
        yield RunFiles(metrics, report)
