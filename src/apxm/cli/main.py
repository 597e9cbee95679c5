"""The command `apxm`: starts the right command, and turns every error into a message and an exit status."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from apxm import __version__
from apxm.cli.starting import leave_on_signals


def main() -> None:
    """Runs the command line of this process and leaves with its exit status (docs/cli.md)."""
    leave_on_signals()
    from apxm.cli.streams import prepare_streams

    prepare_streams()
    try:
        # Asking for the version is what scripts do in a loop: it must not pay for loading the commands.
        if sys.argv[1:] == ["--version"]:
            print(f"apxm {__version__}")
            sys.exit(0)
        from apxm.cli.app import application
        from apxm.cli.completion import SETTING, command_typed, script_for

        script_for(sys.argv[1:])
        command = command_typed() if SETTING in os.environ else next(iter(sys.argv[1:]), None)
        application(command)(prog_name="apxm")
    except (Exception, KeyboardInterrupt) as error:
        _leave_with(error)


def _leave_with(error: Exception | KeyboardInterrupt) -> NoReturn:
    from apxm.cli import exits
    from apxm.cli.terminal import show_error
    from apxm.errors import ApxmError, ConfigurationError, InternalError, OutputClosedError, UsageError

    match _explained(error):
        case KeyboardInterrupt():
            sys.exit(exits.INTERRUPTED)
        case OutputClosedError():
            sys.exit(exits.BROKEN_PIPE)
        case ApxmError() as expected:
            show_error(expected)
            sys.exit(exits.USAGE if isinstance(expected, UsageError | ConfigurationError) else exits.FAILED)
        case OSError() as error:
            # A full disk, a terminal that is gone: of the machine's making, not of ours.
            place = str(error.filename) if error.filename else None
            show_error(ApxmError(error.strerror or str(error), where=place))
            sys.exit(exits.FAILED)
        case _:
            if os.environ.get("APXM_DEBUG"):
                raise error
            hint = "APXM_DEBUG=1 shows where it happened"
            show_error(InternalError(f"{type(error).__name__}: {error}", hint=hint))
            sys.exit(exits.FAILED)


def _explained(error: BaseException) -> BaseException:
    """Nearly anything can stumble over a working directory that was deleted, imports by libraries included, and the
    system then names nothing."""
    if isinstance(error, FileNotFoundError) and error.filename is None:
        from apxm.config.files import working_directory
        from apxm.errors import ConfigurationError

        try:
            working_directory()
        except ConfigurationError as gone:
            return gone
    return error
