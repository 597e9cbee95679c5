"""Every error that A-PXM raises on purpose, by phase.

Each carries what was found, and where known a place and a hint. Anything else that escapes is a defect of ours, and
`InternalError` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from apxm.source import Diagnostic

T = TypeVar("T")


class ApxmError(Exception):
    """Base of all errors of this package.

    `message` says what was found and what was expected, `where` names the place (a file, a position, an endpoint) and
    `hint` what to do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # By default an exception is unpickled by calling its class with its message alone, which most here refuse: a
        # pool of processes would break at the first error of a worker.
        return _unpickled, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" (hint: {self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"


def _unpickled(kind: type[ApxmError], arguments: tuple[object, ...]) -> ApxmError:
    return kind.__new__(kind, *arguments)


def hint_for(wanted: str, known: Iterable[str], otherwise: str) -> str:
    """The hint of an error about a name that is none: the nearest of those that are `known`, where one is near."""
    from difflib import get_close_matches  # only a mistake needs it

    near = get_close_matches(wanted, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


class UsageError(ApxmError):
    """The caller asked for something that makes no sense: a wrong flag, a missing value, an unknown flow."""


class ConfigurationError(ApxmError):
    """A configuration file, or the environment, says something that cannot be used."""


class UntrustedConfigurationError(ConfigurationError):
    """A project's own configuration wants something that needs `apxm trust` first."""


class LinkError(UsageError):
    """A run needs several things that are not there, or is told several that make no sense: `missing` has an error for
    each. A single one is raised by itself."""

    def __init__(self, missing: Sequence[ApxmError]) -> None:
        first = missing[0]
        super().__init__(f"{first.message} (and {len(missing) - 1} more)", where=first.where, hint=first.hint)
        self.missing = tuple(missing)

    def __str__(self) -> str:
        return "\n".join(map(str, self.missing))


class Problems:
    """Collects what is wrong with what a caller says, so that all of it is told at once.

    Used as a context, it raises at the end what was collected, together with what may have ended the block.
    """

    def __init__(self) -> None:
        self._found: list[ApxmError] = []

    def of(self, make: Callable[[], T], otherwise: T) -> T:
        """What `make` gives; `otherwise` where it raises a `UsageError` or `ConfigurationError`, which is kept."""
        try:
            return make()
        except (UsageError, ConfigurationError) as error:
            self.add(error)
            return otherwise

    def add(self, error: ApxmError) -> None:
        self._found += error.missing if isinstance(error, LinkError) else [error]

    def raise_all(self) -> None:
        """Raises what there is: one error as it is, several as a `LinkError`."""
        if len(self._found) > 1:
            raise LinkError(self._found) from None
        if self._found:
            raise self._found[0]

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, UsageError | ConfigurationError):
            self.add(error)
        elif error is not None:
            return
        self.raise_all()


class SourceError(ApxmError):
    """The source has errors; `diagnostics` holds them in the order of the text, warnings included."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        first = next(d for d in diagnostics if d.severity == "error")
        super().__init__(first.message, where=first.span.place, hint=first.help)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n".join(diagnostic.render() for diagnostic in self.diagnostics)


class SourceUsageError(SourceError, UsageError):
    """The caller asked for something that makes no sense at that place of the source."""


class CompileError(ApxmError):
    """A program that is correct cannot be compiled within the stated limits."""


class ArtifactError(ApxmError):
    """An artifact is not one, is damaged, or holds a graph that must not run."""


class OperationError(ApxmError):
    """One operation of a run failed.

    `kind` is a stable word that programs may compare: `no_match`, `missing_field`, `too_large`, `timeout`, …
    """

    def __init__(self, kind: str, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.kind = kind


class BackendError(OperationError):
    """A model did not answer as it should.

    `retryable` says whether the same call may succeed later: true for a lost connection, 408, 429, 5xx, a timeout and
    an unreadable answer, false for 400, 401, 403 and 404.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        hint: str | None = None,
        retry_after_s: float | None = None,
        patience_s: float | None = None,
        overloaded: bool = False,
    ) -> None:
        super().__init__(kind, message, hint=hint)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        """How long the endpoint asks to be left alone, from now; None where it says nothing."""
        self.patience_s = patience_s
        """How long it is worth trying again, from the first such failure, where nobody said how often; None for as
        often as ever."""
        self.overloaded = overloaded
        """Whether the endpoint says that it has too much to do."""


class JournalError(ApxmError):
    """The journal of a run cannot be kept, or cannot be read."""


class JournalBusyError(JournalError):
    """Another process owns the run."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} is going on in another process", hint="wait for its end, or end it; then it can be resumed"
        )
        self.run_id = run_id


class JournalDamagedError(JournalError):
    """A file is no journal, or not all that was written to it is there as it was written."""


class JournalVersionError(JournalError):
    """A journal is of a format that this version does not read."""


class OutputClosedError(ApxmError):
    """Nobody reads standard output any more.

    Unlike `BrokenPipeError` no library on the way takes it for its own.
    """

    def __init__(self) -> None:
        super().__init__("nobody reads standard output any more")


class InternalError(ApxmError):
    """A defect of A-PXM itself, never the user's."""

    def __str__(self) -> str:
        return f"{super().__str__()}\nThis is a defect of A-PXM, not of your program. Please report it with the input."
