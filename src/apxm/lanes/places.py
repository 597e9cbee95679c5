"""Where in the user's code something is asked for."""

from __future__ import annotations

import os
from types import FrameType

from apxm.lanes.grown import Site
from apxm.lanes.lane import Lane

COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
_PARTS = COMPREHENSIONS | {"<lambda>"}
"""Code that is part of the function around it."""
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The folder of what stands between the user's code and a call."""


def site_of(lane: Lane, frame: FrameType) -> Site:
    """Where a lane asks for something, from the frame of the code that does."""
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    line = frame.f_lineno
    own = None if lane.loop is None else lane.loop.code
    while frame.f_code.co_name in _PARTS and frame.f_code is not own and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return Site(lane.path(f"{code.co_qualname}:{line}", code), line)
