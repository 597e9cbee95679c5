"""What a provider did that none may do, as the error of the operation that it did it to."""

from __future__ import annotations

import logging

from apxm.errors import OperationError
from apxm.runtime.waiting import Provider

logger = logging.getLogger("apxm")


def raised_by(provider: Provider, error: BaseException) -> OperationError:
    """The error of an operation whose provider raised something that says nothing of it; the log gets the traceback."""
    logger.error("%s %s failed in an unexpected way", provider.kind, provider.name, exc_info=error)
    return _defect(provider, f"raised {_shown(error)}")


def gave_no_answer(provider: Provider, flaw: TypeError) -> OperationError:
    """The error of an operation whose provider gave something else than an answer."""
    return _defect(provider, f"gave {flaw}")


def _defect(provider: Provider, what: str) -> OperationError:
    return OperationError(f"{provider.kind}_defect", f"{provider.title} {what}")


def _shown(error: BaseException) -> str:
    try:
        return repr(error)
    except Exception:  # it is no better than what it is raised by
        return type(error).__name__
