"""How the ports of turns hang together, made ready at load."""

from __future__ import annotations

from apxm.program.openers import Repeat


class TurnPorts:
    """How the ports of a `Repeat` hang together, made ready once."""

    __slots__ = ("collected", "feeds", "joins", "loose", "opener", "own", "shared", "sources", "stop", "unfed")

    def __init__(self, repeat: Repeat, outputs: int) -> None:
        """`outputs` is the number of output ports of a turn."""
        self.opener = repeat
        self.shared = repeat.shared
        self.own = repeat.own_input
        self.stop = repeat.stop
        self.collected = repeat.collected
        self.sources = repeat.carried
        """Each carried input, and the outputs it comes from."""
        self.feeds: tuple[tuple[int, ...], ...] = tuple(
            tuple([port for port, sources in self.sources.items() if output in sources]) for output in range(outputs)
        )
        """The inputs of the next turn that each output goes to."""
        self.joins = {port: len(sources) for port, sources in self.sources.items() if len(sources) > 1}
        """Inputs that wait for several outputs, and for how many."""
        self.unfed = tuple([port for port, sources in self.sources.items() if not sources])
        """Inputs for which no turn gives the next one anything: all turns get what the first one does."""
        apart = (self.stop, self.collected)
        self.loose = tuple([port for port, fed in enumerate(self.feeds) if not fed and port not in apart])
        """Order outputs that no turn takes from the one before: what comes behind them comes behind all turns."""
