"""Plain loops of a script that its user promises: what overlaps, what is left, what is refused. On virtual time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apxm.errors import UsageError
from apxm.rewriting.promises import HERE, Promises
from apxm.scripts.script import Script
from tests.lanes.comparing import Seen, ran

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a script changes in its process."""
    monkeypatch.chdir(tmp_path)
    main, modules = sys.modules["__main__"], set(sys.modules)
    path, finders, argv = sys.path[:], sys.meta_path[:], sys.argv
    yield
    HERE.promises, HERE.overlap = Promises(), True
    sys.path[:], sys.meta_path[:], sys.argv = path, finders, argv
    for name in sys.modules.keys() - modules:
        del sys.modules[name]
    sys.modules["__main__"] = main


def took(text: str, *each: str, overlapped: bool = True) -> tuple[Seen, float]:
    """What anybody sees of a script in which each call takes a second, and how many it takes."""
    Path("s.py").write_text(text)
    sys.modules.pop("lib", None)
    script = Script("s.py", each=each, overlapped=overlapped)
    seen, trace = ran(script.run, lambda: SECOND)
    return seen, trace.duration / SECOND


def same(text: str, *each: str) -> float:
    """How long a script takes that anybody sees the same of as without promises."""
    alone, _ = took(text, *each, overlapped=False)
    seen, seconds = took(text, *each)
    assert seen == alone
    return seconds


MODULE = '''"""What it is."""
from __future__ import annotations
from os.path import *
from apxm import ask

def helped(row):
    return ask(f"help {row}")

found = []
count = 0
for row in ["a", "b", "c"]:  # apxm: each
    first = helped(row)
    answer = ask(f"again {row}", first)
    found.append(answer)
    count += 1
    print(row, answer)
"no documentation"
print(row, first, answer, count, found, __doc__)
print(sorted(name for name in globals() if name < "a" and "apxm" not in name))
'''


def test_a_loop_of_the_module_overlaps_and_leaves_what_it_leaves() -> None:
    assert same(MODULE) == 2.0


def test_a_loop_is_promised_by_its_place() -> None:
    assert same(MODULE.replace("  # apxm: each", "")) == 6.0
    assert same(MODULE.replace("  # apxm: each", ""), "s.py:11") == 2.0
    assert same(MODULE.replace("# apxm: each", "#apxm:  each ?"), str(Path.cwd() / "s.py:11")) == 2.0


FUNCTIONS = """\
import sys
from apxm import ask, flow

def direct(rows):
    found = []
    for k, row in enumerate(
        rows
    ):  # apxm: each
        found.append(ask(f"{k} {row}"))
    return found

class Pipeline:
    def __init__(self):
        self.__kept = []

    def run(self, rows):
        for row in rows:  # apxm: each
            answer = ask(f"p {row}")
            self.__kept.append(answer)
        return self.__kept

    @staticmethod
    def listed(rows):
        return [ask(f"l {row}") for row in rows]  # apxm: each

@flow
def flowing(rows):
    for row in rows:  # apxm: each
        print(ask(f"f {row}"))

def made(prefix):
    def inner(rows):
        return {row: ask(prefix + row) for row in rows}  # apxm: each
    return inner

def main(rows):
    print(direct(rows), Pipeline().run(rows), Pipeline.listed(rows), made("m ")(rows))
    flowing(rows)

if __name__ == "__main__":
    list(map(main, [["a", "b", "c"]]))
"""


def test_loops_of_functions_overlap_whoever_calls_them() -> None:
    assert same(FUNCTIONS) == 5.0
    assert same(FUNCTIONS.replace("  # apxm: each", "")) == 15.0


def test_functions_are_what_they_are_without_promises() -> None:
    text = FUNCTIONS + "import inspect, pickle\nprint(inspect.signature(direct), direct.__name__, direct.__module__)\n"
    text += "print(pickle.loads(pickle.dumps(direct)) is direct, inspect.getsource(direct)[:16])\n"
    seen, _ = took(text)
    assert seen.output.endswith("(rows) direct __main__\nTrue def direct(rows)\n")


def test_modules_of_the_script_have_promises_too() -> None:
    Path("lib.py").write_text("from apxm import ask\n\ndef work(rows):\n    return [ask(row) for row in rows]\n")
    text = "import lib\nprint(lib.work(['a', 'b']))\n"
    assert same(text, "lib.py:4") == 1.0
    assert same(text) == 2.0


def test_a_name_of_the_module_that_a_function_reads_waits_for_its_turn() -> None:
    text = """\
from apxm import ask

def seen():
    return answer

for row in ["a", "b", "c"]:  # apxm: each
    answer = ask(row)
    print(ask("more"), seen())
"""
    assert same(text) == 2.0  # only `seen` waits


def test_a_loop_in_a_block_of_the_module_overlaps() -> None:
    text = """\
from pathlib import Path
from apxm import ask

answer = "none"
if __name__ == "__main__":
    with open("out", "w") as file:
        try:
            for row in ["a", "b", "c"]:  # apxm: each
                answer = ask(row)
                inner = ask("inner", answer)
                for letter in row:
                    file.write(inner + letter)
                if row == "b":
                    raise KeyError(row)
        except KeyError as error:
            print("caught", error, answer, inner)
print(answer, Path("out").read_text())
"""
    alone, _ = took(text, overlapped=False)
    seen, seconds = took(text)
    assert (seen.value, seen.raised, seen.output) == (alone.value, alone.raised, alone.output)
    assert set(alone.asked) < set(seen.asked)  # line by line the last one would not have begun
    assert seconds < 4.0


