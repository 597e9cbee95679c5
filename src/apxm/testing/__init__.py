"""Tools for tests of agent programs: scripted answers, virtual time, and runs that tell of each of their calls.

import apxm
from apxm.testing import rehearse

def test_the_summary_waits_for_both_facts() -> None:
    run = rehearse(apxm.compile("summary.ais"), topic="bees", answers={"Facts": "They dance.", "Sum": "Bees dance."})
    assert run.value == "Bees dance."
    assert [call.began_s for call in run.calls] == [0, 0, 1]

docs/testing.md has more.
"""

from __future__ import annotations

from apxm.runtime.loops import VirtualLoop, run_virtually
from apxm.testing.rehearsal import Rehearsal, RehearsedCall, RehearsedToolCall, rehearse
from apxm.testing.scripted import ScriptedBackend, ScriptedCall, execute_virtually

__all__ = [
    "Rehearsal",
    "RehearsedCall",
    "RehearsedToolCall",
    "ScriptedBackend",
    "ScriptedCall",
    "VirtualLoop",
    "execute_virtually",
    "rehearse",
    "run_virtually",
]
