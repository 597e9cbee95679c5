"""Makes the engine's environment: the extra `real` of pyproject.toml and nothing of ours, in a folder of its own.

    python benchmarks/real/install.py .venv-real

On Linux, the package index has torch built for CUDA, which brings gigabytes that an engine on the CPU never uses. So
pip is asked first what it would install, and nothing is where it names such packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOR_CUDA = ("nvidia-", "cuda-", "triton")
ALLOWED = "APXM_BENCH_CUDA"


def main() -> None:
    folder = Path(sys.argv[1])
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["real"]
    print(f"installing {' and '.join(wanted)} into {folder} (about 1.3 GB on disk)", file=sys.stderr)
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")  # what is there already stays
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    what = ["-c", str(ROOT / "constraints.txt"), *wanted]
    planned = _plan([*pip, "--dry-run", "--report", "-", *what])
    for_cuda = sorted(name for name in planned if name.startswith(FOR_CUDA))
    if for_cuda and not os.environ.get(ALLOWED):
        sys.exit(
            f"error: pip would install torch with {len(for_cuda)} packages for CUDA, several gigabytes: "
            f"{', '.join(for_cuda)}\n"
            "hint: name pip an index of torch's CPU builds (PIP_EXTRA_INDEX_URL; PyTorch's installation page has it), "
            f"or accept them: {ALLOWED}=1 make bench-real"
        )
    if subprocess.run([*pip, *what], check=False).returncode != 0:
        sys.exit("error: the engine could not be installed; what pip said stands above")


def _plan(command: list[str]) -> list[str]:
    """The names of the packages that pip would install."""
    asked = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if asked.returncode != 0:
        sys.exit(
            "error: torch and transformers cannot be had here; what pip said stands above\n"
            "hint: torch has builds for some Python versions and machines only, and needs a package index in reach"
        )
    report: dict[str, Any] = json.loads(asked.stdout)
    return [package["metadata"]["name"].lower() for package in report["install"]]


if __name__ == "__main__":
    main()
