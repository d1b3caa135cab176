"""The service on a developer's machine, on the database of the running stack."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from conftest import INVENTORY, ROOT, Stack, until

from stack.developer.processes import free_port, is_open

# An application whose file may be changed while other tests build the service.
APPLICATION = """
from flask_postgres_app import create_app

app = create_app()


@app.get("/edited")
def edited():
    return "{}"
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    file = tmp_path / "application.py"
    file.write_text(APPLICATION.format("one"))
    return file


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def url(application: Path, log: Path) -> Iterator[str]:
    """The service of `make dev`."""
    port = free_port()
    command = ["make", "dev", f"INVENTORY={INVENTORY}", f"ARGS=--port={port} --tests=tests/test_settings.py"]
    with log.open("w") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "FLASK_APP": str(application)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            process_group=0,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        print(log.read_text())
        # Nothing is left running, whoever has ended it.
        until(lambda: not is_open(port), 20)


def test_dev_serves_an_edit_from_the_stacks_database(stack: Stack, url: str, application: Path, log: Path) -> None:
    until(lambda: requests.get(f"{url}/readyz", timeout=5).status_code == 200, 60)
    assert requests.get(f"{url}/edited", timeout=5).text == "one"
    newest = {"limit": "1", "order": "-id"}
    assert requests.get(f"{url}/api/data", newest, timeout=5).json() == stack.api("/api/data", params=newest).json()
    application.write_text(APPLICATION.format("two"))
    until(lambda: requests.get(f"{url}/edited", timeout=5).text == "two", 30)
    # The tests run beside it, on a database of their own.
    until(lambda: re.search(r"^\d+ passed in ", log.read_text(), re.MULTILINE), 60)
