"""How far a run is, for whoever waits for it."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.flow import flow
from apxm.lanes import shown
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from tests.lanes.talking import Talking


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@flow
def chatting(turns: int, end: str = "\n") -> None:
    for k in range(turns):
        print(ask(f"{k}"), end=end)


def run(turns: int, end: str = "\n", *, error: io.StringIO | None = None, wanted: bool = True) -> str:
    """Calls that take a second each, on virtual time; what is seen of them on a terminal, which standard output is, and
    standard error where that is nothing else."""
    terminal = Terminal()

    async def go() -> None:
        pool = BackendPool({"talking": Talking(lambda request: request.prompt)}, "talking")
        made = LaneRun(Grown("main", "main.py"), lambda: chatting.lanes(turns, end), pool)
        async with shown.shown(made, wanted=wanted):
            await made.execute()
        assert made.raised is None

    with redirect_stdout(terminal), redirect_stderr(error or terminal):
        run_virtually(go())
    return terminal.getvalue()


@pytest.fixture(autouse=True)
def xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_a_run_that_takes_a_while_has_a_line_which_is_gone_at_the_end() -> None:
    drawn = run(4)
    assert drawn.startswith("0\n1\n\r\x1b[K2 done, 1 running, 0 waiting; 0:02; 4 tokens")
    assert "\r\x1b[K2\n" in drawn  # what is printed has the line for itself
    assert drawn.endswith("\r\x1b[K3\n")


def test_one_that_is_over_soon_has_none() -> None:
    assert run(1) == "0\n"


def test_a_line_that_the_program_has_begun_is_not_drawn_over() -> None:
    assert run(4, end=" ") == "0 1 2 3 "


def test_without_a_terminal_there_is_none() -> None:
    error = io.StringIO()
    assert (run(4, error=error), error.getvalue()) == ("0\n1\n2\n3\n", "")


def test_nor_where_it_is_not_wanted() -> None:
    assert run(4, wanted=False) == "0\n1\n2\n3\n"


class Cell:
    """The output of a notebook's cell, as IPython has it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, data: dict[str, str], **options: Any) -> Cell:
        assert options == {"raw": True, "display_id": True}
        self.update(data, raw=True)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data["text/plain"])


def test_in_a_notebook_an_output_of_the_cell_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=cell.display))  # type: ignore[arg-type]
    run(4)
    assert len(cell.shown) == 5  # each half of a second, and at the end
    assert cell.shown[-1] == "4 done, 0 running, 0 waiting; 0:04; 8 tokens"
