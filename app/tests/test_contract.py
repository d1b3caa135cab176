"""The service against its own OpenAPI document."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import APP, Service
from postgres import TOKEN


def test_the_service_keeps_its_contract(service: Service, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [APP / "tests" / "fuzz", service.url],
        env={**os.environ, "API_TOKEN": TOKEN, "MAX_EXAMPLES": "40", "SEED": "1", "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
