from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import ROOT, Apxm

GOOD = 'agent A { flow f() -> str { ask("x") -> a return a } }\n'
BAD = "agent A { flow f() -> str { return missing } }\n"
WASTEFUL = 'agent A { flow f() -> str { ask("x") -> a ask("y") -> b return a } }\n'


def test_the_seeds_workload_is_clean(apxm: Apxm) -> None:
    assert apxm("check", str(ROOT / "workloads/4_scalability/workflow.ais")) == (
        0,
        "",
        "1 file: 0 errors, 0 warnings\n",
    )


def test_all_files_are_checked_and_diagnostics_go_to_stderr(apxm: Apxm, tmp_path: Path) -> None:
    for name, text in {"good.ais": GOOD, "bad.ais": BAD, "wasteful.ais": WASTEFUL}.items():
        (tmp_path / name).write_text(text)
    ended = apxm("check", "bad.ais", "good.ais", "wasteful.ais")
    assert ended.status == 1
    assert ended.out == ""
    assert "bad.ais:1:36: error[" in ended.err
    assert "wasteful.ais:1:" in ended.err
    assert ended.err.endswith("3 files: 1 error, 1 warning\n")


def test_warnings_alone_are_no_failure(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "wasteful.ais").write_text(WASTEFUL)
    assert apxm("check", "wasteful.ais").status == 0


def test_json_has_places_that_an_editor_can_use(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "bad.ais").write_text(BAD)
    ended = apxm("check", "bad.ais", "--json")
    report = json.loads(ended.out)
    (found,) = report.pop("diagnostics")
    assert report == {"files": 1, "errors": 1, "warnings": 0, "unreadable": []}
    assert (found["file"], found["line"], found["column"], found["end_column"]) == ("bad.ais", 1, 36, 43)
    assert found["severity"] == "error"
    assert ended.err == ""


def test_json_names_files_that_cannot_be_read(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "good.ais").write_text(GOOD)
    ended = apxm("check", "missing.ais", "good.ais", "--json")
    report = json.loads(ended.out)
    assert (ended.status, report["errors"]) == (2, 0)
    assert report["unreadable"] == [{"file": "missing.ais", "message": "there is no such file"}]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_still_checked(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "bad.ais").write_text(BAD)
    ended = apxm("check", "missing.ais", ".", "bad.ais")
    assert ended.status == 2
    assert "error: missing.ais: there is no such file" in ended.err
    assert "error: .: this is a directory" in ended.err
    assert "bad.ais:1:36: error[" in ended.err
