"""The documentation as a site: `make docs` builds it, `make docs-serve` shows it and follows what is edited.

Pages link to each other, and to files beside docs/, as they lie in the repository, so that the links work where it is
hosted, too. So what the site is made of is a copy with the same paths: its pages, and whatever these link to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from website.built import flaws
from website.links import ROOT, broken, reached

HERE = Path(__file__).parent
PLACE = ROOT / "build/docs"
SETTINGS = "mkdocs.yml"


def settings() -> str:
    """The settings, in which a line of the navigation with a `*` stands for all pages whose paths are like it."""

    def pages(line: re.Match[str]) -> str:
        found = sorted(path.relative_to(ROOT) for path in ROOT.glob(line[2]))
        return "\n".join(f"{line[1]}- {path.as_posix()}" for path in found)

    return re.sub(r"^( *)- (\S*\*\S*)$", pages, (HERE / SETTINGS).read_text(encoding="utf-8"), flags=re.MULTILINE)


def navigation() -> list[Path]:
    """The pages that the navigation of the site has, in its order."""
    return [Path(found) for found in re.findall(r"^ *- (?:.*: )?(\S+\.md)$", settings(), re.MULTILINE)]


def renew(place: Path) -> None:
    """Makes the copy what the repository is now. What is as it was is left alone, so that nobody builds it again."""
    wanted = {place / "pages" / path: (ROOT / path).read_bytes() for path in reached(navigation())}
    wanted[place / "pages/site.css"] = (HERE / "site.css").read_bytes()
    wanted[place / SETTINGS] = settings().encode()
    for copy, content in wanted.items():
        if not copy.exists() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    for copy in (place / "pages").rglob("*"):
        if copy.is_file() and copy not in wanted:
            copy.unlink()


def generator(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """It finds our extension from here."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "zensical", *arguments], cwd=place, env=environment)


def build(place: Path) -> int:
    if found := broken(navigation()):
        return told(found)
    renew(place)
    shutil.rmtree(place / "site", ignore_errors=True)
    if status := generator(place, "build", "--clean", "--strict").wait():
        return status
    if found := flaws(place / "site"):
        return told(found)
    print(f"the site begins at {place / 'site/index.html'}")
    return 0


def told(flaws: list[str]) -> int:
    print(*flaws, sep="\n", file=sys.stderr)
    return 1


def serve(place: Path) -> int:
    renew(place)
    server = generator(place, "serve")
    try:
        while server.poll() is None:
            time.sleep(1)
            renew(place)
    except KeyboardInterrupt:
        server.terminate()
    return server.wait()


if __name__ == "__main__":
    sys.exit({"build": build, "serve": serve}[sys.argv[1]](PLACE))
