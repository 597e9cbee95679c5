"""Tab completion, by the script that a shell is given, in a real bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm
from tests.journal.journals import RUN_ID, write

BASH = shutil.which("bash")
TWO_FLOWS = 'agent A { @entry flow first() -> str { return ask("x") } flow second() { print("y") } }'
needs_bash = pytest.mark.skipif(BASH is None, reason="bash is missing")


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words, with the script that was installed in `folder`."""
    command = folder / "bin" / "apxm"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m apxm "$@"\n')
    command.chmod(0o755)
    script = """
        set -e
        apxm --install-completion bash
        . "$HOME/.bash_completions/apxm.sh"
        complete -p apxm | grep -q _apxm_completion
        COMP_WORDS=(apxm "$@"); COMP_CWORD=$#
        _apxm_completion apxm
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    ended = subprocess.run(
        [BASH or "bash", "--norc", "-c", script, "bash", *words],
        cwd=folder, env={"HOME": str(home), "PATH": f"{command.parent}:/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout.split()


@needs_bash
def test_commands_options_and_values_are_completed(tmp_path: Path) -> None:
    (tmp_path / "two.ais").write_text(TWO_FLOWS)
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs", [])
    assert completed(tmp_path, "ru") == ["run", "runs"]
    assert completed(tmp_path, "execute", "--max-") == [
        "--max-concurrency",
        "--max-open-turns",
        "--max-total-tokens",
        "--max-cost",
    ]
    assert completed(tmp_path, "execute", "two.ais", "--flow", "") == ["first", "A.first", "second", "A.second"]
    assert completed(tmp_path, "runs", "show", "--journal-dir", "runs", "2026") == [RUN_ID]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("apxm execute --backend s", "simulated"),
        ("apxm ops mer", "merge"),
        ("apxm workloads run ", "4_scalability"),
        ("apxm resume la", "last"),
        ("apxm execute broken.ais --flow ", ""),
        ("apxm execute missing.ais --flow ", ""),
    ],
)
def test_values_are_completed_from_what_there_is(
    apxm: Apxm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, expected: str
) -> None:
    (tmp_path / "broken.ais").write_text("agent {")
    monkeypatch.setenv("_APXM_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    ended = apxm()
    assert (ended.out.strip(), ended.err) == (expected, "")


SCRIPTS = [("bash", "complete -o default"), ("zsh", "compdef apxm"), ("fish", "complete --command apxm")]


@pytest.mark.parametrize(("shell", "word"), SCRIPTS)
def test_the_script_of_each_shell_is_shown(apxm: Apxm, shell: str, word: str) -> None:
    ended = apxm("--show-completion", shell)
    assert (ended.status, ended.err) == (0, "")
    assert word in ended.out


def test_a_shell_that_is_not_known_is_refused(apxm: Apxm) -> None:
    assert apxm("--show-completion", "tcsh").status != 0
    assert apxm("--install-completion", "tcsh").status != 0
