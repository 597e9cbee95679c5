"""Reads a trace as Perfetto's trace_processor does, and refuses what that would drop or show otherwise.

The processor itself is a program that no package registry brings (the package `perfetto` fetches it from elsewhere), so
this follows what its importer of JSON does: events in the order of their time, those of one time in that of the file;
a stack of open slices for each thread; an arrow tied to the slice on top of it; names of threads by their number alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Slice:
    group: str
    lane: int
    begin: float
    end: float
    name: str
    category: str
    args: dict[str, Any]


@dataclass
class Read:
    slices: list[Slice] = field(default_factory=list)
    arrows: list[tuple[str, Slice, Slice]] = field(default_factory=list)
    counters: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)

    def of(self, group: str) -> list[Slice]:
        """The slices of a group, by their begin and their lane."""
        return sorted((s for s in self.slices if s.group == group), key=lambda s: (s.begin, s.lane))


def read(content: bytes) -> Read:
    """What a trace shows. Fails where an event is malformed, overlaps in its lane, or would be lost."""
    document = json.loads(content)
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    groups: dict[int, str] = {}
    threads: dict[int, int] = {}
    found = Read(head=document["otherData"])
    stacks: dict[int, list[Slice]] = {}
    begun: dict[tuple[str, int], Slice] = {}
    ended: set[tuple[str, int]] = set()
    events = document["traceEvents"]
    for event in events:
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        assert event["name"]
        if event["ph"] == "M":
            assert "ts" not in event
            if event["name"] == "process_name":
                assert event["pid"] not in groups
                groups[event["pid"]] = event["args"]["name"]
            elif event["name"] == "thread_name":
                assert event["tid"] not in threads, "a name would go to a thread of another process"
                threads[event["tid"]] = event["pid"]
            else:
                assert isinstance(event["args"]["sort_index"], int)
    timed = [event for event in events if event["ph"] != "M"]
    for event in sorted(timed, key=lambda event: event["ts"]):
        thread = event["tid"]
        assert threads[thread] == event["pid"]
        stack = stacks.setdefault(thread, [])
        now = event["ts"]
        assert now >= 0
        match event["ph"]:
            case "X":
                slice = Slice(
                    groups[event["pid"]], thread, now, now + event["dur"], event["name"], event["cat"], event["args"]
                )
                assert event["dur"] >= 0
                assert all(isinstance(value, str | int | float) for value in event["args"].values())
                assert not stack or now >= stack[-1].end - 1e-6, f"{slice} overlaps {stack[-1]}"
                stack[:] = [slice]
                found.slices.append(slice)
            case "s":
                key = event["cat"], event["id"]
                assert key not in begun, "each arrow has a number of its own"
                assert stack, "an arrow that leaves no slice is dropped"
                assert now <= stack[-1].end, "it would leave a slice that is over"
                begun[key] = stack[-1]
            case "f":
                key = event["cat"], event["id"]
                assert event["bp"] == "e", "else it goes to whatever comes next in the lane"
                assert stack, "an arrow that enters no slice is dropped"
                assert now <= stack[-1].end
                assert key not in ended
                ended.add(key)
                found.arrows.append((event["cat"], begun[key], stack[-1]))
            case "C":
                ((_, level),) = event["args"].items()
                assert level >= 0
                found.counters.setdefault(event["name"], []).append((now, level))
            case other:
                raise AssertionError(f"unknown phase {other!r}")
    assert ended == set(begun)
    return found
