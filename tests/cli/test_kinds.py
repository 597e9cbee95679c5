"""Which kind of file a command takes, and what it says of another one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm


@pytest.mark.parametrize(
    ("command", "file", "said", "hint"),
    [
        ("test", "script.py", "this is a script of Python, which is not compiled", "apxm check --equal script.py"),
        ("compile", "script.py", "this is a script of Python, which is not compiled", "apxm run script.py"),
        ("inspect", "script.py", "this is a script of Python, not an artifact", "apxm explain script.py"),
        *(
            (command, "folder", "this is a directory, and one file is expected", "start with, such as folder/__main__")
            for command in ("run", "check", "test", "inspect", "explain", "compile", "execute", "analyze")
        ),
        *(
            (command, "app.pyz", "this is an archive, and one file of Python or of AIS is expected", "unpack it")
            for command in ("run", "check", "test", "inspect", "explain", "compile", "execute", "analyze")
        ),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_to_do(
    apxm: Apxm, tmp_path: Path, command: str, file: str, said: str, hint: str
) -> None:
    (tmp_path / "script.py").write_text('print("hi")\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text('print("hi")\n')
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", 'print("hi")\n')
    ended = apxm(command, file)
    assert ended.status == 2
    assert f"error: {file}: {said}" in ended.err
    assert hint in ended.err
