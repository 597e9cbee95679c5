"""A-PXM: agent workflows as dataflow graphs.

The names below load what they need when they are first used, so `import apxm` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apxm.version import VERSION

if TYPE_CHECKING:
    from apxm.analysis.metrics import Metrics
    from apxm.analysis.preview import Preview
    from apxm.api import (
        RunFailed,
        compile,
        compile_text,
        load,
        preview_resume,
        resume,
        resume_async,
        run,
        run_async,
        save,
    )
    from apxm.batches.iterating import BatchResult, BatchStopped
    from apxm.errors import (
        ApxmError,
        ArtifactError,
        BackendError,
        CompileError,
        ConfigurationError,
        InternalError,
        JournalBusyError,
        JournalDamagedError,
        JournalError,
        JournalVersionError,
        LinkError,
        OperationError,
        SourceError,
        UntrustedConfigurationError,
        UsageError,
    )
    from apxm.flows.asking import ask, plan, reason, reflect, think, verify
    from apxm.flows.batch import BatchFailed
    from apxm.flows.calling import file, image
    from apxm.flows.each import each
    from apxm.flows.flow import flow
    from apxm.journal.ids import new_run_id
    from apxm.lanes.marks import pure, step, thread, tool
    from apxm.program.program import Program
    from apxm.runtime.limits import BackendPool
    from apxm.runtime.result_text import TextPart
    from apxm.runtime.shared_budget import SharedBudget
    from apxm.runtime.stopped import Stopped
    from apxm.runtime.trace import Failure, Status, Trace
    from apxm.sdks.transport import transport
    from apxm.session import Result

__version__ = VERSION

__all__ = [
    "ApxmError",
    "ArtifactError",
    "BackendError",
    "BackendPool",
    "BatchFailed",
    "BatchResult",
    "BatchStopped",
    "CompileError",
    "ConfigurationError",
    "Failure",
    "InternalError",
    "JournalBusyError",
    "JournalDamagedError",
    "JournalError",
    "JournalVersionError",
    "LinkError",
    "Metrics",
    "OperationError",
    "Preview",
    "Program",
    "Result",
    "RunFailed",
    "SharedBudget",
    "SourceError",
    "Status",
    "Stopped",
    "TextPart",
    "Trace",
    "UntrustedConfigurationError",
    "UsageError",
    "__version__",
    "ask",
    "compile",
    "compile_text",
    "each",
    "file",
    "flow",
    "image",
    "load",
    "new_run_id",
    "plan",
    "preview_resume",
    "pure",
    "reason",
    "reflect",
    "resume",
    "resume_async",
    "run",
    "run_async",
    "save",
    "step",
    "think",
    "thread",
    "tool",
    "transport",
    "verify",
]

_HOMES = {
    "apxm.analysis.metrics": "Metrics",
    "apxm.analysis.preview": "Preview",
    "apxm.batches.iterating": "BatchResult BatchStopped",
    "apxm.api": "RunFailed compile compile_text load preview_resume resume resume_async run run_async save",
    "apxm.errors": "ApxmError ArtifactError BackendError CompileError ConfigurationError InternalError "
    "JournalBusyError JournalDamagedError JournalError JournalVersionError LinkError OperationError SourceError "
    "UntrustedConfigurationError UsageError",
    "apxm.flows.asking": "ask plan reason reflect think verify",
    "apxm.flows.batch": "BatchFailed",
    "apxm.flows.calling": "file image",
    "apxm.flows.each": "each",
    "apxm.flows.flow": "flow",
    "apxm.journal.ids": "new_run_id",
    "apxm.lanes.marks": "pure step thread tool",
    "apxm.program.program": "Program",
    "apxm.runtime.limits": "BackendPool",
    "apxm.runtime.result_text": "TextPart",
    "apxm.runtime.shared_budget": "SharedBudget",
    "apxm.runtime.stopped": "Stopped",
    "apxm.runtime.trace": "Failure Status Trace",
    "apxm.sdks.transport": "transport",
    "apxm.session": "Result",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names.split():
            value = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'apxm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
