"""What `explain` says of loops: it never calls independent what it cannot see."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from apxm.explaining.explanation import Explanation, Given, LoopExplained
from apxm.explaining.files import explained_file
from apxm.flows.flow import marked
from apxm.flows.twins import TWINS

HEAD = "from apxm import ask, each, flow, pure, step"


def explained(text: str, file: str = "x.py", **lengths: int) -> Explanation:
    return explained_file(file, HEAD + dedent(text), TWINS, marked, Given(lengths))


def loops(text: str) -> list[LoopExplained]:
    return [loop for function in explained(text).functions for loop in function.loops]


def verdict(text: str) -> tuple[str, str]:
    (loop,) = loops(text)
    return loop.verdict, loop.why


# --- what a heuristic of another kind called independent, and was not -------------------------------------------------

HIDDEN = {
    "state in an attribute": (
        """
        def main(rows, state):
            for row in rows:
                answer = ask(row + state.last)
                state.last = answer
        """,
        "carried",
        "line 4 comes before a call: it reads `.last`, which line 5 changes",
    ),
    "state in an attribute, behind methods": (
        """
        class Agent:
            def __init__(self):
                self.memory = ""

            def chat(self, message):
                answer = ask(self.memory + message)
                self.memory = answer
                return answer

        def main(rows):
            agent = Agent()
            for row in rows:
                print(agent.chat(row))
        """,
        "carried",
        "line 14 comes before a call: it reads `.memory`, which line 14 changes",
    ),
    "a file that is read again": (
        """
        def main(rows):
            for row in rows:
                with open("notes.txt") as file:
                    notes = file.read()
                answer = ask(row + notes)
                with open("notes.txt", "a") as file:
                    file.write(answer)
        """,
        "unknown",
        "line 4: `open` reads or writes a file; what is behind it waits, too",
    ),
    "a file, behind functions": (
        """
        def load():
            return open("notes.txt").read()

        def save(text):
            with open("notes.txt", "w") as file:
                file.write(text)

        def main(rows):
            for row in rows:
                answer = ask(row + load())
                save(answer)
        """,
        "unknown",
        "line 11: `open` reads or writes a file; what is behind it waits, too",
    ),
    "a global": (
        """
        LAST = [""]

        def note(answer):
            LAST[0] = answer

        def main(rows):
            for row in rows:
                answer = ask(row + LAST[0])
                note(answer)
        """,
        "carried",
        "line 9 comes before a call: it reads `LAST`, which line 10 adds to",
    ),
    "an index that grows": (
        """
        def main(rows, index):
            for row in rows:
                near = index.search(row)
                answer = ask(row + str(near))
                index.add(answer)
        """,
        "unknown",
        "line 4: `index.search` may change `index`; what is behind it waits, too",
    ),
    "a list that grows": (
        """
        def main(rows):
            documents = []
            for row in rows:
                near = [text for text in documents if row in text]
                documents.append(ask(row + str(near)))
        """,
        "carried",
        "line 5 comes before a call: it reads `documents`, which line 6 changes",
    ),
    "a cache by the prompt": (
        """
        cache = {}

        def cached(prompt):
            if prompt not in cache:
                cache[prompt] = ask(prompt)
            return cache[prompt]

        def main(rows):
            return [cached(row) for row in rows]
        """,
        "carried",
        None,
    ),
    "a cache of the library": (
        """
        import functools

        @functools.lru_cache
        def cached(prompt):
            return ask(prompt)

        def main(rows):
            return [cached(row) for row in rows]
        """,
        "unknown",
        "line 9: nothing is known of `cached`; what is behind it waits, too",
    ),
    "an environment": (
        """
        def main(env, rows):
            for row in rows:
                action = ask(str(env.state) + row)
                env.step(action)
        """,
        "unknown",
        "line 4: it reads `env`, which line 5 may change; what is behind it waits, too",
    ),
    "variables of the environment": (
        """
        import os

        def main(rows):
            for row in rows:
                answer = ask(row + os.environ.get("NOTES", ""))
                os.environ["NOTES"] = answer
        """,
        "carried",
        "line 6 comes before a call: it reads `.environ`, which line 7 changes",
    ),
    "an optimizer": (
        """
        from library import Optimizer

        def main(rows):
            optimizer = Optimizer()
            for row in rows:
                answer = ask(optimizer.prompt + row)
                optimizer.step(answer)
        """,
        "unknown",
        "line 7: it reads `optimizer`, which line 8 may change; what is behind it waits, too",
    ),
    "an optimizer of another module": (
        """
        from library import optimizer, update

        def main(rows):
            for row in rows:
                answer = ask(optimizer.prompt + row)
                update(answer)
        """,
        "unknown",
        "line 7: nothing is known of `update`",
    ),
    "a list of a class": (
        """
        class Agent:
            history = []

        def main(rows):
            for row in rows:
                agent = Agent()
                answer = ask(row, str(agent.history))
                agent.history.append(answer)
        """,
        "carried",
        "line 8 comes before a call: it reads `.history`, which line 9 changes",
    ),
}


def test_the_tools_of_an_sdk_are_only_told_of() -> None:
    found = verdict(
        """
        from openai import OpenAI

        client = OpenAI()
        TOOLS = [{"type": "function", "function": {"name": "lookup"}}]

        def main(rows):
            for row in rows:
                client.chat.completions.create(model="m", messages=[row], tools=TOOLS)
        """
    )
    assert found == ("independent", "no call can see what another iteration does")


@pytest.mark.parametrize("name", HIDDEN)
def test_what_it_cannot_see_it_does_not_call_independent(name: str) -> None:
    text, wanted, why = HIDDEN[name]
    found = verdict(text)
    assert found[0] == wanted
    assert why is None or found[1] == why


# --- what is carried, however it is hidden ----------------------------------------------------------------------------

CARRIED = {
    "closure": """
        def main(rows):
            state = [""]
            def remember(text): state[0] = text
            def recall(): return state[0]
            for row in rows:
                answer = ask(row + recall())
                remember(answer)
        """,
    "attribute": """
        class P:
            def run(self, rows):
                for row in rows:
                    self.last = ask(row + self.last)
        """,
    "nonlocal": """
        def main(rows):
            last = ""
            def set_last(text):
                nonlocal last
                last = text
            for row in rows:
                set_last(ask(row + last))
        """,
    "walrus": """
        def main(rows):
            last = ""
            for row in rows:
                if last := ask(row + last):
                    print(row)
        """,
    "star": """
        def main(rows):
            rest = []
            for row in rows:
                first, *rest = ask(row + str(rest)).split()
        """,
    "generator": """
        def main(rows):
            numbers = (str(i) for i in range(100))
            for row in rows:
                answer = ask(row + next(numbers))
                print(answer, next(numbers))
        """,
    "iterator advanced": """
        def main(rows):
            items = iter(rows)
            for row in items:
                print(ask(row), next(items, None))
        """,
    "default": """
        def main(rows, memo={}):
            for row in rows:
                memo[row] = ask(row + str(memo))
        """,
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_is_carried_is_seen(name: str) -> None:
    (loop,) = loops(CARRIED[name])
    assert loop.verdict == "carried"
    assert loop.each is None


def test_a_generator_that_iterations_share() -> None:
    outer, _ = loops(
        """
        def main(rows):
            numbers = (str(i) for i in range(100))
            for row in rows:
                for number in numbers:
                    print(ask(row + number))
        """
    )
    assert outer.verdict == "carried"
    assert (
        outer.why == "line 5 comes before a call: `numbers` can be gone through only once, and all iterations share it"
    )


def test_what_is_deleted_cannot_be_promised() -> None:
    (loop,) = loops(
        """
        def main(rows, extra):
            for row in rows:
                ask(row)
                del extra
        """
    )
    assert (loop.verdict, loop.each) == ("unknown", None)
    assert loop.why == "an iteration of an `each` deletes `extra`, which is not its own"


@pytest.mark.parametrize("leaving", ["break", "return row"])
def test_an_answer_may_end_a_loop(leaving: str) -> None:
    (loop,) = loops(
        f"""
        def main(rows):
            for row in rows:
                if ask(row) == "stop":
                    {leaving}
        """
    )
    assert (loop.verdict, loop.why) == ("early exit", "an answer may end it, so no iteration runs ahead")


def test_a_while_is_carried() -> None:
    (loop,) = loops(
        """
        def main(text):
            while "unsure" in text:
                text = ask(text)
        """
    )
    assert (loop.kind, loop.verdict) == ("while", "carried")


def test_what_an_item_holds_may_be_part_of_another_one() -> None:
    assert verdict(
        """
        def main(nodes):
            for node in nodes:
                node.value = ask(node.parent.value)
        """
    ) == ("carried", "it changes what it goes through")


# --- what is independent ----------------------------------------------------------------------------------------------


def test_what_is_seen_to_be_independent() -> None:
    (loop,) = loops(
        """
        import json, random, re

        def plain(text):
            return text.strip().upper()

        def main(rows):
            found, total = [], 0
            for row in rows:
                number = random.randrange(9)
                answer = ask(f"{number} {row}")
                parts = answer.split(",")
                parts.append(plain(answer))
                value = json.loads(answer)
                found.append({"parts": parts, "match": re.search("a", answer), **value})
                total += len(parts)
                print(row, "done")
            return found, total
        """
    )
    assert (loop.verdict, loop.why) == ("independent", "no call can see what another iteration does")
    assert loop.each == "x.py:9"
    assert [(line.at.line, line.does) for line in loop.lines] == [(15, "later"), (16, "later"), (17, "later")]


def test_what_waits_behind_the_last_call() -> None:
    (loop,) = loops(
        """
        def main(rows):
            found = []
            for row in each(rows):
                found.append(ask(row))
                if len(found) % 10 == 0:
                    print(len(found))
            return found
        """
    )
    assert loop.verdict == "independent"
    assert loop.why == (
        "no call can see what another iteration does; lines 5, 6 and 7 wait for theirs, behind the last call"
    ).replace("wait for theirs", "wait for their turn")
    assert [(line.at.line, line.does, line.why) for line in loop.lines] == [
        (5, "waits", "it changes `found`, which line 6 reads"),
        (6, "waits", "it reads `found`, which line 5 changes"),
        (7, "later", "it is printed"),
        (7, "waits", "it reads `found`, which line 5 changes"),
    ]


def test_a_pure_function_is_one_that_can_be_seen() -> None:
    text = """
        import library

        {}
        def clean(text):
            return library.clean(text)

        def main(rows):
            return [ask(clean(row)) for row in rows]
        """
    assert verdict(text.format("@pure"))[0] == "independent"
    assert verdict(text.format("")) == (
        "unknown",
        "line 9: nothing is known of `library.clean`; what is behind it waits, too",
    )


def test_a_line_that_waits_in_a_function_names_both() -> None:
    (loop,) = loops(
        """
        seen = []

        def noting(text):
            seen.append(text)
            return len(seen)

        def main(rows):
            for row in rows:
                noting(ask(row))
        """
    )
    inside = [line for line in loop.lines if line.inside is not None]
    assert {(line.at.line, line.inside.function, line.inside.line) for line in inside if line.inside} == {
        (10, "noting", 5),
        (10, "noting", 6),
    }


# --- flows, and loops that are promised -------------------------------------------------------------------------------


def test_a_promise_that_cannot_be_kept_is_an_error() -> None:
    (loop,) = loops(
        """
        @flow
        def main(rows):
            last = ""
            for row in each(rows):
                last = ask(row + last)
        """
    )
    assert (loop.is_error, loop.verdict, loop.promised) == (True, "carried", True)
    assert loop.help == "write `for` without `each`, or collect what iterations find and use it behind the loop"
    assert [(line.at.line, line.at.column) for line in loop.lines] == [(6, 26)]


def test_a_loop_that_carries_and_promises_nothing_is_written_as_it_has_to_be() -> None:
    (loop,) = loops(
        """
        @flow
        def main(rows):
            last = ""
            for row in rows:
                last = ask(row + last)
        """
    )
    assert (loop.is_error, loop.verdict, loop.promised) == (False, "carried", False)
    assert loop.help == "where iterations need not see it, collect what they find, and use it behind the loop"


def test_calls_in_a_straight_line() -> None:
    (function,) = explained(
        """
        @flow
        def main(topic):
            pros = ask(f"for {topic}")
            cons = ask(f"against {topic}")
            return ask("weigh", pros, cons)
        """
    ).functions
    assert [[spot.line for spot in group] for group in function.together] == [[4, 5]]


def test_lookahead() -> None:
    assert verdict(
        """
        @flow
        def main(rows):
            for row in each(rows, lookahead=3):
                if ask(row) == "stop":
                    break
        """
    ) == ("early exit", "an answer may end it: 3 iterations run ahead")


# --- code of others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "client.chat.completions.create(messages=[row])",
        "self.client.responses.create(input=row)",
        "get_client().messages.create(messages=row)",
        "chain.invoke(row)",
        "litellm.completion(row)",
    ],
)
def test_calls_of_models_are_known_by_how_they_are_written(call: str) -> None:
    (loop,) = loops(
        f"""
        def main(self, rows, client, chain, get_client):
            found = []
            for row in rows:
                found.append({call})
            return found
        """
    )
    assert loop.calls.low == "len(rows)"
    assert loop.each == "x.py:4"


def test_a_script_is_read_as_a_function_of_its_names() -> None:
    (function,) = explained(
        """
        import openai

        client = openai.OpenAI()
        rows = ["a", "b", "c"]
        found = []
        for row in rows:
            answer = client.chat.completions.create(messages=[row])
            found.append(answer)

        if __name__ == "__main__":
            print(client.responses.create(input=found))
        """
    ).functions
    (loop,) = function.loops
    assert (function.name, function.calls.low, loop.verdict) == ("<module>", "4", "independent")


def test_what_an_event_loop_runs_no_lane_runs() -> None:
    assert verdict(
        """
        async def main(rows, client):
            for row in rows:
                await client.chat.completions.create(messages=row)
        """
    ) == ("unknown", "an event loop runs this function, and lanes run none of its loops")


def test_threads_of_others() -> None:
    assert verdict(
        """
        from concurrent.futures import ThreadPoolExecutor

        def work(row):
            return ask(row)

        def main(rows):
            with ThreadPoolExecutor() as pool:
                return list(pool.map(work, rows))
        """
    ) == ("unknown", "`map` calls it, one after the other or in threads of its own")


# --- nothing of it runs -----------------------------------------------------------------------------------------------


def test_nothing_of_a_file_runs_and_nothing_that_it_imports_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("raise SystemExit('it ran')\ndef clean(text):\n    return text.strip()\n")
    (tmp_path / "json.py").write_text("raise SystemExit('it ran')\n")
    text = """
        import antigravity, json, unheard_of
        from beside import clean
        raise SystemExit("it ran")

        @unheard_of.decorator(print("it ran"))
        class Odd(unheard_of.Base, metaclass=unheard_of.Meta):
            x = print("it ran")

        def main(rows, x=print("it ran")):
            return [ask(clean(row) + json.dumps(row)) for row in rows]
        """
    before = set(sys.modules)
    found = explained(text, str(tmp_path / "script.py"))
    (loop,) = (loop for function in found.functions for loop in function.loops)
    assert not {"antigravity", "unheard_of", "beside"} & (set(sys.modules) - before)
    assert loop.why == "line 11: `json.dumps` may change `json`; what is behind it waits, too"


def test_a_comment_promises_as_it_does_where_the_script_runs() -> None:
    (loop,) = loops(
        """
        def main(rows, client):
            found = []
            for row in rows:  # apxm: each
                found.append(client.responses.create(input=row))
            return found
        """
    )
    assert (loop.promised, loop.verdict, loop.each) == (True, "independent", None)


def test_a_comment_promises_a_loop_of_the_module() -> None:
    first, second = loops(
        """
        for row in "abc":  # apxm: each
            answer = ask(row)
            print(answer)
        if __name__ == "__main__":
            print([ask(row) for row in "abc"])  # apxm: each
        """
    )
    assert (first.promised, first.verdict, first.each) == (True, "independent", None)
    assert (second.promised, second.verdict) == (True, "independent")


@pytest.mark.parametrize("call", ["HANDLERS[row](answer)", "max(answer, 'm', key=HANDLERS[row])"])
@pytest.mark.parametrize("table", ["{'a': noting, 'b': str}", "[noting, str]", "(noting, str)"])
def test_one_of_the_functions_in_a_table_is_called(table: str, call: str) -> None:
    (loop,) = loops(
        f"""
        seen = []

        def noting(text):
            seen.append(text)
            return len(seen)

        HANDLERS = {table}

        @flow
        def main(rows):
            for row in each(rows):
                answer = ask(row)
                {call}
        """
    )
    assert [(line.does, line.why) for line in loop.lines if line.at.line == 14] == [
        ("waits", "`HANDLERS` holds functions, of which some change `seen`")
    ]


def test_a_promise_is_kept_or_refused_whatever_was_not_there_yet_when_the_flow_was_made() -> None:
    """What may be called waits for its turn, and so does all behind it: that is found out where all is there."""
    source = """
        seen = []

        def noting(text):
            seen.append(text)
            return len(seen)

        @flow
        def main(rows):
            total = 0
            found = []
            for row in each(rows):
                found.append(f"{seen} {total}")
                total += len(row)
                ask(row)
                (lambda text: ask(text + str(total)))(row)
            return found, total

        HANDLERS = [noting]
        """
    (loop,) = loops(source)
    module: dict[str, Any] = {}
    text = HEAD + dedent(source)
    linecache.cache["/drawn/table.py"] = (len(text), None, text.splitlines(keepends=True), "/drawn/table.py")
    exec(compile(text, "/drawn/table.py", "exec"), module)
    assert callable(module["main"].lanes)
    assert not loop.is_error


def test_names_of_a_module_may_be_any() -> None:
    (function,) = explained(
        """
        source = tree = code = codes = None

        def main(rows):
            return [ask(row) for row in rows]
        """
    ).functions
    assert function.calls.low == "len(rows)"


@pytest.mark.parametrize(
    ("body", "items", "is_told"),
    [
        ("    print(row)", "loading(rows)", True),
        ("    seen.append(row)", "enumerate(loading(rows))", True),
        ("    found = []; found.append(row)", "loading(rows)", False),
        ("    print(row)", "list(rows)", False),
    ],
)
def test_a_generator_is_gone_through_ahead(body: str, items: str, is_told: bool) -> None:
    text = f"""
        seen = []

        def loading(rows):
            for row in rows:
            {body}
                yield row

        @flow
        def main(rows):
            return [ask(f"{{row}}") for row in each({items})]
    """
    (loop,) = [loop for loop in loops(text) if loop.promised]
    assert ("`loading` is gone through ahead of the iterations" in loop.why) is is_told


def test_a_context_variable_that_an_iteration_leaves_set_is_told_of() -> None:
    (loop,) = loops(
        """
        from contextvars import ContextVar

        USER = ContextVar("user")

        def main(rows):
            for row in rows:
                USER.set(row)
                ask(row)
        """
    )
    (line,) = loop.lines
    assert (loop.verdict, line.at.line, line.does) == ("independent", 8, "trusted")
    assert "there for its own iteration alone" in line.why


def test_what_waits_for_an_attribute_takes_its_time() -> None:
    found = explained(
        """
        from apxm import each

        class State:
            last = ""

        state = State()

        def main():
            for row in each(["a", "b", "c"]):
                state.last = ask(row, state.last)
        """
    )
    (times,) = (function.times for function in found.functions if function.name == "main")
    assert times is not None
    assert {each.predicted_ms.low for each in times.at} == {3000.0}
