"""What the API server says of a command in a container."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.cluster import ended


def failure(reason: str, message: str, cause: str) -> dict[str, Any]:
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": [{"reason": "ExitCode", "message": cause}]},
    }


EXIT = failure("NonZeroExitCode", "command terminated with non-zero exit code: exit status 3", "3")
NOT_STARTED = failure(
    "InternalError",
    "Internal error occurred: error executing command in container",
    'unable to upgrade connection: container not found ("postgres")',
)


@pytest.mark.parametrize(
    ("status", "known"),
    [
        (json.dumps({"metadata": {}, "status": "Success"}), (0, "")),
        (json.dumps(EXIT), (3, "")),
        # A container that starts or has gone has no exit code, and that is no error of the reader.
        (json.dumps(NOT_STARTED), (None, NOT_STARTED["message"])),
        ("", (None, "")),
        ("null", (None, "null")),
        ('{"status": "Fail', (None, '{"status": "Fail')),
        (
            '{"status": "Failure", "reason": "NonZeroExitCode"}',
            (None, '{"status": "Failure", "reason": "NonZeroExitCode"}'),
        ),
    ],
)
def test_how_a_command_has_ended(status: str, known: tuple[int | None, str]) -> None:
    assert ended(status) == known
