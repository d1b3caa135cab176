"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

INTERVAL_S = 0.25

Clock = Callable[[], float]
Sleep = Callable[[float], None]


def looks(interval_s: float, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> Iterator[float]:
    """Yield for each look the seconds since the first one, with a pause between two of them, and never end.

    Args:
        interval_s: The pause, in seconds.
        clock: Seconds that pass.
        sleep: Waits for seconds.
    """
    began = clock()
    while True:
        yield clock() - began
        sleep(interval_s)


def wait_until(problem: Callable[[], str], seconds: float, what: str) -> None:
    """Wait until there is no problem any more.

    Args:
        problem: What is wrong; empty for nothing.
        seconds: The longest wait.
        what: What is waited for.

    Raises:
        TimeoutError: It is still wrong.
    """
    for passed in looks(INTERVAL_S):
        found = problem()
        if not found:
            return
        if passed > seconds:
            raise TimeoutError(f"{what}: still not after {seconds:.0f} s: {found}")
