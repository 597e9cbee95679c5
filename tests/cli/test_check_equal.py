"""``apxm check --equal``: what tells a script from itself overlapped, and what does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import ApxmError, UsageError
from apxm.scripts import copies
from apxm.scripts.copies import Copied, Folder
from apxm.scripts.equality import Comparison, Equality
from apxm.scripts.script import Script
from tests.cli.conftest import Apxm


def compared(text: str, *arguments: str, **options: Any) -> Comparison:
    Path("s.py").write_text(text)
    return Equality(Script("s.py", arguments), **options).compared()


def categories(found: Comparison) -> list[str]:
    return [difference.category for difference in found.differences]


EQUAL = """\
import json, random, sys, time
from pathlib import Path
from apxm import ask, each, flow

@flow
def label(rows):
    found = []
    for row in each(rows):
        example = random.choice("xyz")
        answer = ask(f"label {row} {example}")
        while answer[17] in "02468":
            answer = ask(f"label {row} {example}")
            time.sleep(0.5)
        found.append(answer)
        with open("out.jsonl", "a") as file:
            file.write(json.dumps([row, answer]) + "\\n")
        print(row, answer)
    return found

label(sys.argv[1:])
print(Path(__file__).resolve().parent, Path.cwd(), sys.stdin.read())
sys.exit(3)
"""


def test_a_script_whose_iterations_are_independent_is_equal() -> None:
    Path("s.py").write_text(EQUAL)
    found = Equality(Script("s.py", list("abcdef")), stdin=b"read").compared()
    assert (found.equal, found.schedules, found.differences, found.unstable) == (True, 3, [], [])
    assert (found.ending, found.ahead, found.not_copied) == ("SystemExit: 3", 0, [])
    assert found.calls >= 6
    assert found.overlapped_seconds < found.seconds
    assert sorted(os.listdir()) == ["s.py"]  # they wrote into copies


def loop(body: str, before: str = "") -> str:
    lines = "\n    ".join(body.strip().splitlines())
    return f"import os\nfrom pathlib import Path\nfrom apxm import ask, pure\n{before}\n" + (
        f'for row in ["ab", "ac", "ab", "ad"]:  # apxm: each\n    {lines}\n'
    )


CACHE = """\
cache = {}
@pure
def known(key):
    if key not in cache:
        cache[key] = ask(key)
    return cache[key]
"""
INDEX = """\
texts = []
@pure
def nearest(text):
    return [other for other in texts if other[0] == text[0]][-2:]
"""
READ = """\
@pure
def notes():
    return Path("notes.txt").read_text()
Path("notes.txt").write_text("")
"""
SKIPPED = """\
@pure
def is_done(row):
    return os.path.exists(row + ".txt")
"""


@pytest.mark.parametrize(
    ("text", "expected", "detail"),
    [
        (loop("print(known(row))", CACHE), ["requests"], '+ <module>[2] at known:8: ask "ab"'),
        (
            loop("print(ask('sum', row, *nearest(row)))\ntexts.append(row)", INDEX),
            ["requests", "output"],
            '- <module>[1] at <module>:10: ask "sum\\n\\nContext 1: ac\\n\\nContext 2: ab"',
        ),
        (
            loop('answer = ask(row, notes())\nwith open("notes.txt", "a") as file:\n    file.write(answer)', READ),
            ["requests", "files"],
            None,
        ),
        (
            loop("if not is_done(row):\n    Path(row + '.txt').write_text(ask(row))", SKIPPED),
            ["requests"],
            '+ <module>[2] at <module>:10: ask "ab"',
        ),
    ],
    ids=["cache", "index", "file", "exists"],
)
def test_iterations_that_need_each_other_are_found(text: str, expected: list[str], detail: str | None) -> None:
    found = compared(text)
    assert not found.equal
    assert categories(found) == expected
    assert detail is None or detail in found.differences[0].details


def test_other_values_and_endings_are_found() -> None:
    text = """\
import sys
from apxm import ask, each, flow, pure
kept = []

@pure
def seen():
    return len(kept)

@flow
def main(rows):
    found = []
    for row in each(rows):
        ask(row)
        found.append(seen())
        kept.append(row)
    return found

