"""Runs the scripts beside this file, unedited: line by line, and in lanes, in copies of a folder, at a second a call.

``python -m tests.scripts.scripts_running`` prints the table of docs/python.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from apxm.flows.flow import Flow
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.trace import Trace
from tests.scripts.answers import Answering

HERE = Path(__file__).parent
NOTEBOOK = "labels"
SCRIPTS = sorted(path.stem for path in (HERE / "unedited").glob("*.py"))


class Seen(NamedTuple):
    """What anybody sees of a run of a script."""

    raised: str
    output: str
    value: dict[str, str]
    """The names of the module that hold data, and what they hold."""
    files: dict[str, bytes]
    asked: list[str]


class Ran(NamedTuple):
    seen: Seen
    seconds: float


def ran(script: str, *, lanes: bool, latency: str = "constant:1000", seed: int = 0) -> Ran:
    """A script as `__main__`, in the root lane of a run on virtual time; line by line where not in `lanes`."""
    path = HERE / "unedited" / f"{script}.py"
    backend = Answering(latency, seed)
    module: dict[str, Any] = {}

    def main() -> None:
        module.update(runpy.run_path(str(path), run_name="__main__"))

    async def go() -> tuple[LaneRun, Trace]:
        run = LaneRun(Grown(script, str(path)), main, BackendPool({"answering": backend}, "answering"))
        return run, await run.execute()

    with _copied_folder() as folder, _as_written(not lanes), contextlib.redirect_stdout(io.StringIO()) as output:
        with patch.object(sys, "argv", [str(path)]):
            random.seed(0)
            run, trace = run_virtually(go())
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    raised = "" if run.raised is None else f"{type(run.raised).__name__}: {run.raised}"
    return Ran(Seen(raised, output.getvalue(), _data(module), files, sorted(backend.asked)), trace.duration / 1e9)


def ran_notebook(*, lanes: bool) -> Ran:
    """The notebook in a kernel of its own, whose flows run on virtual time."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(HERE / "unedited" / f"{NOTEBOOK}.ipynb", 4)
    begin = f"from tests.scripts.notebook_kernel import begin, end\nbegin(lanes={lanes})"
    notebook.cells = [nbformat.v4.new_code_cell(begin), *notebook.cells, nbformat.v4.new_code_cell("end()")]
    with _copied_folder() as folder, patch.dict(os.environ, PYTHONPATH=str(HERE.parent.parent)):
        NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    shown = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    seconds, asked = json.loads(shown.pop())
    return Ran(Seen("", "".join(shown), {}, files, asked), seconds)


def _shown(cell: Any) -> str:
    """What stands under a cell."""
    return "".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs)


def _data(module: dict[str, Any]) -> dict[str, str]:
    kept = (bool, int, float, str, list, dict, tuple, type(None))
    return {
        name: re.sub(" at 0x[0-9a-f]+", "", repr(value))
        for name, value in module.items()
        if type(value) in kept and not name.startswith("__")
    }


@contextlib.contextmanager
def _copied_folder() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "folder"
        shutil.copytree(HERE / "inputs", folder)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def _as_written(plain: bool) -> contextlib.AbstractContextManager[Any]:
    """While flows run as they are written, where `plain`."""
    if not plain:
        return contextlib.nullcontext()

    def function(flow: Flow[..., Any]) -> Callable[..., Any]:
        return flow.function

    return patch.object(Flow, "lanes", property(function))


def table() -> str:
    """How much sooner the scripts are over in lanes, as Markdown."""
    lines = ["| script | calls | line by line | in lanes | |", "|---|--:|--:|--:|--:|"]
    for script in [*SCRIPTS, NOTEBOOK]:
        alone, lanes = (
            ran_notebook(lanes=lanes) if script == NOTEBOOK else ran(script, lanes=lanes) for lanes in (False, True)
        )
        lines.append(row(script, alone, lanes))
    return "\n".join(lines)


def row(script: str, alone: Ran, lanes: Ran) -> str:
    """That of a script in the table."""
    ratio = alone.seconds / lanes.seconds
    return f"| {script} | {len(alone.seen.asked)} | {alone.seconds:.0f} s | {lanes.seconds:.0f} s | {ratio:.1f} × |"


if __name__ == "__main__":
    print(table())
