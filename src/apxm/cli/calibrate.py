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
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="tokens|load",
            help="What a call costs by its tokens, or how calls of one kind slow each other down; default: tokens, but "
            "load for a simulated backend whose calls do not cost tokens.",
        ),
    ] = None,
    c: Annotated[
        str | None,
        typer.Option(
            "--c",
            metavar="C,C,…",
            help="Measure with these numbers of calls in flight; default 1,2,4,8, by tokens 16 too.",
        ),
    ] = None,
    calls: Annotated[
        int | None,
        typer.Option(
            "--calls",
            min=2,
            metavar="K",
            help="Most calls, by tokens in all (default 400), by load at each number in flight (64); steady ones need "
            "fewer.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0, metavar="S", help="By tokens: begin nothing further after so long."),
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="FILE", help="By tokens: until the main flow of this program can be predicted to 2%."
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="By tokens: answers come in parts, and the times of first tokens count too."),
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=1,
            metavar="N",
            help="By load: most tokens of each answer, best as in your programs; default: the backend's max_tokens, "
            "else 256.",
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
    """Measure what the calls of a backend cost, alone and under load, and save that as its profile.

    `apxm analyze` and `apxm simulate` predict from a profile. Calls of a simulated backend are made on virtual time.

    \b
    Examples:
      apxm calibrate --backend local
      apxm calibrate --backend local --for workflow.ais --calls 800 --seconds 300
      apxm calibrate --backend local --by load --max-tokens 200 --yes --json
    """
    import asyncio
    from contextlib import ExitStack
    from datetime import UTC, datetime

    from apxm.analysis.profile import Profile, encode_profile
    from apxm.backends.simulated import SimulatedBackend
    from apxm.cli.calibrating import ByLoad, ByTokens
    from apxm.cli.interruption import signals_as_ctrl_c
    from apxm.config.profiles import make_room
    from apxm.config.selection import Selection, resolve
    from apxm.files import OutputFile
    from apxm.reports.calibration import calibration_text
    from apxm.runtime.loops import VirtualLoop, real_loop

    refuse_overwriting({}, {"-o": output}, config)
    resolved = resolve(
        Selection(backend=backend, model=model, latency=latency, slowdown=slowdown, seed=seed, file=config)
    )
    chosen = resolved.backends[resolved.default]
    if isinstance(chosen, SimulatedBackend) and chosen.faults:
        raise UsageError(
            f"{chosen.info.name} is set up to fail ({chosen.faults}), and only answers can be measured",
            hint="take its `faults` out of the configuration",
        )
    if by is None:
        by = "load" if isinstance(chosen, SimulatedBackend) and not chosen.counts_tokens else "tokens"
    if by == "tokens":
        if max_tokens is not None:
            raise UsageError("--max-tokens is of --by load: by tokens, answers are of several lengths")
        measuring = ByTokens(chosen, c, calls, seconds, program, streams=stream)
    elif by == "load":
        of_tokens = {"--seconds": seconds is not None, "--for": program is not None, "--stream": stream}
        for option in (name for name, given in of_tokens.items() if given):
            raise UsageError(f"{option} is of --by tokens")
        measuring = ByLoad(chosen, c, calls, max_tokens)
    else:
        raise UsageError(f"--by {by!r}: expected tokens or load")
    if not quiet:
        note(resolved.notice)
        for text in resolved.warnings:
            show_warning(text)
        for text in measuring.notes:
            note(text)
    if not chosen.info.simulated:
        confirm_calls(measuring.most_calls, chosen.info.description, yes)
    elif not quiet:
        note(f"this makes up to {measuring.most_calls:,} calls, on virtual time")
    path = output or str(make_room(chosen.info.name))
    progress = ProgressLine(wanted=not quiet)

    async def run() -> Profile:
        try:
            date = datetime.now(UTC).isoformat(timespec="seconds")
            return await measuring.measure(date, progress.say)
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
