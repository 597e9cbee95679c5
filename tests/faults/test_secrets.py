"""A key is in no file and in no output, whatever happens to the call that carries it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Received, Reply, Server, as_json, completion

KEY = "sk-proj-HIDDEN-0123456789"
SOURCE = 'agent A { @entry flow f() -> str { print("begun") return ask("x") } }'


def echo(request: Received) -> Reply:
    """A server that repeats all it was sent."""
    return as_json({"error": {"message": f"you sent {dict(request.headers)}"}}, 401)


@pytest.mark.parametrize(
    "script", [completion("Fine."), echo, Reply(then="reset")], ids=["answers", "echoes", "resets"]
)
def test_a_key_is_nowhere(tmp_path: Path, script: object) -> None:
    async def main() -> list[str]:
        async with Server(script) as server:  # type: ignore[arg-type]
            (tmp_path / "a.ais").write_text(SOURCE)
            (tmp_path / "config.toml").write_text(
                f'[backends.b]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\nretries = 1\n'
                'api_key = "env:KEY"\n'
            )
            shown: list[str] = []
            for arguments in (
                ("compile", "a.ais", "-o", "a.apxmobj", "--emit-diagnostics", "d.json"),
                ("execute", "a.ais", "--config", "config.toml", "--journal-dir", "j", "--emit-metrics", "m.json"),
                ("execute", "a.ais", "--config", "config.toml", "--journal-dir", "j", "--json"),
                ("runs", "list", "--json", "--journal-dir", "j"),
                ("doctor", "--config", "config.toml"),
            ):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-X", "dev", "-m", "apxm", *arguments),
                    cwd=tmp_path,
                    env={**os.environ, "KEY": KEY, "APXM_DEBUG": "1"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                shown += [part.decode() for part in await process.communicate()]
            assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.received)
            assert server.received
            return shown

    shown = asyncio.run(main())
    assert "HIDDEN" not in "".join(shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".apxmobj", ".json", ".apxmlog"}
    assert not [path for path in files if b"HIDDEN" in path.read_bytes()]
