"""Which file counts, and files that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apxm.config.files import LARGEST, Scope, find_file, read_file, user_file
from apxm.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("empty_directory")


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture(autouse=True)
def _own_user_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))


def found() -> tuple[Path, Scope]:
    file = find_file(None)
    assert file is not None
    return file.path, file.scope


def test_nothing_is_configured() -> None:
    assert find_file(None) is None


def test_the_chosen_file_then_the_nearest_of_the_project_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = write(user_file())
    assert found() == (users, Scope.USER)
    above = write(tmp_path / ".apxm/config.toml")
    here = tmp_path / "a/b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert found() == (above, Scope.PROJECT)
    nearer = write(tmp_path / "a/.apxm/config.toml")
    assert found() == (nearer, Scope.PROJECT)
    chosen = find_file(write(tmp_path / "mine.toml"))
    assert chosen is not None
    assert chosen.scope is Scope.CHOSEN


def test_the_users_directory_is_that_of_xdg(tmp_path: Path) -> None:
    assert user_file() == tmp_path / "user/apxm/config.toml"


def test_a_chosen_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        find_file(tmp_path / "missing.toml")


def test_a_plain_file_called_apxm_is_no_configuration(tmp_path: Path) -> None:
    write(tmp_path / ".apxm")
    assert find_file(None) is None


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="the working directory is gone"):
        find_file(None)


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_file(path)
    assert caught.value.where == str(path)
    return caught.value.message


def test_a_directory_a_pipe_and_a_device_are_refused_without_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert "not a regular file" in refused(path)


def test_a_link_is_followed_and_one_to_nowhere_or_to_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "real", "x = 1")
    (tmp_path / "good").symlink_to("real")
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    assert read_file(tmp_path / "good") == b"x = 1"
    assert "No such file" in refused(tmp_path / "nowhere")
    assert "cannot be read" in refused(tmp_path / "loop")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"#" * (LARGEST + 1))
    assert "larger than 1 MiB" in refused(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_passed_over(tmp_path: Path) -> None:
    write(user_file())
    closed = write(tmp_path / ".apxm/config.toml")
    closed.chmod(0)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        find_file(None)
