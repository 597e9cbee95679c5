"""Scripts that call models through SDKs, unedited: their calls are those of the run, and where that is simulated nobody
else is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="not installed: pip install 'apxm[openai]'")

SCRIPT = """\
import asyncio
from openai import AsyncOpenAI, OpenAI

client = OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")

def asked(text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="m", messages=messages, **more)

for row in ["a", "b", "c"]:  # apxm: each
    print(row, asked(row).choices[0].message.content)
print("".join(part.choices[0].delta.content or "" for part in asked("stream", stream=True) if part.choices))

async def main():
    client = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
    made = (client.responses.create(model="m", input=f"async {k}") for k in range(2))
    print([answer.output_text for answer in await asyncio.gather(*made)])

asyncio.run(main())
"""


def apxm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apxm", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_calls_of_an_sdk_are_those_of_the_run_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCRIPT)
    simulated = ("--backend", "simulated", "--latency", "constant:1", "--journal", "--journal-dir", "runs")
    ran = apxm(tmp_path, "run", *simulated, "s.py")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("a Simulated answer ")
    assert lines[3].endswith(": stream")
    assert lines[4].count("Simulated answer ") == 2
    assert "6 LLM calls" in ran.stderr
    again = apxm(tmp_path, "resume", "last", "--journal-dir", "runs")
    assert again.stdout == ran.stdout
    assert "6 from the journal), 0 LLM calls" in again.stderr


def test_a_script_with_an_sdk_can_be_compared(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCRIPT)
    compared = apxm(tmp_path, "check", "--equal", "--schedules", "1", "s.py")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert compared.stdout.startswith("equal in 1 schedule of latencies: 6 calls; ")
