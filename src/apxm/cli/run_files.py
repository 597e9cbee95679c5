"""What a run leaves behind beside its output: files, by the options that name them, and spans (``--otel``)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from apxm.cli.options import AnyRun
from apxm.errors import ApxmError
from apxm.files import OutputFile
from apxm.session import Result, Session


def _metrics(_session: Session, result: Result) -> bytes:
    return result.metrics.to_json().encode()


def _trace(session: Session, result: Result) -> bytes:
    from apxm.telemetry.perfetto import trace_file

    return trace_file(result.trace, result.run_id, session.run.who)


_WRITTEN: dict[str, Callable[[Session, Result], bytes]] = {"--emit-metrics": _metrics, "--trace-file": _trace}
"""What is written, by the option that names the file."""


def named_files(shown: AnyRun) -> dict[str, str | None]:
    """The paths that were given, by their options."""
    return {"--emit-metrics": shown.emit_metrics, "--trace-file": shown.trace_file}


class RunFiles:
    """They are opened before the run, so that none is paid for and then cannot be written."""

    def __init__(self, shown: AnyRun, stack: ExitStack) -> None:
        """Raises `UsageError` for one that cannot be written, and what `exporting` raises."""
        if shown.otel:
            from apxm.telemetry.exporting import exporting

            stack.enter_context(exporting())
        self._files = {
            option: stack.enter_context(OutputFile(path)) for option, path in named_files(shown).items() if path
        }

    def write(self, session: Session, result: Result) -> ApxmError | None:
        """Writes all that can be written. Returns the first failure."""
        failure: ApxmError | None = None
        for option, file in self._files.items():
            try:
                file.write(_WRITTEN[option](session, result))
            except ApxmError as error:
                failure = failure or error
        return failure
