"""The token that travels where there is no value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apxm.errors import OperationError

if TYPE_CHECKING:
    from apxm.runtime.state import Frame


@dataclass(frozen=True)
class FailureToken:
    """The token of something that failed, or was skipped because of it."""

    frame: Frame
    node: int
    error: OperationError
    is_value: bool = False
    """Whether it stands for a value that cannot be computed."""
