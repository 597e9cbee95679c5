"""The phases of a call, and the table of its legal moves. docs/design/0014-waiting.md draws it."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a call is on its way; exactly one at any time."""

    READY = "ready"
    """It was made, and nobody has been asked for anything."""
    QUEUED = "queued"
    """It waits for a slot of the run, for the leave of its gate, and for the budget."""
    STARTING = "starting"
    """It has its slots; what has to be in the journal first is being committed, or a task is on its way."""
    SENT = "sent"
    """Whoever does it has been asked."""
    EXPIRED = "expired"
    """Its time is over and its task was told to end; what the task says last decides."""
    COMMITTING = "committing"
    """It is answered, and the answer is not in the journal yet. It still holds its slots."""
    PAUSED = "paused"
    """Its attempt failed, and another one follows after a while."""
    UNAFFORDABLE = "unaffordable"
    """The budget will never pay for it."""
    OVER = "over"
    """Its outcome was delivered, or it was given up."""


READY, QUEUED, STARTING, SENT, EXPIRED, COMMITTING, PAUSED, UNAFFORDABLE, OVER = Phase
# As names of their own, since to look one up in its class would cost a twentieth of an operation.

MOVES: dict[Phase, dict[str, Phase]] = {
    READY: {"added, and must ask": QUEUED, "added": STARTING},
    QUEUED: {"granted": STARTING, "refused": OVER, "not affordable": UNAFFORDABLE, "cancelled": OVER},
    STARTING: {"sent": SENT, "cancelled": OVER},
    SENT: {
        "its task is over time": EXPIRED,
        "answered, and journaled": COMMITTING,
        "failed, and tried again": PAUSED,
        "answered": OVER,
        "failed": OVER,
        "cancelled": OVER,
    },
    EXPIRED: {
        "answered late, and journaled": COMMITTING,
        "failed, and tried again": PAUSED,
        "answered late": OVER,
        "failed": OVER,
        "cancelled": OVER,
    },
    COMMITTING: {"committed": OVER, "cancelled": OVER},
    PAUSED: {"resumed, and must ask": QUEUED, "resumed": STARTING, "cancelled": OVER},
    UNAFFORDABLE: {"cancelled": OVER},
    OVER: {},
}
"""What may follow each phase, by what happened. A move is an assignment to `Call.phase`; to look it up here each time
would cost more than the move, so the tests do."""
