"""A script line by line and overlapped, and what anybody could tell the two apart by. Evidence, and no proof.

Both run in processes of their own, in copies of the folder, on the simulated backend and on virtual time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import msgspec

from apxm.errors import ApxmError, UsageError
from apxm.scripts.copies import Copied, Folder
from apxm.scripts.observed import TOLD, Observed, Request, Wanted
from apxm.scripts.script import Script
from apxm.source import shortened
from apxm.textdiff import changes

Category = Literal["requests", "order", "output", "files", "values", "ending"]
_MOST_SHOWN = 5
_LONGEST = 200
_KEY_ENDS = ("_API_KEY", "_API_TOKEN")
_NOWHERE = "http://127.0.0.1:9/v1"
"""Where nobody listens: what goes past the simulation does not go to a real model."""


class Difference(msgspec.Struct, frozen=True):
    """The first thing of its category by which the two can be told apart."""

    category: Category
    message: str
    details: list[str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing."""

    equal: bool
    script: str
    schedules: int
    """How many schedules of latencies it was overlapped in."""
    calls: int
    """How many it makes line by line."""
    ahead: int
    """How many of the overlapped ones were thrown away."""
    seconds: float
    """How long it takes line by line, on virtual time."""
    overlapped_seconds: float
    ending: str
    """What it raised, or its exit status, line by line."""
    whole: bool
    """False where an exception ends it line by line: nothing behind that was compared."""
    differences: list[Difference]
    unstable: list[Difference]
    """By what two runs line by line can be told apart: of that nothing can be said."""
    not_copied: list[Copied]


@dataclass(frozen=True)
class Ran:
    """A run of the script, and what it left."""

    observed: Observed
    status: int
    output: str
    files: dict[str, bytes | None] = field(repr=False)
    """What it wrote, by path within the folder; None for what it removed."""

    @property
    def ending(self) -> str:
        return self.observed.raised or f"exit status {self.status}"


@dataclass
class Equality:
    """Compares the runs of one script. Raises `UsageError` for a folder that cannot be copied."""

    script: Script
    seed: int = 0
    schedules: int = 3
    timeout_s: float = 120.0
    stdin: bytes = b""

    def __post_init__(self) -> None:
        here, around = os.path.realpath(os.getcwd()), os.path.dirname(os.path.realpath(self.script.path))
        self._root = here if Path(around).is_relative_to(here) else around
        self._folder = Folder(self._root)
        self._place = ""

    def compared(self) -> Comparison:
        """Runs it line by line and overlapped until a difference is found. Raises `ApxmError` where a run does not end,
        cannot begin, or is refused."""
        with tempfile.TemporaryDirectory(prefix="apxm-check-") as place:
            self._place = place
            return self._compared()

    def _compared(self) -> Comparison:
        alone = self._ran(overlapped=False, schedule=self.seed)
        lanes, differences, tried = alone, list[Difference](), 0
        while tried < self.schedules and not differences:
            lanes = self._ran(overlapped=True, schedule=self.seed + tried)
            differences = list(_differences(alone, lanes))
            tried += 1
        unstable: list[Difference] = []
        if differences:
            again = self._ran(overlapped=False, schedule=self.seed + self.schedules)
            unstable = list(_differences(alone, again))
            by_itself = {difference.category for difference in unstable}
            differences = [difference for difference in differences if difference.category not in by_itself]
        return Comparison(
            equal=not (differences or unstable),
            script=self.script.named,
            schedules=tried,
            calls=len(alone.observed.requests),
            ahead=sum(not request.kept for request in lanes.observed.requests),
            seconds=alone.observed.seconds,
            overlapped_seconds=lanes.observed.seconds,
            ending=alone.ending,
            whole=not alone.observed.raised or alone.observed.raised.startswith(f"{SystemExit.__name__}:"),
            differences=differences,
            unstable=unstable,
            not_copied=self._folder.left_out,
        )

    def _ran(self, *, overlapped: bool, schedule: int) -> Ran:
        # Each copy is where the one before it was, as a script may tell a model where it is.
        copy, record = os.path.join(self._place, "copy"), Path(self._place, "record.json")
        self._folder.copy_to(copy)
        script = self.script
        wanted = Wanted(
            self._in_copy(script.path, copy),
            list(script.arguments),
            [self._loop_in_copy(loop, copy) for loop in script.each],
            overlapped,
            self.seed,
            schedule,
            str(record),
        )
        status, output, said = self._process(wanted, copy)
        if not record.exists():
            raise ApxmError(
                f"the script ended its process itself, or could not begin: {_ended(status)}",
                where=script.named,
                hint=shortened(said.strip().rpartition("\n")[2].replace(copy, self._root), _LONGEST) or None,
            )
        there, here = (json.dumps(path, ensure_ascii=False)[1:-1] for path in (copy, self._root))
        observed = msgspec.json.decode(record.read_text().replace(there, here), type=Observed)
        if (refusal := observed.refusal) is not None:
            kind = UsageError if refusal.is_usage else ApxmError
            raise kind(refusal.message, where=refusal.where, hint=refusal.hint)
        ran = Ran(observed, status, output.replace(copy, self._root), self._folder.written_in(copy))
        record.unlink()
        with tempfile.TemporaryDirectory(dir=self._place) as used:
            os.rename(copy, os.path.join(used, "copy"))
        return ran

    def _process(self, wanted: Wanted, copy: str) -> tuple[int, str, str]:
        """Its exit status, its output, and what it wrote to standard error."""
        told = msgspec.json.encode(wanted).decode()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "apxm.scripts.observed"],
                cwd=copy, env=_environment(self.seed) | {TOLD: told, "PWD": copy}, input=self.stdin,
                capture_output=True, timeout=self.timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            how = "overlapped" if wanted.overlapped else "line by line"
            raise ApxmError(
                f"{how} the script did not end within {self.timeout_s:g} s",
                where=self.script.named,
                hint="--timeout gives it longer; where it asks until an answer suits it, `answers` of the backend "
                "`simulated` in .apxm/config.toml can give such answers",
            ) from None
        return done.returncode, _text(done.stdout), _text(done.stderr)

    def _in_copy(self, path: str, copy: str) -> str:
        real = os.path.realpath(path)
        if not Path(real).is_relative_to(self._root):
            return real
        return os.path.join(copy, os.path.relpath(real, self._root))

    def _loop_in_copy(self, place: str, copy: str) -> str:
        file, _, line = place.rpartition(":")
        return f"{self._in_copy(file, copy)}:{line}"