sys.exit(sum(main(["a", "b", "c"])))
"""
    found = compared(text)
    assert categories(found) == ["values", "ending"]
    assert found.differences[0].message == "the flow main returns something else"
    assert found.differences[1].message.endswith(", and line by line with SystemExit: 3")


def test_what_a_failure_would_have_prevented_is_no_difference() -> None:
    found = compared(loop("answer = ask(row)\nprint(answer)\nif row == 'ac':\n    raise KeyError(row)"))
    assert (found.equal, found.ending) == (True, "KeyError: 'ac'")
    assert (found.calls, found.ahead) == (2, 2)


def test_what_differs_line_by_line_cannot_be_compared() -> None:
    found = compared(loop("print(ask(row), os.getpid())"))
    assert not found.equal
    assert (found.differences, [difference.category for difference in found.unstable]) == ([], ["output"])


def test_a_script_that_does_not_end_is_told() -> None:
    with pytest.raises(ApxmError, match=r"line by line the script did not end within 1 s") as told:
        compared("import os\nos.read(os.pipe()[0], 1)\n", timeout_s=1)
    assert told.value.where == "s.py"


def test_a_script_that_ends_its_process_is_told() -> None:
    with pytest.raises(ApxmError, match="the script ended its process itself, or could not begin: exit status 7"):
        compared("import os\nos._exit(7)\n")


def test_no_key_of_a_real_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    found = compared("import os\nopen('keys', 'w').write(' '.join(v for k, v in os.environ.items() if '_KEY' in k))\n")
    assert found.equal
    assert compared("import os\nassert 'secret' not in os.environ.values()\n").ending == "exit status 0"


# --- copies ----------------------------------------------------------------------------------------------------------


def test_what_is_not_copied_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LARGEST_BYTES", 100)
    root = tmp_path / "root"
    for folder in (".git", "data/__pycache__", "venv"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x").write_text("x")
    (root / "large").write_text("x" * 101)
    (root / "data" / "kept").write_text("kept")
    (root / "inside").symlink_to(root / "data" / "kept")
    (root / "outside").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    folder = Folder(str(root))
    assert folder.left_out == [
        Copied(".git", "kept apart by its name"),
        Copied("large", "too large"),
        Copied("outside", "a link to elsewhere"),
        Copied("pipe", "no regular file"),
        Copied("venv", "kept apart by its name"),
    ]
    copy = tmp_path / "copy"
    folder.copy_to(str(copy))
    assert sorted(map(str, (path.relative_to(copy) for path in copy.rglob("*")))) == ["data", "data/kept", "inside"]
    (copy / "inside").write_text("changed")
    assert (root / "data" / "kept").read_text() == "kept"
    (copy / "new").write_text(f"at {copy}")
    assert folder.written_in(str(copy)) == {"data/kept": b"changed", "new": f"at {root}".encode()}
    (copy / "data" / "kept").unlink()
    assert folder.written_in(str(copy))["data/kept"] is None


def test_a_folder_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_FILES", 1)
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="the folder is too large to be copied: it has more than 1 files"):
        Folder(str(tmp_path))


@pytest.fixture
def no_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_input")
def test_the_command_says_what_it_found(apxm: Apxm) -> None:
    Path("s.py").write_text(loop("print(known(row))", CACHE))
    ended = apxm("check", "--equal", "--seed", "4", "s.py", "--json", "--seed")
    assert (ended.status, ended.err) == (1, "")
    first, detail, last = ended.out.splitlines()
    assert first == "different: calls: 1 made besides"
    assert detail == '  + <module>[2] at known:8: ask "ab"'
    assert last.startswith("not equal: 3 calls; ")


@pytest.mark.usefixtures("no_input")
def test_an_equal_script_is_evidence(apxm: Apxm) -> None:
    Path("s.py").write_text("import sys\nfrom apxm import ask\nprint([ask(row) for row in sys.argv[1:]])\n")
    ended = apxm("check", "--equal", "--schedules", "2", "s.py", "a", "--each", "s.py:3", "b")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("equal in 2 schedules of latencies: 2 calls; ")
    assert ended.out.endswith("that is evidence, and no proof: other answers may lead elsewhere\n")
    found = json.loads(apxm("check", "--equal", "--json", "--each", "s.py:3", "s.py", "a", "b").out)
    assert (found["equal"], found["schedules"], found["script"]) == (True, 3, "s.py")
    assert set(found) == set(Comparison.__struct_fields__)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--equal", "a.ais"], "error: a.ais: --equal compares the runs of a script of Python (.py)"),
        (["--seed", "1", "a.ais"], "error: --seed is for --equal, which compares the runs of a script"),
        (["--equal", "--timeout", "0", "s.py"], "error: the timeout"),
        (["--equal", "--each", "s.py:1", "s.py"], "s.py:1:1: error[no-loop]: no loop begins in this line"),
        (["--equal", "none.py"], "error: none.py: this is not there"),
    ],
)
def test_what_cannot_be_compared_is_refused(apxm: Apxm, arguments: list[str], said: str) -> None:
    Path("s.py").write_text("print(1)\n")
    ended = apxm("check", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(said)


def test_an_each_that_runs_as_it_stands_has_the_same_iterations() -> None:
    text = """\
from apxm import ask, each, flow

@flow
def label(rows):
    return [ask("label", row) for row in each(iter(each(rows)))]

def twice(rows):
    for row in each(rows):
        yield ask("one", row), ask("two", row)

for rows in each(["ab", "cd"]):
    print(ask("before", rows), label(rows), list(twice(rows)))
