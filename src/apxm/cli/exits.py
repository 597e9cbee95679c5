"""The statuses with which the process leaves (docs/cli.md)."""

FAILED = 1
USAGE = 2
PAUSED = 3
STOPPED = 4
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it
BROKEN_PIPE = 141
"""Nobody reads the output any more: as a program killed by SIGPIPE would, in silence."""
