"""``apxm calibrate``: measures how a backend answers under load."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm.cli import options as o
from apxm.cli.inputs import refuse_overwriting
from apxm.cli.output import write
from apxm.cli.progress import ProgressLine
from apxm.cli.terminal import confirm_calls, note, show_warning
from apxm.errors import UsageError
from apxm.source import printable


def calibrate(
    backend: o.BackendName = None,
    c: Annotated[
        str, typer.Option("--c", metavar="C,C,…", help="Measure with these numbers of calls in flight.")
    ] = "1,2,4,8",
    calls: Annotated[
        int, typer.Option("--calls", min=2, metavar="K", help="Most calls that count at each; steady ones need fewer.")
    ] = 64,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=1,
            metavar="N",
            help="Most tokens of each answer, best as in your programs; default: the backend's max_tokens, else 256.",
        ),
    ] = None,
    model: o.Model = None,
    latency: o.Latency = None,
    slowdown: o.Slowdown = None,
    seed: o.Seed = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before calling a backend.")] = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="P.json", help="Write the profile here; default: your data directory."),
    ] = None,
    json: o.JSON = False,
    quiet: o.Quiet = False,
    config: o.Config = None,
) -> None:
    """Measure how a backend answers under load, and save that as its profile.

    `apxm analyze` and `apxm simulate` predict from a profile. Calls of a simulated backend are made on virtual time.

    \b
    Examples:
      apxm calibrate --backend local --c 1,2,4,8,16
      apxm calibrate --backend local --max-tokens 200 --yes --json
    """
    import asyncio
    from contextlib import ExitStack
    from datetime import UTC, datetime

    from apxm.analysis.calibrate import calibrate as measure
    from apxm.analysis.calibrate import most_calls
    from apxm.analysis.profile import Profile, encode_profile
    from apxm.backends.numbers import counts
    from apxm.backends.simulated import SimulatedBackend
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.config.profiles import make_room
    from apxm.config.selection import Selection, resolve
    from apxm.files import OutputFile
    from apxm.reports.calibration import calibration_text
    from apxm.runtime.loops import VirtualLoop, real_loop

    refuse_overwriting({}, {"-o": output}, config)
    concurrencies = counts(c, "--c")
    resolved = resolve(
        Selection(backend=backend, model=model, latency=latency, slowdown=slowdown, seed=seed, file=config)
    )
    chosen = resolved.backends[resolved.default]
    if isinstance(chosen, SimulatedBackend) and chosen.faults:
        raise UsageError(
            f"{chosen.info.name} is set up to fail ({chosen.faults}), and only answers can be measured",
            hint="take its `faults` out of the configuration",
        )
    if not quiet:
        note(resolved.notice)
        for text in resolved.warnings:
            show_warning(text)
    if not chosen.info.simulated:
        confirm_calls(most_calls(concurrencies, calls), chosen.info.description, yes)
    elif not quiet:
        note(f"this makes up to {most_calls(concurrencies, calls):,} calls, on virtual time")
    path = output or str(make_room(chosen.info.name))
    progress = ProgressLine(wanted=not quiet)

    async def run() -> Profile:
        try:
            date = datetime.now(UTC).isoformat(timespec="seconds")
            return await measure(
                chosen, date=date, concurrencies=concurrencies, calls=calls, max_tokens=max_tokens, report=progress.say
            )
        finally:
            for each in resolved.backends.values():
                await each.close()

    with ExitStack() as stack:
        stack.enter_context(signals_as_ctrl_c())
        file = stack.enter_context(OutputFile(path))
        stack.callback(progress.clear)
        with asyncio.Runner(loop_factory=VirtualLoop if chosen.info.simulated else real_loop) as runner:
            profile = runner.run(run())
        progress.clear()
        file.write(encode_profile(profile))
    write(encode_profile(profile).decode().rstrip() if json else calibration_text(profile), json)
    if not quiet:
        note(f"wrote {printable(path)}")