"""
    found = compared(text)
    assert (found.equal, found.calls, found.differences) == (True, 14, [])
    assert found.overlapped_seconds < found.seconds


@pytest.mark.usefixtures("no_input")
@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        ("int(ask(row))", 1, "equal as far as it comes, and no more was compared: 1 call; "),
        ("sys.exit(ask(row))", 0, "equal in 3 schedules of latencies: 1 call; "),
    ],
)
def test_what_an_exception_ends_was_not_compared_to_its_end(apxm: Apxm, ends: str, status: int, said: str) -> None:
    Path("s.py").write_text(f"import sys\nfrom apxm import ask\nfor row in 'abc':\n    {ends}\n")
    ended = apxm("check", "--equal", "s.py")
    assert ended.status == status
    assert ended.out.startswith(said)
    assert ("`answers` of the backend" in ended.out) == bool(status)


WRAPPED = """\
from apxm import ask, each, flow
import apxm
from beside import shown

class Bar:
    def __init__(self, items):
        self.items = items
    def __iter__(self):
        for number, item in enumerate(self.items):
            yield item

def told(items):
    for item in items:
        yield item
    print("end")

def asked(items):
    for item in items:
        yield item, ask("drawn", item)

@flow
def main(rows):
    found = []
    HEAD
        found.append(ask("label", row))
        while found[-1][17] in "02468":
            found[-1] = ask("label", row)
    return found

@flow
def whole(rows):
    return EXPRESSION

print(main("aabca"), whole("aba"), shown("ab"))
"""
BESIDE = """\
from apxm import ask, each, flow

def bar(items):
    yield from items

@flow
def shown(rows):
    return [ask("beside", row) for row in bar(each(rows))]
"""


@pytest.mark.parametrize(
    ("head", "expression"),
    [
        ("for row in Bar(each(rows)):", "[ask(row) for row in Bar(each(rows))]"),
        ("for row in told(apxm.each(rows)):", "[[ask(one, two) for two in each(rows)] for one in each(rows)]"),
        ("for row in sorted(each(rows)):", "{one: {ask(one, two) for two in each('cd')} for one in each(rows)}"),
        ("for row in list(each(rows)):", "[ask(row) for row in list(each(rows))]"),
        ("for _, row in zip(range(9), told(each(rows))):", "[[ask(row) for _ in 'ab'] for row in sorted(each(rows))]"),
        ("for row in told(each(iter(rows))):", "sum(len(ask(row)) for row in told(each(rows)))"),
        ("for row, drawn in asked(each(rows)):", "[ask(row, drawn) for row, drawn in asked(each(rows))]"),
        ("for row in each(sorted(Bar(each(rows)))):", "[ask(one, two) for one in each(rows) for two in each('cd')]"),
        (
            "for row in sorted([ask(part) for part in told(each(rows))]):",
            "list(map(lambda one: [ask(one, two) for two in told(each('cd'))], rows))",
        ),
    ],
)
def test_what_stands_around_an_each_changes_no_iteration(head: str, expression: str) -> None:
    Path("beside.py").write_text(BESIDE)
    found = compared(WRAPPED.replace("HEAD", head).replace("EXPRESSION", expression))
    assert (found.differences, found.unstable, found.ending) == ([], [], "exit status 0")
    assert found.equal


def test_a_promised_loop_may_have_an_each_inside_of_it() -> None:
    Path("beside.py").write_text(BESIDE)
    found = compared(
        "from apxm import ask, each\nfrom beside import shown\ndef main(rows):\n"
        "    for row in rows:  # apxm: each\n"
        "        print([ask(row, word) for word in sorted(each('ab'))])\n"
        "    for row in sorted(each(rows)):\n        print(ask(row))\n"
        "for row in 'ab':  # apxm: each\n    print(shown(row), [ask(row, word) for word in sorted(each('ab'))])\n"
        "main('ab')\n"
    )
    assert (found.equal, found.differences, found.ending) == (True, [], "exit status 0")


@pytest.mark.usefixtures("no_input")
def test_a_flow_that_is_refused_is_refused_with_its_own_place(apxm: Apxm) -> None:
    Path("s.py").write_text(
        "from apxm import ask, each, flow\nprint(ask('before'))\n@flow\ndef many(rows):\n"
        "    for row in each(rows):\n        yield ask(row)\n"
    )
    run, check = apxm("run", "s.py"), apxm("check", "--equal", "s.py")
    assert (check.status, check.out) == (run.status, "") == (2, "")
    place = f"error: {Path('s.py').resolve()}:6: an iteration of an `each` yields"
    assert check.err.startswith(place)
    assert check.err in run.err


def test_where_a_script_is_may_be_told_to_a_model() -> None:
    found = compared("import os\nfrom apxm import ask\nprint(ask(os.getcwd()))\nraise ValueError(os.getcwd())\n")
    assert (found.equal, found.ending) == (True, f"ValueError: {os.path.realpath(os.getcwd())}")


def test_what_python_reads_and_no_tree_holds_is_compared() -> None:
    found = compared(f"from apxm import ask, each\nx = {'+'.join(['1'] * 2500)}\nprint(x, ask('a'))\n")
    assert (found.equal, found.calls, found.ending) == (True, 1, "exit status 0")
