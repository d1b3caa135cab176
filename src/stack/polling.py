"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL_S = 0.25


def wait_until(problem: Callable[[], str], seconds: float, what: str) -> None:
    """Wait until there is no problem any more.

    Args:
        problem: What is wrong; empty for nothing.
        seconds: The longest wait.
        what: What is waited for.

    Raises:
        TimeoutError: It is still wrong.
    """
    deadline = time.monotonic() + seconds
    while found := problem():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: still not after {seconds:.0f} s: {found}")
        time.sleep(INTERVAL_S)
