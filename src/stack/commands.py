"""Run a long command and hand on each line as it comes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence


def stream(
    command: Sequence[str], show: Callable[[str], None], environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a command without input.

    Args:
        command: The command and its arguments; no shell.
        show: Called with each line of standard output and standard error.
        environment: Added to the environment.

    Returns:
        The exit code, 127 where there is no such program, and the lines.
    """
    lines: list[str] = []
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                show(line.rstrip())
    except FileNotFoundError:
        return 127, [f"{command[0]} is not installed"]
    return process.returncode, lines
