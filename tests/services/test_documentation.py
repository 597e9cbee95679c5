"""docs/service.md: its blocks run as they stand, the first of them under uvicorn."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.documented import ROOT, blocks, environment, name_of, output_of
from tests.services.test_service import endpoint, until

if sys.platform == "win32":
    pytest.skip("signals are POSIX's", allow_module_level=True)

PAGE = (ROOT / "docs/service.md").read_text(encoding="utf-8")
FILES = {name: block for block in blocks(PAGE, "python") if (name := name_of(block))}


def test_the_application_of_the_page_answers_within_its_budget(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FILES["app.py"].replace("100_000", "1_000"))
    log = tmp_path / "log"
    with endpoint(tmp_path, "constant:5", 4):
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
        with open(log, "w") as writing:
            process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=writing)
        try:
            until(lambda: "running on" in log.read_text() or process.poll() is not None)
            found = re.search(r"running on (http://[\d.:]+)", log.read_text())
            assert found is not None, log.read_text()

            def labels(rows: list[str]) -> dict[str, object]:
                asked = Request(f"{found[1]}/label", json.dumps({"rows": rows}).encode())
                with urlopen(asked, timeout=100) as response:
                    return json.load(response)["value"]

            assert list(labels(["a bee", "a stone"])) == ["a bee", "a stone"]
            with pytest.raises(HTTPError, match="429"):
                labels([f"row {n}" for n in range(200)])
            with urlopen(f"{found[1]}/health", timeout=100) as response:
                assert 100 < json.load(response)["tokens"] <= 1000
            process.send_signal(signal.SIGTERM)
            assert process.wait(100) == -signal.SIGTERM
        finally:
            process.kill()
            process.wait()


def test_parts_as_they_come(tmp_path: Path) -> None:
    assert set(FILES) == {"app.py", "parts.py"}  # each block is run here
    (tmp_path / "parts.py").write_text(FILES["parts.py"])
    with endpoint(tmp_path, "constant:5", 4, tokens_per_second=100):
        printed = output_of(tmp_path / "parts.py", environment(tmp_path))
    events = [(event[7:], json.loads(data[6:])) for event, data in re.findall(r"(event: .*)\n(data: .*)\n", printed)]
    assert len(events) > 3
    assert "".join(text for name, text in events if name == "text") == events[-1][1]
    assert events[-1][0] == "end"
