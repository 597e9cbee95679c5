"""With which status the process leaves (docs/cli.md)."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

FAILED = 1
USAGE = 2
PAUSED = 3
STOPPED = 4
INTERRUPTED = 130
BROKEN_PIPE = 141


def leave_broken_pipe() -> NoReturn:
    """Ends the process because nobody reads its output any more, as a program killed by SIGPIPE would, in silence."""
    # The interpreter flushes standard output on its way out; into the closed pipe that would be one more error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)
