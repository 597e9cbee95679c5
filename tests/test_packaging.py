"""The wheel holds all that the command needs, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import apxm

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(built)


def test_the_wheel_holds_the_package_its_data_files_and_the_license(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    sources = {
        str(p.relative_to(ROOT / "src"))
        for p in (ROOT / "src/apxm").rglob("*")
        if p.suffix in (".py", ".json", ".js", ".css")
    }
    metadata = f"apxm-{apxm.__version__}.dist-info"
    assert sources | {"apxm/py.typed", f"{metadata}/licenses/LICENSE"} <= names
    assert {name.split("/")[0] for name in names} == {"apxm", metadata}


@pytest.mark.parametrize("arguments", [["check", "hello.ais"], ["workloads", "check"]])
def test_an_installed_wheel_runs(wheel: Path, tmp_path: Path, arguments: list[str]) -> None:
    ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "hello.ais").write_text('agent A { flow f() -> str { return "hello" } }')
    code = "import apxm, sys; print(apxm.__file__); from apxm.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == str(tmp_path / "site/apxm/__init__.py")


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-clients.txt", "constraints-openai2.txt"])
def test_constraints_are_exact_and_hold_no_address(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+", pin) for pin in pins)