def _environment(seed: int) -> dict[str, str]:
    """That of this process, without the keys of real models."""
    kept = {name: "simulated" if name.endswith(_KEY_ENDS) else value for name, value in os.environ.items()}
    return kept | {
        "OPENAI_API_KEY": "simulated",
        "OPENAI_BASE_URL": _NOWHERE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": str(seed % 2**32),
    }


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


# --- what differs ----------------------------------------------------------------------------------------------------


def _differences(alone: Ran, other: Ran) -> Iterator[Difference]:
    yield from _of_requests(alone.observed.requests, other.observed.requests)
    if alone.output != other.output:
        yield Difference("output", "standard output is another one", changes(alone.output, other.output))
    yield from _of_files(alone.files, other.files)
    yield from _of_values(alone.observed.returned, other.observed.returned)
    if alone.ending != other.ending:
        yield Difference("ending", f"it ends with {other.ending}, and line by line with {alone.ending}", [])


def _of_requests(alone: Sequence[Request], other: Sequence[Request]) -> Iterator[Difference]:
    """Those that were made more or less often; and where that is none, the first that its iteration made elsewhere."""
    kept = [request for request in other if request.kept]
    wanted, found = (Counter(map(_key, requests)) for requests in (alone, kept))
    missing, more = wanted - found, found - wanted
    if missing or more:
        said = [f"{count(missing)} not made" if missing else "", f"{count(more)} made besides" if more else ""]
        details = [*_shown("-", missing, alone), *_shown("+", more, kept)]
        yield Difference("requests", f"calls: {', '.join(filter(None, said))}", details)
        return
    by_iteration = _by_iteration(kept)
    for iteration, requests in _by_iteration(alone).items():
        others = by_iteration.get(iteration, [])
        for number, pair in enumerate(zip(map(_key, requests), map(_key, others), strict=False)):
            if pair[0] != pair[1]:
                where = f"in {iteration}" if iteration else "outside of the loops"
                details = [*_shown("-", [pair[0]], alone), *_shown("+", [pair[1]], kept)]
                yield Difference("order", f"{where}, call {number + 1} is another one", details)
                return
        if len(requests) != len(others):
            where = f"in {iteration}" if iteration else "outside of the loops"
            yield Difference("order", f"{where}, there are {len(others)} calls instead of {len(requests)}", [])
            return


def _by_iteration(requests: Sequence[Request]) -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = {}
    for request in requests:
        found.setdefault(request.iteration, []).append(request)
    return found


def _key(request: Request) -> str:
    return json.dumps(request.asked, sort_keys=True, ensure_ascii=False)


def count(requests: Counter[str]) -> int:
    return sum(requests.values())


def _shown(mark: str, keys: Counter[str] | Sequence[str], requests: Sequence[Request]) -> list[str]:
    """The first of them as people read them, with their iterations and lines. Of equal ones it is the last that was
    too many."""
    left = Counter(keys)
    lines: list[str] = []
    for request in reversed(requests):
        key = _key(request)
        if left[key]:
            left[key] -= 1
            asked = {name: value for name, value in request.asked.items() if name not in ("operation", "prompt")}
            prompt = json.dumps(request.asked.get("prompt", ""), ensure_ascii=False)
            others = f" {json.dumps(asked, ensure_ascii=False)}" if asked else ""
            where = f"{request.iteration} at {request.place}" if request.iteration else request.place
            lines.append(shortened(f"{mark} {where}: {request.asked.get('operation', '')} {prompt}{others}", _LONGEST))
    lines.reverse()
    return lines[:_MOST_SHOWN] + ([f"{mark} … {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else [])


def _of_values(alone: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> Iterator[Difference]:
    for before, after in zip_longest(alone, other):
        if before != after:
            name = (before or after or ("", ""))[0]
            texts = [pair[1] if pair else "" for pair in (before, after)]
            yield Difference("values", f"the flow {name} returns something else", changes(*texts))
            return


def _of_files(alone: dict[str, bytes | None], other: dict[str, bytes | None]) -> Iterator[Difference]:
    for path in sorted(alone.keys() | other.keys()):
        before, after = alone.get(path), other.get(path)
        if (path in alone) == (path in other) and before == after:
            continue
        if path not in other:
            message = f"{path} was {'removed' if before is None else 'written'} line by line only"
        elif path not in alone:
            message = f"{path} was {'removed' if after is None else 'written'} by the overlapped run only"
        else:
            message = f"{path} is another one"
        yield Difference("files", message, changes(_text(before or b""), _text(after or b"")))
        return
