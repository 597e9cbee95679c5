"""With which status the process leaves (docs/cli.md)."""

from __future__ import annotations

import sys
from typing import NoReturn

from apxm.reports.terminal import discard

FAILED = 1
USAGE = 2
PAUSED = 3
STOPPED = 4
INTERRUPTED = 130
BROKEN_PIPE = 141


def leave_broken_pipe() -> NoReturn:
    """Ends the process because nobody reads its output any more, as a program killed by SIGPIPE would, in silence."""
    discard(sys.stdout)
    sys.exit(BROKEN_PIPE)
