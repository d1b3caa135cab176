"""What Ansible loads of this project's plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_task_loads_a_client_of_kubernetes() -> None:
    """Every task is a process of its own that loads every filter, and the client takes longer than most tasks."""
    files = [str(file) for file in (ROOT / "plugins" / "filter").glob("*.py")]
    program = f"import runpy, sys; [runpy.run_path(file) for file in {files}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "json" in loaded
    assert "kubernetes" not in loaded
    assert "stack.postgres.parameters" not in loaded
