"""What `make demo` runs: the three flows of workflow.ais, on the simulated backend whatever the environment holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import apxm
from apxm.backends.simulated import SimulatedBackend

WORKFLOW = Path(__file__).parent / "workflow.ais"


def main() -> None:
    program = apxm.compile(WORKFLOW)
    # Named here, not looked up: neither a key nor a configuration file can turn the demo into paid calls.
    backends = apxm.BackendPool({"simulated": SimulatedBackend(latency="constant:1000")}, "simulated")
    print("N independent calls; the simulated model takes one second for each.\n")
    print(f"{'N':<2} {'duration':>10} {'speedup':>10}")
    for n in (2, 4, 8):
        metrics = apxm.run(program, flow=f"parallel_{n}", backends=backends).metrics
        print(f"{n:<2} {metrics.execution.duration_ms / 1000:>8.2f} s {metrics.work_span.speedup:>9.2f}x", flush=True)

    command = f"{_shown(Path(sys.executable).with_name('apxm'))} execute {_shown(WORKFLOW)}"
    print(f"""
Run it yourself (simulated, unless a model is configured):
    {command}
With OpenAI's models:
    OPENAI_API_KEY=your-key {command}
With a server of your own that speaks OpenAI's protocol (vLLM, Ollama, …):
    OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_MODEL=its-model OPENAI_API_KEY=none {command}""")


def _shown(path: Path) -> str:
    """As it can be typed here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough (`make demo | head`): no error, and `make` would show a status as one. The
        # interpreter flushes standard output once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
