"""What code puts in the place of standard output and standard error: nobody sees a difference between lanes and the
sequential run."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared

ROWS = ["a", "b", "c", "d"]


def redirected(rows):
    found = []
    for row in each(rows):
        print("head", row)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            print("inside", row)
            print("answer", ask(row))
        print("behind", row)
        found.append(out.getvalue())
    return found


def redirected_to_one(rows):
    out = io.StringIO()
    for row in each(rows):
        with contextlib.redirect_stdout(out):
            print(row, ask(row))
        print("done", row)
    return out.getvalue()


def redirected_around(rows):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for row in each(rows):
            print("head", row)
            print(row, ask(row))
    print("over")
    return out.getvalue()


def read_inside(rows):
    out, found = io.StringIO(), []
    with contextlib.redirect_stdout(out):
        for row in each(rows):
            print("head", row)
            answer = ask(row)
            print(row, answer)
            found.append(sys.stdout.getvalue())
    return found


class Tee:
    def __init__(self, *streams):
        self.streams = streams
        self.count = 0

    def write(self, text):
        self.count += 1
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self):
        for stream in self.streams:
            stream.flush()


def teed(rows):
    log, before = io.StringIO(), sys.stdout
    sys.stdout = tee = Tee(before, log)
    try:
        for row in each(rows):
            print("head", row)
            answer = ask(row)
            print(row, answer, flush=True)
            for part in each(answer.split()):
                print(" part", part)
                print(" of", part, ask(part))
        print("over")
    finally:
        sys.stdout = before
    print(tee.count)
    return log.getvalue()


def set_inside(rows):
    found = []
    for row in each(rows):
        before, sys.stdout = sys.stdout, io.StringIO()
        try:
            print("answer", ask(row))
        finally:
            out, sys.stdout = sys.stdout, before
        print("done", row)
        found.append(out.getvalue())
    return found


def left_behind(rows):
    log, before = io.StringIO(), sys.stdout
    for row in each(rows):
        print("head", row)
        if row == "b":
            sys.stdout = log
        print(row, ask(row))
    print("over")
    sys.stdout = before
    return log.getvalue()


def muted(text):
    before = sys.stdout
    sys.stdout = io.StringIO()
    print("unseen")
    answer = ask(text)
    sys.stdout = before
    return answer


def muted_in_a_function(rows):
    found = [muted(row) for row in each(rows)]
    for row in each(rows):
        print("head", row)
        print(row, muted(row))
    return found


@contextlib.contextmanager
def captured():
    before = sys.stdout
    sys.stdout = out = io.StringIO()
    try:
        yield out
    finally:
        sys.stdout = before


def captured_by_a_generator(rows):
    found = []
    for row in each(rows):
        with captured() as out:
            print("inside", ask(row))
        print("done", row)
        found.append(out.getvalue())
    return found


def failing(rows):
    found = []
    for row in each(rows):
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                print("inside", ask(row))
                if row == "c":
                    raise ValueError(row)
        finally:
            print("over", row)
        found.append(out.getvalue())


def errors_redirected(rows):
    found = []
    for row in each(rows):
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            print("inside", ask(row), file=sys.stderr)
        found.append(len(out.getvalue().splitlines()))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "function",
    [
        redirected, redirected_to_one, redirected_around, read_inside, teed, set_inside, left_behind,
        muted_in_a_function, captured_by_a_generator, failing, errors_redirected,
    ],
)  # fmt: skip
def test_what_stands_in_the_place_of_a_stream_gets_what_it_gets_line_by_line(
    function: Callable[..., Any], seed: int
) -> None:
    out = sys.stdout
    compared(lambda: (flow(function), (ROWS,)), seed, may_ask_more=True)
    assert sys.stdout is out


def test_iterations_whose_output_goes_to_a_buffer_of_their_own_overlap() -> None:
    sequential, lanes = compared(lambda: (flow(redirected), (ROWS,)), 1)
    assert lanes.duration < sequential.duration


def test_what_is_put_in_place_in_front_of_a_loop_holds_up_no_iteration() -> None:
    def main(rows):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            for row in each(rows):
                print(row, ask(row))
        return out.getvalue()

    sequential, lanes = compared(lambda: (flow(main), (ROWS,)), 1)
    assert lanes.duration < 2 * sequential.duration / 4


def test_the_stream_that_a_flow_leaves_in_place_stays_there() -> None:
    log = io.StringIO()

    def main(rows):
        sys.stdout = log
        for row in each(rows):
            print(row, ask(row))

    before = sys.stdout
    try:
        flow(main).using(backend="simulated", latency="constant:1", journal=False).run(["a", "b"])
        assert sys.stdout is log
    finally:
        sys.stdout = before
    assert [line[0] for line in log.getvalue().splitlines()] == ["a", "b"]
