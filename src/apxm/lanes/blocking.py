"""Code in a lane that lets nobody else go on, as the watch of event loops sees it."""

from __future__ import annotations

from functools import partial
from types import FrameType

from apxm.effects.users import is_users
from apxm.lanes.lane import Hub, Lane
from apxm.runtime.watch import CALLERS, Step


def _of_lane(caller: FrameType, _called: FrameType | None, innermost: FrameType) -> Step | None:
    """What a lane does, at the user's own line."""
    frame: FrameType | None = innermost
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    lane = caller.f_locals.get("self")
    if frame is None or not isinstance(lane, Lane) or not lane.hub.in_flight():
        return None  # where nobody waits, it does not matter
    code = frame.f_code
    held_up = partial(lane.hub.held_up, lane.path(f"{code.co_qualname}:{frame.f_lineno}", code))
    return Step(held_up, (lane, lane.hub.resumed), f"{code.co_filename}:{frame.f_lineno}")


def _of_hub(_caller: FrameType, _called: FrameType | None, _innermost: FrameType) -> None:
    """Between two lanes, which do not wake the watch each."""


def watch_lanes() -> None:
    """Lets the watch of event loops know code in lanes."""
    CALLERS[Lane.run.__code__] = _of_lane
    CALLERS[Hub.go.__code__] = _of_hub
