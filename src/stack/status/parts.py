"""Several things asked at once, each with the same deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

DEADLINE_S = 5.0


def side_by_side(
    readers: Mapping[str, Callable[[], Any]], expected: tuple[type[Exception], ...], seconds: float = DEADLINE_S
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Call functions at once, and wait for none longer than the deadline.

    Args:
        readers: The functions by name.
        expected: What a function may end with; any other exception is raised here.
        seconds: The deadline of all.

    Returns:
        What the functions returned, and what the others ended with; TimeoutError for the deadline.
    """
    values: dict[str, Any] = {}
    errors: dict[str, Exception] = {}

    def call(name: str, read: Callable[[], Any]) -> None:
        try:
            values[name] = read()
        except Exception as error:  # noqa: BLE001 - raised below, where somebody sees it
            errors[name] = error

    # Nothing waits for a daemon, so that one that hangs on a dead node does not keep the program.
    threads = {name: threading.Thread(target=call, args=(name, read), daemon=True) for name, read in readers.items()}
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    found, failed = dict(values), dict(errors)
    for error in failed.values():
        if not isinstance(error, expected):
            raise error
    for name in readers.keys() - found.keys() - failed.keys():
        failed[name] = TimeoutError(f"no answer within {seconds:.0f} s")
    return found, failed
