"""What rewriting and explaining cost grows with the text, and not with its square: calls of functions are counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import cast
from unittest.mock import Mock

import pytest

from apxm.analysis.specified import specified_profile
from apxm.backends.settings import SimulatedSettings
from apxm.explaining import predicting
from apxm.explaining.explanation import Given
from apxm.explaining.files import explained_flow
from apxm.flows.flow import Flow
from apxm.flows.twins import TWINS
from tests.rewriting.test_same import loaded

HEAD = "from apxm import ask, each, flow\n"


def appends(size: int) -> str:
    lines = "".join(f"        found.append(f'{{answer}} {k}')\n" for k in range(size))
    return f"@flow\ndef main(rows):\n    found = []\n    for row in each(rows):\n        answer = ask(row)\n{lines}"


def in_a_straight_line(size: int) -> str:
    return "@flow\ndef main(rows):\n" + "".join(f"    a{k} = ask('{k}')\n" for k in range(size))


def of_each_other(size: int) -> str:
    functions = "".join(
        f"def f{k}(row):\n    return f{(k + 1) % size}(row) + f{(7 * k + 3) % size}(row) + ask(row)\n"
        for k in range(size)
    )
    return f"{functions}@flow\ndef main(rows):\n    return [f0(row) for row in each(rows)]\n"


def a_dict(size: int) -> str:
    entries = "".join(f"'{k}': len(str({k})), " for k in range(size))
    return f"@flow\ndef main(rows):\n    table = {{{entries}}}\n    return [ask(row, table) for row in each(rows)]\n"


def classes(size: int) -> str:
    made = "".join(
        f"class C{k}:\n    def run{k}(self, row):\n        self.log = ask(row)\n        return self.log\n"
        for k in range(size)
    )
    used = "".join(f"        C{k}().run{k}(row)\n" for k in range(size))
    return f"{made}@flow\ndef main(rows):\n    for row in each(rows):\n{used}"


def a_chain(size: int) -> str:
    functions = "".join(f"def f{k}(row):\n    return f{k + 1}(row) + 'x'\n" for k in range(size))
    last = f"def f{size}(row):\n    return ask(row)\n"
    return f"{functions}{last}@flow\ndef main(rows):\n    return [f0(row) for row in each(rows)]\n"


def functions_called(action: Callable[[], object]) -> int:
    """How many calls of functions of Python an action makes."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def flow_of(make: Callable[[int], str], size: int) -> Flow[..., object]:
    return loaded(HEAD + make(size), f"sized_{make.__name__}_{size}")["main"]


def explained(made: Flow[..., object]) -> object:
    return explained_flow(cast(FunctionType, made.function), TWINS, Given())


def rewritten(made: Flow[..., object]) -> object:
    return made.lanes


@pytest.mark.parametrize("action", [rewritten, explained])
@pytest.mark.parametrize("make", [appends, in_a_straight_line, a_dict, classes])
def test_a_function_of_twice_the_size_takes_twice_the_work(
    make: Callable[[int], str], action: Callable[[Flow[..., object]], object]
) -> None:
    def work(size: int) -> int:
        made = flow_of(make, size)
        TWINS.forget()
        return functions_called(lambda: action(made))

    work(2)  # imports
    assert work(80) < 2.5 * work(40)


@pytest.mark.parametrize("make", [of_each_other, a_chain])
def test_functions_that_call_others_are_summed_up_a_few_times_each(make: Callable[[int], str]) -> None:
    def work(size: int) -> int:
        made = flow_of(make, size)
        TWINS.forget()
        return functions_called(lambda: rewritten(made))

    work(2)
    assert work(24) < 3 * work(12)


def test_functions_whose_calls_are_the_same_are_predicted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "".join(f"def f{k}(row):\n    return ask(row)\n" for k in range(20))
    used = "".join(f"    f{k}(row)\n" for k in range(20))
    main = loaded(f"{HEAD}{source}@flow\ndef main(row):\n{used}", "predicted_once")["main"]
    analyze = Mock(wraps=predicting.analyze)
    monkeypatch.setattr(predicting, "analyze", analyze)
    profile = specified_profile("slow", SimulatedSettings(latency="lognormal:500,0.4"))
    explained = explained_flow(main.function, TWINS, Given(profile=profile))
    assert len(explained.functions) == 21
    assert analyze.call_count == 2  # of one of these, and of all