# --- what is refused -------------------------------------------------------------------------------------------------

LOOPS = """\
import asyncio
rows = []
while rows:
    pass
for row in rows:
    pass
class Kept:
    for row in rows:
        pass
async def main():
    for row in rows:
        pass
    async for row in rows:
        pass
x = 1
print([row for row in rows])
# the end

late = lambda: [row for row in rows]
"""


def refused(*each: str) -> str:
    """What is said where a script's loops cannot be promised."""
    with pytest.raises(UsageError) as raised:
        Script("s.py", each=each)
    return str(raised.value)


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ("s.py", "--each s.py: expected FILE.py:LINE, the place of a loop"),
        ("s.py:x", "--each s.py:x: expected FILE.py:LINE, the place of a loop"),
        ("t.py:1", "--each t.py:1: the file cannot be read: No such file or directory"),
        ("bad.py:1", "--each bad.py:1: the file is no Python"),
    ],
)
def test_what_is_no_place_of_a_loop_is_refused(each: str, said: str) -> None:
    Path("bad.py").write_text("for x in in\n")
    Path("s.py").write_text(LOOPS)
    assert refused(each) == said


@pytest.mark.parametrize(
    ("line", "column", "said", "nearest"),
    [
        (6, 5, "error[no-loop]: no loop begins in this line", 5),
        (15, 1, "error[no-loop]: no loop begins in this line", 16),
        (17, 1, "error[no-loop]: no loop begins in this line: it is a comment", 16),
        (18, 1, "error[no-loop]: no loop begins in this line: it is empty", 16),
        (3, 1, "error[carried]: each turn of a `while` decides whether there is another one", 5),
        (8, 5, "error[unknown]: it stands in the body of the class Kept, and not in a function", 5),
        (11, 5, "error[unknown]: an event loop runs this function, and lanes run none of its loops", 16),
        (13, 5, "error[unknown]: an event loop runs this function, and lanes run none of its loops", 16),
        (19, 1, "error[unknown]: it stands in a lambda, and not in a function under `def`", 16),
    ],
)
def test_what_is_no_loop_is_said_as_explain_says_it(line: int, column: int, said: str, nearest: int) -> None:
    Path("s.py").write_text(LOOPS)
    first, *shown, help = refused(f"s.py:{line}").splitlines()
    assert first == f"s.py:{line}:{column}: {said}"
    assert shown[0] == f" {line} | {LOOPS.splitlines()[line - 1]}"
    assert help.strip() == f"help: the nearest loop is s.py:{nearest}: `{LOOPS.splitlines()[nearest - 1]}`"


def test_a_line_behind_the_last_one_and_a_file_without_loops() -> None:
    Path("s.py").write_text("x = 1\n")
    for line in ("0", "99"):
        assert refused(f"s.py:{line}") == (
            f"s.py:1:1: error[no-loop]: there is no line {line}: the file has 1\n"
            " 1 | x = 1\n"
            "   | ^^^^^\n"
            "   help: there is no loop in this file that could be promised"
        )
    Path("s.py").write_text("")
    assert refused("s.py:1").startswith("s.py:1:1: error[no-loop]: no loop begins in this line: it is empty\n")


def test_all_that_is_wrong_is_said_at_once() -> None:
    Path("s.py").write_text(LOOPS)
    said = refused("s.py:5", "s.py:6", "t.py:1", "s.py:3")
    assert [line for line in said.splitlines() if "--each" in line or "error[" in line] == [
        "s.py:6:5: error[no-loop]: no loop begins in this line",
        "--each t.py:1: the file cannot be read: No such file or directory",
        "s.py:3:1: error[carried]: each turn of a `while` decides whether there is another one",
    ]


def test_a_comment_behind_no_loop_is_refused() -> None:
    Path("s.py").write_text("x = '# apxm: each'\nprint(x)  # apxm: each\nfor y in x:\n    pass\n")
    file = Path.cwd() / "s.py"
    assert refused() == (
        f"{file}:2:11: error[no-loop]: `# apxm: each` stands behind no loop\n"
        " 2 | print(x)  # apxm: each\n"
        "   |           ^^^^^^^^^^^^\n"
        f"   help: the nearest loop is {file}:3: `for y in x:`"
    )


def test_a_comment_in_a_body_is_none_of_its_loop() -> None:
    Path("s.py").write_text("for x in 'a':\n    print(x)  # apxm: each\n")
    with pytest.raises(UsageError, match="stands behind no loop"):
        Script("s.py")


def test_a_promise_that_cannot_hold_names_the_line() -> None:
    text = "from apxm import ask\nlast = ''\nfor row in 'ab':  # apxm: each\n    last = ask(row + last)\nprint(last)\n"
    seen, seconds = took(text)
    assert seen.raised == (
        f"UsageError: {Path.cwd() / 's.py'}:4: each iteration needs what the one before it left in `last` (hint: "
        "write `for` without `each`, or collect what iterations find and use it behind the loop)"
    )
    assert (seen.asked, seconds) == ([], 0.0)
