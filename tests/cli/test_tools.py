"""``apxm tools``, and runs that call tools."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Apxm, Start
from tests.tools.processes import fifo, has_ended

PROGRAM = """
agent A {
    capability search(q: str, limit: int = 2) -> list[str] readonly;
    capability publish(text: str) -> str
    capability shout(text: str) -> str readonly
    @entry flow main(topic: str) -> str {
        search(topic) -> hits
        shout(topic) -> loud
        print(hits, loud)
        publish("" + hits) -> address
        return address
    }
}
"""
FUNCTIONS = """
from pathlib import Path

def search(q: str, limit: int = 5) -> list[str]:
    return [f"{q} {number}" for number in range(limit)]

async def publish(text: str) -> str:
    calls = Path("published").read_text() if Path("published").exists() else ""
    Path("published").write_text(calls + text + "\\n")
    if not Path("open").exists():
        raise ValueError("the press is closed")
    return f"published {text}"
"""
CONFIG = """
[tools.search]
python = "functions_of_tests:search"
[tools.publish]
python = "functions_of_tests:publish"
[tools.shout]
command = ["tr", "a-z", "A-Z"]
"""
SHOUTED = '{"TEXT":"BEES"}'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "w.ais").write_text(PROGRAM)
    (tmp_path / "functions_of_tests.py").write_text(FUNCTIONS)
    (tmp_path / ".apxm").mkdir()
    (tmp_path / ".apxm/config.toml").write_text(CONFIG)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "functions_of_tests", raising=False)
    monkeypatch.setenv("APXM_TRUST", "1")
    return tmp_path


def test_a_run_with_a_simulated_model_touches_no_world_unless_that_is_said(apxm: Apxm, project: Path) -> None:
    dry = apxm("execute", "w.ais", "bees", "--tool-latency", "0")
    assert dry.status == 0
    assert "tools: simulated, so nothing is really called (search, shout, publish); --real-tools calls them" in dry.err
    assert apxm("execute", "w.ais", "bees", "--tool-latency", "0").out == dry.out
    assert not (project / "published").exists()
    (project / "open").touch()
    real = apxm("execute", "w.ais", "bees", "--real-tools")
    assert (real.status, real.out) == (0, f'["bees 0","bees 1"] {SHOUTED}\npublished ["bees 0","bees 1"]\n')
    assert "simulated, so" not in real.err
    assert "is journaled" in real.err


def test_a_failure_is_told_with_its_place_and_the_words_of_the_tool(apxm: Apxm, project: Path) -> None:
    del project
    ended = apxm("execute", "w.ais", "bees", "--real-tools", "--quiet")
    assert ended.status == 1
    assert "w.ais:10:9: address failed (tool_failed): tool 'publish': ValueError: the press is closed\n" in ended.err


def test_all_that_is_wrong_is_told_before_the_first_call(apxm: Apxm, project: Path) -> None:
    config = CONFIG.replace("functions_of_tests:search", "functions_of_tests:find").replace('"tr"', '"no-such-program"')
    (project / ".apxm/config.toml").write_text(config.replace("[tools.publish]", "[tools.print]"))
    ended = apxm("execute", "w.ais", "bees", "--real-tools")
    assert (ended.status, ended.out) == (2, "")
    assert "tool 'search': " in ended.err
    assert "cannot be loaded: AttributeError" in ended.err
    assert "tool 'shout': there is no program 'no-such-program' that can be run" in ended.err
    assert "tool 'publish': it is not configured (configured: print, search, shout)" in ended.err


def test_one_that_is_not_trusted_is_not_called(apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APXM_TRUST")
    ended = apxm("execute", "w.ais", "bees", "--real-tools")
    assert ended.status == 2
    assert "is not trusted, and its tools.shout would run tr a-z A-Z" in ended.err
    assert apxm("execute", "w.ais", "bees", "--tool-latency", "0").status == 0  # a dry run needs no trust
    assert apxm("trust").status == 0
    assert apxm("execute", "w.ais", "bees", "--real-tools").status == 1
    # Whatever it runs is read again; when, or how long, is not.
    changed = CONFIG.replace('"A-Z"]', '"A-Z"]\ntimeout_s = 5')
    (project / ".apxm/config.toml").write_text(changed)
    assert "not trusted" not in apxm("execute", "w.ais", "bees", "--real-tools").err
    (project / ".apxm/config.toml").write_text(changed.replace('"tr"', '"rm"'))
    assert "tools.shout would run rm a-z A-Z" in apxm("execute", "w.ais", "bees", "--real-tools").err


def test_what_began_and_has_no_result_is_not_called_again_before_somebody_says_so(apxm: Apxm, project: Path) -> None:
    journal = ("--journal-dir", "runs")
    first = apxm("execute", "w.ais", "bees", "--real-tools", *journal)
    assert first.status == 1
    [run_id] = [run["id"] for run in json.loads(apxm("runs", "list", "--json", *journal).out)]
    assert first.err.splitlines()[-1] == (
        f"address began, and nobody knows what came of it: `apxm resume {run_id} --redo address` makes it again and "
        "goes on from here; `--assume address=VALUE` instead says what it gave"
    )
    ended = apxm("resume", "last", *journal, "--config", ".apxm/config.toml")
    assert ended.status == 1
    assert "address began, and the journal does not have its result: it may have changed something" in ended.err
    assert (project / "published").read_text().count("\n") == 1
    assumed = apxm("resume", "last", *journal, "--config", ".apxm/config.toml", "--assume", 'address="somewhere"')
    assert (assumed.status, assumed.out.splitlines()[-1]) == (0, "somewhere")
    (project / "open").touch()
    apxm("execute", "w.ais", "wax", "--real-tools", *journal)
    assert (project / "published").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("type_", "given", "shown"),
    [
        ("str", "restarted", "restarted"),
        ("str", '"restarted"', "restarted"),
        ("str", "5", "5"),
        ("json", "restarted", "restarted"),
        ("json", "[5]", "[5]"),
        ("list[str]", '["a"]', '["a"]'),
    ],
)
def test_what_is_assumed_is_read_by_the_type_of_the_result(
    apxm: Apxm, project: Path, type_: str, given: str, shown: str
) -> None:
    refused(apxm, project, type_)
    ended = apxm("resume", "last", "--journal-dir", "runs", "--assume", f"given={given}")
    assert (ended.status, ended.out) == (0, f"{shown}\n"), ended.err


def test_a_text_is_not_assumed_of_a_list(apxm: Apxm, project: Path) -> None:
    refused(apxm, project, "list[str]")
    ended = apxm("resume", "last", "--journal-dir", "runs", "--assume", "given=restarted")
    assert ended.status == 2
    assert "--assume given: 'restarted' is not the JSON of a list[str]" in ended.err


def refused(apxm: Apxm, project: Path, type_: str) -> None:
    """A run that ended in a tool which gives something of that type."""
    (project / ".apxm/config.toml").write_text('[tools.fix]\ncommand = ["false"]\n')
    (project / "w.ais").write_text(
        f"agent A {{ capability fix() -> {type_}  flow f() -> {type_} {{ fix() -> given return given }} }}"
    )
    assert apxm("execute", "w.ais", "--real-tools", "--journal-dir", "runs").status == 1


def test_all_that_began_is_named_at_the_end(apxm: Apxm, project: Path) -> None:
    (project / ".apxm/config.toml").write_text('[tools.fix]\ncommand = ["false"]\n')
    (project / "w.ais").write_text(
        "agent A { capability fix() -> str  flow f() -> str { "
        'try { fix() -> given return given } catch { return "none" } -> one  fix() -> two  return one + two } }'
    )
    ended = apxm("execute", "w.ais", "--real-tools", "--journal-dir", "runs")
    assert ended.status == 1, ended.err
    assert "--redo one/body/given --redo two` makes them again and goes on from here" in ended.err
    # Behind a failure that was caught the types are known as well.
    assumed = ("--assume", "one/body/given=1", "--assume", "two=2")
    assert apxm("resume", "last", "--journal-dir", "runs", *assumed).out == "12\n"


def test_again_where_somebody_says_so_it_is(apxm: Apxm, project: Path) -> None:
    journal = ("--journal-dir", "runs")
    apxm("execute", "w.ais", "bees", "--real-tools", *journal)
    (project / "open").touch()
    again = apxm("resume", "last", *journal, "--config", ".apxm/config.toml", "--redo", "address")
    assert (again.status, again.out.splitlines()[-1]) == (0, 'published ["bees 0","bees 1"]')
    assert (project / "published").read_text().count("\n") == 2
    assert "2 from the journal" in again.err


SERVER = '[mcp.web]\nurl = "http://127.0.0.1:9/mcp"\nheaders = { Authorization = "env:SECRET" }\n'


def test_trust_lists_all_that_may_run_and_doctor_what_may_not(
    apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APXM_TRUST")
    config = project / ".apxm/config.toml"
    config.write_text(CONFIG + SERVER)
    assert "the commands, the Python functions and the servers of its tools" in " ".join(
        apxm("trust", "-h").out.replace("│", "").split()
    )
    trusted = apxm("trust").out
    tools = [line.split("  (")[0].split() for line in trusted.partition("tools, which may now run:\n")[2].splitlines()]
    assert tools == [
        ["search", "python", "functions_of_tests:search"],
        ["publish", "python", "functions_of_tests:publish"],
        ["shout", "command", "tr", "a-z", "A-Z"],
        ["web.*", "url", "http://127.0.0.1:9/mcp"],
    ]
    assert f"{config} (trusted)" in apxm("doctor").out
    config.write_text(CONFIG.replace('"tr"', '"rm"') + SERVER)
    shown = apxm("doctor").out
    assert f"{config} (not trusted: read it, then run apxm trust)" in shown
    lines = shown.partition("\ntools:\n")[2].splitlines()
    assert [line.split()[0] for line in lines if "not trusted: apxm trust" in line] == ["shout"]
    assert len(lines) == 4
    assert json.loads(apxm("doctor", "--json").out)["tools"] == json.loads(apxm("tools", "list", "--json").out)
    config.write_text(CONFIG + SERVER.replace(":9/", ":8/"))
    assert "(not trusted: read it" in apxm("doctor").out


def test_the_projects_folder_is_that_of_the_file_which_is_chosen(
    apxm: Apxm, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "my.toml").write_text(CONFIG.replace('"tr", "a-z", "A-Z"', '"./shout.sh"'))
    (project / "shout.sh").write_text("#!/bin/sh\ntr a-z A-Z\n")
    (project / "shout.sh").chmod(0o755)
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    config = ("--config", "../my.toml")
    assert apxm("tools", "call", "search", "--arg", "q=bees", "--arg", "limit=1", *config).out == '["bees 0"]\n'
    assert apxm("tools", "call", "shout", "--arg", "text=bees", *config).out == f"{SHOUTED}\n"
    # As does the one in `.apxm`, by whatever way it is found.
    chosen = ("--config", "../.apxm/config.toml")
    assert apxm("tools", "call", "search", "--arg", "q=bees", "--arg", "limit=1", *chosen).out == '["bees 0"]\n'


def test_what_cannot_be_loaded_is_told_with_its_place_once(apxm: Apxm, project: Path) -> None:
    (project / "my.toml").write_text('[tools.search]\npython = "no_such_module:search"\n')
    ended = apxm("tools", "call", "search", "--config", "my.toml")
    assert ended.status == 2
    expected = "python: 'no_such_module:search' cannot be loaded: ModuleNotFoundError"
    assert ended.err.startswith(f"error: my.toml:1: tool 'search': {expected}")
    assert ended.err.count("my.toml") == 1


def test_a_call_by_hand_fails_without_a_place_in_a_program(apxm: Apxm, project: Path) -> None:
    del project
    ended = apxm("tools", "call", "publish", "--arg", "text=x")
    assert (ended.status, ended.err) == (1, "failed (tool_failed): tool 'publish': ValueError: the press is closed\n")


def test_a_run_shows_what_its_tools_gave_as_json_and_no_tokens(apxm: Apxm, project: Path) -> None:
    (project / "open").touch()
    ended = apxm("execute", "w.ais", "bees", "--real-tools", "--verbose", "--journal-dir", "runs")
    assert '  answer: ["bees 0","bees 1"]\n' in ended.err
    shown = apxm("runs", "show", "last", "--journal-dir", "runs").out
    assert [line.split() for line in shown.splitlines() if line.startswith("  hits")] == [
        ["hits", "search", '["bees', '0",', '"bees', '1"]']
    ]


def test_they_are_listed(apxm: Apxm, project: Path) -> None:
    (project / ".apxm/config.toml").write_text(CONFIG + SERVER)
    for command in (("tools",), ("tools", "list")):
        lines = apxm(*command).out.splitlines()
        assert [line.split()[:3] for line in lines] == [
            ["search", "python", "functions_of_tests:search"],
            ["publish", "python", "functions_of_tests:publish"],
            ["shout", "command", "tr"],
            ["web.*", "url", "http://127.0.0.1:9/mcp"],
        ]
    [*_, last] = json.loads(apxm("tools", "list", "--json").out)
    assert last["name"] == "web.*"
    assert (last["kind"], last["trusted"]) == ("url", True)


def test_without_any_the_list_says_how_to_set_one_up(apxm: Apxm) -> None:
    assert apxm("tools").out.startswith("no tools are set up; [tools.NAME] in a configuration does that")


def test_one_is_called_by_hand(apxm: Apxm, project: Path) -> None:
    del project
    assert apxm("tools", "call", "search", "--arg", "q=wax", "--arg", "limit=1")[:2] == (0, '["wax 0"]\n')
    assert apxm("tools", "call", "shout", "--arg", "x=a").out == '{"X":"A"}\n'
    assert json.loads(apxm("tools", "call", "search", "--arg", 'q="5"', "--json").out)["result"][0] == "5 0"
    ended = apxm("tools", "call", "publish", "--arg", "text=x")
    assert (ended.status, ended.out) == (1, "")
    assert "the press is closed" in ended.err
    assert apxm("tools", "call", "find").status == 2
    assert apxm("tools", "call", "search", "--arg", "q").status == 2


def test_those_of_a_program_are_checked(apxm: Apxm, project: Path) -> None:
    ended = apxm("tools", "check", "w.ais")
    assert (ended.status, ended.err) == (0, "3 tools, all fit\n")
    (project / "w.ais").write_text(
        PROGRAM.replace("limit: int = 2", 'limit: str = "2"').replace("publish(", "print_out(")
    )
    ended = apxm("tools", "check", "w.ais")
    assert ended.status == 1
    assert 'search(q: str, limit: str = "2") -> list[str] readonly: does not fit\n' in ended.out
    assert "  its 'limit' is integer, declared as str\n" in ended.out
    found = {each["name"]: each for each in json.loads(apxm("tools", "check", "w.ais", "--json").out)}
    assert found["shout"] == {
        "name": "shout", "declared": "shout(text: str) -> str readonly", "flaws": [], "hints": {},
    }  # fmt: skip
    assert found["print_out"]["flaws"][0].startswith("it is not configured")


def test_the_hints_of_a_server_are_shown(apxm: Apxm, project: Path) -> None:
    pytest.importorskip("mcp")
    command = json.dumps([sys.executable, "-m", "tests.tools.servers", "stdio"])
    (project / ".apxm/config.toml").write_text(
        f'[mcp.web]\ncommand = {command}\nenv = {{ PYTHONPATH = "{ROOT}" }}\n[tools.search]\nmcp = "web.search"\n'
    )
    (project / "w.ais").write_text(
        'agent A { capability search(q: str) -> list[str]  flow f() -> json { search("a")  return inv("web.find") } }'
    )
    ended = apxm("tools", "check", "w.ais")
    assert ended.status == 1
    assert "search(q: str) -> list[str]: fits; it says readOnlyHint true\n" in ended.out
    assert "web.find: does not fit\n  server 'web' has no tool 'find'; it has search," in ended.out
    assert ended.err == "2 tools, 1 does not fit\n"
    assert apxm("tools", "call", "web.text", "--arg", "what=x").out == "text of x\n"


@pytest.mark.skipif(sys.platform != "linux", reason="signals, and files for processes")
@pytest.mark.parametrize("kind", ["command", "server"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_what_its_tools_started(
    start: Start, project: Path, kind: str, number: int, status: int
) -> None:
    mark = fifo(project)
    if kind == "command":
        script = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(600)"
        config = f"[tools.hang]\ncommand = {json.dumps([sys.executable, '-c', script, str(mark)])}\n"
    else:
        pytest.importorskip("mcp")
        command = json.dumps([sys.executable, "-m", "tests.tools.servers", "stdio"])
        config = f'[mcp.web]\ncommand = {command}\nenv = {{ PYTHONPATH = "{ROOT}" }}\n[tools.hang]\nmcp = "web.hang"\n'
    (project / ".apxm/config.toml").write_text(config)
    (project / "w.ais").write_text(
        f"agent A {{ capability hang(mark: str) -> str  flow f() -> str {{ return hang({json.dumps(str(mark))}) }} }}"
    )
    process = start("execute", "w.ais", "--real-tools", "--no-journal", env={**os.environ, "APXM_TRUST": "1"})
    pid = int(mark.read_text())
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert has_ended(pid)
    *first, last = err.splitlines()
    assert all(line.startswith("model: ") for line in first)
    assert last.startswith("interrupted: 0 operations, 0 LLM calls in ")


@pytest.mark.skipif(sys.platform != "linux", reason="signals, and files for processes")
def test_ctrl_c_within_a_tool_says_what_has_to_be_decided(start: Start, project: Path) -> None:
    mark = fifo(project)
    script = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(600)"
    command = json.dumps([sys.executable, "-c", script, str(mark)])
    (project / ".apxm/config.toml").write_text(f"[tools.hang]\ncommand = {command}\n")
    (project / "w.ais").write_text(
        "agent A { capability hang() -> str  flow f() -> str { hang() -> told return told } }"
    )
    trusting = {**os.environ, "APXM_TRUST": "1"}
    process = start("execute", "w.ais", "--real-tools", "--journal-dir", "runs", env=trusting)
    mark.read_text()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "told began, and nobody knows what came of it: `apxm resume " in err.splitlines()[-1]
    assert " --redo told` makes it again" in err.splitlines()[-1]


def test_a_server_that_no_longer_fits_is_told_before_anything_is_called(apxm: Apxm, project: Path) -> None:
    pytest.importorskip("mcp")
    command = json.dumps([sys.executable, "-m", "tests.tools.servers", "stdio"])
    (project / ".apxm/config.toml").write_text(
        f'{CONFIG}[mcp.web]\ncommand = {command}\nenv = {{ PYTHONPATH = "{ROOT}" }}\n'.replace(
            'python = "functions_of_tests:search"', 'mcp = "web.search"'
        )
    )
    (project / "w.ais").write_text(PROGRAM.replace("q: str, limit", "query: str, limit"))
    ended = apxm("execute", "w.ais", "bees", "--real-tools")
    assert (ended.status, ended.out) == (2, "")
    assert "tool 'search': it has no parameter 'query'; it has 'q', 'limit'" in ended.err
    assert "tool 'search': it needs 'q', which is not declared" in ended.err
    assert not (project / "published").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="signals, and files for processes")
def test_a_signal_while_a_server_does_not_answer_ends_both(start: Start, project: Path) -> None:
    pytest.importorskip("mcp")
    mark = fifo(project)
    command = json.dumps([sys.executable, "-m", "tests.tools.servers", "silent", str(mark)])
    (project / ".apxm/config.toml").write_text(f'[mcp.web]\ncommand = {command}\nenv = {{ PYTHONPATH = "{ROOT}" }}\n')
    (project / "w.ais").write_text('agent A { flow f() -> json { return inv("web.text", what: "x") } }')
    process = start("execute", "w.ais", "--real-tools", env={**os.environ, "APXM_TRUST": "1"})
    pid = int(mark.read_text())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert has_ended(pid)
