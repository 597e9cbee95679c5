"""Functions that read names of loops, other names for one list, and errors of names: as line by line."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared

ROWS = ["a", "b", "c", "d"]
ITEMS: list[str] = []
STATE: dict[str, list[str]] = {}


def helper_reads_the_item(rows):
    def prompt(task):
        return f"{task} {row}"

    return_value = []
    for row in each(rows):
        return_value.append(ask(prompt("Label")))
    return return_value


def helper_reads_what_the_body_sets(rows):
    show = lambda: current
    out = []
    for row in each(rows):
        current = row + "!"
        answer = ask(row)
        out.append((answer, show()))
    return out


def helper_that_an_object_has(rows):
    class Agent:
        def __init__(self, text):
            self.text = text

    agent = Agent(lambda: row)
    out = []
    for row in each(rows):
        out.append(ask(agent.text()))
    return out


def helper_that_calls_another_one(rows):
    def name():
        return row

    def prompt(task):
        return f"{task} {name()}"

    out = []
    for row in each(rows):
        answer = ask(row)
        out.append(ask(answer + prompt("Label")))
    return out, row


def helper_of_a_loop_in_a_loop(rows):
    def prompt():
        return f"{row} {word}"

    out = []
    for row in each(rows):
        for word in each(["x", "y"]):
            out.append(ask(prompt()))
    return out


def class_that_reads_the_item(rows):
    class Prompt:
        def __str__(self):
            return row

    prompt = Prompt()
    out = []
    for row in each(rows):
        out.append(ask(row) + str(prompt))
    return out


def line():
    return f"{of_module}: {said}"


def global_names(rows):
    global of_module, said
    for of_module in each(rows):
        said = ask(of_module)
        print(line())
    return of_module, said


def nested_function_that_counts(rows):
    total, found = 0, {}

    def remember(text):
        nonlocal total
        total += 1
        found[text] = total
        return total

    for row in each(rows):
        total += len(row)
        remember(row)
        ask(str(total))
    return total, found


def left_behind(rows):
    checks = []
    for row in each(rows):
        answer = ask(row)
        checks.append(lambda: f"{row}: {answer}")
    return [check() for check in checks]


def left_behind_ahead(rows):
    checks = {}
    for row in each(rows, lookahead=2):
        answer = ask(row)

        def check():
            return f"{row}: {answer}"

        checks[row] = check
    return [check() for check in checks.values()]


def left_behind_generators(rows):
    words = []
    for row in each(rows):
        answer = ask(row)
        words.append(f"{row} {answer} {end}" for end in "xy")
    return [list(each_of) for each_of in words]


class Task:
    def __init__(self, done):
        self.done = done


def task(done):
    return Task(done)


def left_behind_in_objects(rows):
    tasks = {}
    for row in each(rows):
        answer = ask(row)
        made = task(lambda: row + answer)
        made.named = lambda: row
        tasks.setdefault("all", []).append(made)
    return [(made.done(), made.named()) for made in tasks["all"]]


def other_name_for_a_list(rows):
    state = {"seen": []}
    for row in each(rows):
        ask(row)
        seen = state["seen"]
        seen += [row]
        print(row, state["seen"])
    return state


def other_name_for_an_attribute(rows):
    class Kept: ...

    kept = Kept()
    kept.seen = set()
    for row in each(rows):
        ask(row)
        seen = kept.seen
        seen |= {row}
        print(row, sorted(kept.seen))


def other_name_from_a_choice(rows):
    one, other = [], []
    for row in each(rows):
        seen = one if len(ask(row)) % 2 else other
        seen += [row]
        print(row, one, other)


def items():
    return ITEMS


def other_name_from_a_function(rows):
    ITEMS.clear()
    for row in each(rows):
        ask(row)
        seen = items()
        seen += [row]
        print(row, len(ITEMS))


def note(row):
    seen = STATE["seen"]
    seen += [row]
    return len(seen)


def other_name_in_a_function(rows):
    STATE["seen"] = []
    for row in each(rows):
        ask(row)
        print(note(row))


def unbound(rows):
    for row in each(rows):
        ask(row)
        if row == "c":
            found = row + "!"
        try:
            print(found)
        except UnboundLocalError as error:
            print(error)


def unbound_to_the_end(rows):
    for row in each(rows):
        ask(row)
        if row == "nobody":
            found = row + "!"
        found += row


def no_context_manager(rows):
    for row in each(rows):
        ask(row)
        try:
            with row as opened:
                print(opened)
        except TypeError as error:
            print(error)


def walrus_of_its_own(rows):
    one = [found for row in each(rows) if (found := ask(row))]
    two = [found[-1] for row in each(rows) if (found := ask(row))]
    return one, two


LOOPS = [
    helper_reads_the_item,
    helper_reads_what_the_body_sets,
    helper_that_an_object_has,
    helper_that_calls_another_one,
    helper_of_a_loop_in_a_loop,
    class_that_reads_the_item,
    global_names,
    nested_function_that_counts,
    left_behind,
    left_behind_ahead,
    left_behind_generators,
    left_behind_in_objects,
    other_name_for_a_list,
    other_name_for_an_attribute,
    other_name_from_a_choice,
    other_name_from_a_function,
    other_name_in_a_function,
    unbound,
    unbound_to_the_end,
    no_context_manager,
    walrus_of_its_own,
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Callable[..., Any], seed: int) -> None:
    made = flow(loop)
    compared(lambda: (made, (ROWS,)), seed)


def called_at_once(rows):
    def name():
        return "name"

    out = []
    for row in each(rows):

        def label():
            return ask(name() + row)

        out.append((lambda: ask(row))() + label())
        out.append(sorted([row, "b"], key=lambda text: (text == row, text)))
    return out


def helper_behind_the_calls(rows):
    def shown():
        return f"{row}: {answer}"

    for row in each(rows):
        answer = ask(row)
        print(shown())


def counter_of_a_nested_function(rows):
    total = 0

    def number():
        nonlocal total
        total += 1
        return total

    return_value = []
    for row in each(rows):
        return_value.append(ask(f"{number()} {row}"))
    return return_value


def left_behind_with_its_own(rows):
    checks = []
    for row in each(rows):
        answer = ask(row)
        checks.append(lambda row=row, answer=answer: f"{row}: {answer}")
    return [check() for check in checks]


@pytest.mark.parametrize(
    "loop", [called_at_once, left_behind_with_its_own, helper_behind_the_calls, counter_of_a_nested_function]
)
def test_calls_beside_such_functions_overlap(loop: Callable[..., Any]) -> None:
    made = flow(loop)
    line_by_line, lanes = compared(lambda: (made, (ROWS,)), 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)


def last_of_a_comprehension(rows):
    labels = [last := ask(row) for row in each(rows)]
    return labels, last


def sum_of_a_comprehension(rows):
    total = 0
    return [total := total + len(ask(row)) for row in each(rows)]


def left_behind_of_a_comprehension(rows):
    return [lambda: ask(row) for row in each(rows)]


def generator(rows):
    for row in each(rows):
        yield ask(row)


def calls_a_generator(rows):
    return list(generator(rows))


@pytest.mark.parametrize(
    ("loop", "why"),
    [
        (last_of_a_comprehension, "this comprehension sets `last` for the function around it"),
        (sum_of_a_comprehension, "this comprehension sets `total` for the function around it"),
        (left_behind_of_a_comprehension, "a function that outlives its iteration sees what the last one has in `row`"),
        (calls_a_generator, "an iteration of an `each` yields for the function around it"),
    ],
)
def test_what_no_lane_can_do_is_refused_when_the_flow_is_made(loop: Callable[..., Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        flow(loop)
