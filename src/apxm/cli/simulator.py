"""``apxm simulator``: a model endpoint that costs nothing and keeps its times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli.options import Quiet
from apxm.cli.output import write
from apxm.cli.terminal import note, show_warning

if TYPE_CHECKING:
    from apxm.simulator.options import SimulatorOptions
    from apxm.simulator.server import Address


def simulator(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="On which port; 0 takes a free one.")
    ] = 0,
    latency: Annotated[
        str,
        typer.Option("--latency", metavar="SPEC", help="constant:MS, lognormal:MS,SIGMA, trace:MS,MS,… or tokens:…"),
    ] = "constant:1000",
    slowdown: Annotated[
        str, typer.Option("--slowdown", metavar="SPEC", help="Under load: none, usl:ALPHA,BETA or curve:1=1,4=2.1,…")
    ] = "none",
    faults: Annotated[
        str,
        typer.Option(
            "--faults", metavar="SPEC", help="What goes wrong: none, or KIND:PROBABILITY,KIND:@K,KIND:>N,…,seed:N"
        ),
    ] = "none",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of random latencies and faults.")] = 0,
    tokens_per_second: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-second",
            metavar="R",
            help="The latency is the first token's; the others follow at this rate.",
        ),
    ] = None,
    stop_with_input: Annotated[
        bool,
        typer.Option("--stop-with-input", help="End when standard input ends, as a pipe does with its other side."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the endpoint as one line of JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Serve an OpenAI-compatible endpoint whose model is simulated, until interrupted.

    Standard output gets one line, once it listens: the endpoint.

    \b
    Examples:
      apxm simulator --port 8000
      apxm simulator --latency lognormal:800,0.4 --slowdown usl:0.05,0.0001 --seed 7
      apxm simulator --faults 429:0.1,reset:0.05,hang:@3
    """
    import asyncio

    from apxm.runtime.loops import real_loop
    from apxm.simulator.options import SimulatorOptions

    options = SimulatorOptions(
        host=host,
        port=port,
        latency=latency,
        slowdown=slowdown,
        faults=faults,
        seed=seed,
        tokens_per_second=tokens_per_second,
    )
    with asyncio.Runner(loop_factory=real_loop) as runner:
        number = runner.run(_serve(options, stop_with_input=stop_with_input, json=json, quiet=quiet))
    raise typer.Exit(128 + number if number else 0)


async def _serve(options: SimulatorOptions, *, stop_with_input: bool, json: bool, quiet: bool) -> int:
    """The signal that ended it, or 0."""
    from apxm.simulator import server
    from apxm.simulator.lifetime import told_to_end

    async with server.simulator(options) as listening:
        told = told_to_end(by_input=stop_with_input)
        server.prepare_process()
        _announce(listening, json=json, quiet=quiet)
        return await told


def _announce(listening: Address, *, json: bool, quiet: bool) -> None:
    from json import dumps
    from os import getpid

    program = {"endpoint": listening.endpoint, "port": listening.port, "pid": getpid()}
    write(dumps(program) if json else listening.endpoint, json)
    if listening.public:
        show_warning("other machines can reach this simulator: it asks nobody who they are")
    if not quiet:
        body = '{"messages": [{"role": "user", "content": "Hello"}]}'
        note(listening.description)
        note("try it:")
        note(f"  curl {listening.endpoint}/chat/completions -d '{body}'")
        note("point a program at it:")
        note(f"  export OPENAI_BASE_URL={listening.endpoint} OPENAI_API_KEY=any")
