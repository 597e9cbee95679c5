"""What a backend did that none may do, as the error of the operation that it did it to."""

from __future__ import annotations

import logging

from apxm.errors import OperationError

logger = logging.getLogger("apxm")

_KIND = "backend_defect"


def raised_by(backend: str, error: BaseException) -> OperationError:
    """It raised something that says nothing of the call; the log gets the traceback."""
    logger.error("backend %s failed in an unexpected way", backend, exc_info=error)
    return OperationError(_KIND, f"backend {backend!r} raised {_shown(error)}")


def gave_no_answer(backend: str, flaw: TypeError) -> OperationError:
    """It gave something else than an answer."""
    return OperationError(_KIND, f"backend {backend!r} gave {flaw}")


def _shown(error: BaseException) -> str:
    try:
        return repr(error)
    except Exception:  # it is no better than what it is raised by
        return type(error).__name__
