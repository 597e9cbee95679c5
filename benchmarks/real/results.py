"""What the benchmark of the real engine measured: benchmarks/results/real_engine.json."""

from __future__ import annotations

from msgspec import Struct

from apxm.analysis.profile import Profile
from apxm.workloads.comparison import ComparisonResults, Guesses


class Round(Struct, frozen=True):
    """One calibration, and one comparison right behind it."""

    load: tuple[float, float]
    """Average over a minute, of all that runs on the machine, before and after."""
    profile: Profile
    comparison: ComparisonResults
    guesses: Guesses
    """Null models: their predictions in ms, by width."""


class Discipline(Struct, frozen=True):
    name: str
    command: str
    rounds: tuple[Round, ...]


class Machine(Struct, frozen=True):
    processor: str
    cores: int


class Results(Struct, frozen=True):
    date: str
    machine: Machine
    versions: dict[str, str]
    max_tokens: int
    disciplines: tuple[Discipline, ...]
