"""Which workloads there are, and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apxm.errors import UsageError, hint_for


@dataclass(frozen=True)
class Workload:
    number: int
    name: str
    """The name of the workload's folder: `4_scalability`."""
    summary: str

    @property
    def folder(self) -> Path:
        return _programs() / self.name

    @property
    def source(self) -> Path:
        """The program in AIS."""
        return self.folder / "workflow.ais"

    @property
    def peer(self) -> Path:
        """The file of the workload's program in LangGraph."""
        return self.folder / "workflow.py"


SCALABILITY = Workload(4, "4_scalability", "N independent calls and a merge: how near the speedup comes to N")
WORKLOADS = (SCALABILITY,)


def find(wanted: str) -> Workload:
    """Finds a workload by number, by name, or by the name without its number. Raises `UsageError`."""
    for workload in WORKLOADS:
        if wanted in (str(workload.number), workload.name, workload.name.partition("_")[2]):
            return workload
    hint = hint_for(wanted, (workload.name for workload in WORKLOADS), "`apxm workloads list` shows them")
    raise UsageError(f"there is no workload {wanted!r}", hint=hint)


def _programs() -> Path:
    """A wheel carries the folder inside the package (pyproject.toml); in a checkout it lies at the root."""
    packaged = Path(__file__).parent / "programs"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "workloads"
