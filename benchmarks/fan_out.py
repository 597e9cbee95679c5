"""How near does a fan-out over HTTP come to the ideal, by whose client and whose scheduler?

    python -m benchmarks.fan_out [--quick | --whole]

The endpoint is `apxm simulator` in a process of its own, answering after exactly one second (or two), and every system
is a process of its own as well, warmed up; their runs take turns. All of them share this machine's cores, so at a
thousand calls the endpoint's own work, and the kernel's, is part of every number, the bare socket's too.

*Bare socket* is an asyncio protocol that looks for nothing but the end of an answer. *Bare pyqwest* reads whole answers
however long they are; *bounded* reads them as A-PXM must, up to a limit, which costs a second round trip to its own
thread. *LangGraph on our client* has A-PXM's backend behind LangGraph's nodes, which separates client from scheduler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import trustme

from apxm.runtime.open_files import raise_limit
from apxm.simulator.process import process_environment
from benchmarks.fan_out_systems import Asked, Measured
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell

OURS = ("socket", "pyqwest", "bounded", "apxm")
PEERS = ("openai", "langgraph", "langgraph-ours")
NAMES = {
    "socket": "bare socket",
    "pyqwest": "bare pyqwest",
    "bounded": "bare pyqwest, bounded",
    "apxm": "A-PXM",
    "unjournaled": "A-PXM without a journal",
    "openai": "gather over the openai SDK",
    "langgraph": "LangGraph with ChatOpenAI",
    "langgraph-ours": "LangGraph on our client",
}


class Setting(NamedTuple):
    seconds: float
    tls: bool
    cold: bool
    widths: tuple[int, ...]
    runs: int
    systems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"answers after {self.seconds:g} s, {'TLS' if self.tls else 'plain'}, "
            f"{'cold' if self.cold else 'warm'} connections"
        )


ALL = (8, 64, 256, 1024)
FLOORS = ("socket", "pyqwest", "apxm")
JOURNAL = Setting(1, False, False, (1024,), 15, ("apxm", "unjournaled"))
SETTINGS = (
    Setting(1, False, False, ALL, 15, OURS),
    Setting(1, False, True, ALL, 10, FLOORS),
    Setting(1, True, False, ALL, 5, FLOORS),
    Setting(1, True, True, ALL, 5, FLOORS),
    Setting(2, False, False, ALL, 5, FLOORS),
    JOURNAL,
    Setting(1, False, False, ALL, 3, PEERS),
)
WHOLE = (
    *(
        Setting(seconds, tls, cold, ALL, 15, FLOORS)
        for seconds in (1, 2)
        for tls in (False, True)
        for cold in (False, True)
    ),
    JOURNAL,
    Setting(1, False, False, ALL, 15, PEERS),
)
QUICK = (
    Setting(0.05, False, False, (8,), 1, (*OURS, "unjournaled", *PEERS)),
    Setting(0.05, True, True, (8,), 1, OURS),
)


@contextmanager
def process(module: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A child that ends when its standard input does."""
    command = [sys.executable, "-m", module, *arguments]
    pipe, environment = subprocess.PIPE, process_environment(os.environ)
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as child:
        assert child.stdin is not None
        try:
            yield child
        finally:
            child.stdin.close()


class System:
    """One system in its process."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def run(self, width: int, cold: bool = False) -> Measured:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(msgspec.json.encode(Asked(width, cold)) + b"\n")
        self._child.stdin.flush()
        return msgspec.json.decode(self._child.stdout.readline(), type=Measured)


def measure(setting: Setting, folder: Path) -> Iterator[tuple[int, str, list[Measured]]]:
    """By width and system: its runs, in turns."""
    with ExitStack() as stack:
        certificates = ["--tls", str(folder)] if setting.tls else []
        latency = f"constant:{setting.seconds * 1000:g}"
        server = stack.enter_context(process("benchmarks.fan_out_server", latency, *certificates))
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        systems = {
            name: System(stack.enter_context(process("benchmarks.fan_out_systems", name, port, *certificates)))
            for name in setting.systems
        }
        for width in setting.widths:
            samples: dict[str, list[Measured]] = {name: [] for name in systems}
            for turn in range(setting.runs):
                for name, system in systems.items():
                    tell(f"{setting}: N = {width}, {NAMES[name]}, {turn + 1} of {setting.runs}")
                    samples[name].append(system.run(width, setting.cold))
            for name, runs in samples.items():
                yield width, name, runs


def judge(section: Section, setting: Setting, found: dict[tuple[int, str], list[Measured]]) -> None:
    for width in setting.widths:
        wall = {name: median(run.wall_s for run in found[width, name]) for name in setting.systems}
        spent = {name: median(run.cpu_s for run in found[width, name]) for name in setting.systems}
        where = f"N = {width:,}, {setting}"
        if {"apxm", "pyqwest"} <= wall.keys():
            for floor, target in (("pyqwest", 0.98), ("socket", 0.90)):
                # Efficiency is the ideal over the wall time, so their ratio is that of the wall times.
                what = f"efficiency over the {NAMES[floor]}'s, {where}"
                section.claims.append(Claim(what, wall[floor] / wall["apxm"], target, at_least=True))
            if width == 1024:
                what = f"processor time per call over bare pyqwest's, {where}"
                section.claims.append(Claim(what, spent["apxm"] / spent["pyqwest"], 1.25))
        if {"apxm", "unjournaled"} <= wall.keys():
            what = f"wall time over that without a journal, {where}"
            section.claims.append(Claim(what, wall["apxm"] / wall["unjournaled"], 1.02))


def fan_out(quick: bool) -> Section:
    return measured(QUICK if quick else SETTINGS)


def whole(quick: bool) -> Section:
    return measured(QUICK if quick else WHOLE)


def measured(settings: Sequence[Setting]) -> Section:
    raise_limit()
    section = Section("Fan-out over HTTP", caveats(__doc__))
    with TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        for setting in settings:
            rows: list[tuple[str, ...]] = []
            found: dict[tuple[int, str], list[Measured]] = {}
            for width, system, runs in measure(setting, folder):
                found[width, system] = runs
                wall = [run.wall_s for run in runs]
                efficiency = f"{setting.seconds / median(wall):.1%}"
                cpu = median(run.cpu_s for run in runs) / width * 1e6
                rows.append((f"{width:,}", NAMES[system], spread(wall), efficiency, digits(cpu)))
                section.samples[f"s, {setting}, N = {width}, {NAMES[system]}"] = wall
            headers = ("N", "System", "Wall time (s)", "Efficiency", "Processor time per call (µs)")
            caption = f"{str(setting).capitalize()}; medians of {setting.runs}, in brackets the range."
            section.tables.append((caption, headers, rows))
            judge(section, setting, found)
    return section


if __name__ == "__main__":
    standalone(fan_out, __doc__, whole)
