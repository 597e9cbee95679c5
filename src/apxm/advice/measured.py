"""What there is to know of a run that was measured, so that it can run again: numbers and names, and no text that the
program or a model has said. `graph.py` makes it of traces."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode

import msgspec
from msgspec import Struct

from apxm.backends.protocol import Limits
from apxm.errors import ApxmError

MOST_OPERATIONS = 20_000
"""The most operations that a file of metrics keeps: some hundred kilobytes."""
_MOST_BYTES = 256 * 1024 * 1024
JOIN = -1
"""The place of a node that is no operation: all that comes behind it comes behind all that it is behind."""
NOBODY = -1
"""The endpoint of what no endpoint does: tools, steps."""


class Place(Struct, frozen=True, array_like=True):
    """A place of a program at which an operation is made, once or any number of times."""

    path: str
    """That of its operations, without the numbers of turns."""
    operation: str
    file: str
    line: int
    column: int
    model: str | None = None
    """The model that it asks for; None is that of its endpoint."""
    tool: str | None = None
    """The tool that a program of AIS calls there."""
    readonly: bool = False
    """Whether that changes nothing."""
    is_python: bool = False

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Endpoint(Struct, frozen=True, array_like=True):
    """A backend that was asked."""

    name: str
    model: str
    limits: Limits
    is_adaptive: bool = False
    """Whether it is found out how many calls in flight it bears."""


class Attempt(Struct, frozen=True, array_like=True):
    """One try of an operation. Instants in ns since the run began."""

    asked: int
    granted: int
    sent: int
    received: int
    outcome: str
    service: int | None = None
    """What the endpoint says it spent; None where it says nothing."""
    input: int | None = None
    output: int | None = None
    """Tokens."""
    handed: int = 0
    """How long it took, in ns, until it had the slot that another attempt gave back; that is our own time."""

    @property
    def latency(self) -> int:
        return self.received - self.sent

    @property
    def worked(self) -> int:
        """For how much of that somebody worked on it: all of it, where nobody says so."""
        return self.latency if self.service is None else min(self.service, self.latency)


class Node(Struct, frozen=True, array_like=True):
    """An operation that waited, or a join."""

    place: int
    """Index in the places, or `JOIN`."""
    endpoint: int
    """Index in the endpoints, or `NOBODY`."""
    behind: tuple[int, ...]
    """Nodes before it whose values it needs, or that decide whether it is made."""
    ordered: tuple[int, ...] = ()
    """Nodes before it that it waits for only because things are to happen in their order."""
    rank: int = 0
    """The longest path to the end of the run in ms, as it was known when it ran: the highest gets the next slot."""
    ready: int = 0
    routed: int = 0
    """When what waits for it went on."""
    attempts: tuple[Attempt, ...] = ()


class MeasuredRun(Struct, frozen=True, kw_only=True):
    """All of it. Nodes stand behind those that they wait for."""

    duration: int
    """In ns."""
    status: str
    places: tuple[Place, ...]
    endpoints: tuple[Endpoint, ...]
    nodes: tuple[Node, ...]
    max_concurrency: int | None = None
    """The most calls that the run itself let be in flight."""
    cost: float | None = None
    """What its answers cost; None where a price is not known."""
    version: int = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(MeasuredRun).decode


def packed(run: MeasuredRun) -> str:
    """As text of one line."""
    return b64encode(zlib.compress(_encode(run), 6)).decode()


def unpacked(text: str) -> MeasuredRun:
    """What `packed` gave. Raises `ApxmError` where it is none."""
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(b64decode(text, validate=True), _MOST_BYTES)
        if unpacking.unconsumed_tail:
            raise ValueError("it is too large")
        run = _decode(content)
        _verify(run)
    except (zlib.error, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApxmError(f"its trace is damaged: {error}") from None
    return run


def _verify(run: MeasuredRun) -> None:
    """A file may have been written by anybody."""
    fits = run.version == 1 and run.duration >= 0
    for index, node in enumerate(run.nodes):
        fits = fits and JOIN <= node.place < len(run.places) and NOBODY <= node.endpoint < len(run.endpoints)
        fits = fits and all(0 <= other < index for other in (*node.behind, *node.ordered))
        fits = fits and (node.place == JOIN or bool(node.attempts))
        for attempt in node.attempts:
            instants = (attempt.asked, attempt.granted, attempt.sent, attempt.received)
            fits = fits and instants[0] >= 0 and list(instants) == sorted(instants)
    if not fits:
        raise ValueError("its parts do not fit together")
