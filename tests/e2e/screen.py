"""`make status`, as a person or cron runs it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from conftest import INVENTORY, ROOT, until


@dataclass(frozen=True)
class Screen:
    code: int
    text: str
    errors: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def urgent(self) -> list[dict[str, Any]]:
        return [problem for problem in self.document["problems"] if problem["urgent"]]


def status(**values: Any) -> Screen:
    """Run `make status`, with settings if there are any."""
    command = ["make", "--silent", "status", f"INVENTORY={INVENTORY}"]
    if values:
        command.append(f"ARGS=-e '{json.dumps(values)}'")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return Screen(result.returncode, result.stdout, result.stderr)


def part(name: str) -> Any:
    """A part of the state, once it is read: a full machine may answer after the deadline of `make status`."""
    return until(lambda: status(status_format="json").document[name], what=f"{name} is unread")
