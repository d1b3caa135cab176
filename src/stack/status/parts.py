"""Several things asked at once, each with the same deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

DEADLINE_S = 5.0


class Waiting:
    """Functions that have been called at once, and are waited for.

    Args:
        readers: The functions by name.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Any]]) -> None:
        self._began = time.monotonic()
        self._values: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}
        # Nothing waits for a daemon, so that one that hangs on a dead node does not keep the program.
        self._threads = {
            name: threading.Thread(target=self._call, args=(name, read), daemon=True) for name, read in readers.items()
        }
        for thread in self._threads.values():
            thread.start()

    def _call(self, name: str, read: Callable[[], Any]) -> None:
        try:
            self._values[name] = read()
        except Exception as error:  # noqa: BLE001 - raised below, where somebody sees it
            self._errors[name] = error

    def results(
        self, expected: tuple[type[Exception], ...], seconds: float
    ) -> tuple[dict[str, Any], dict[str, Exception]]:
        """Wait for the functions, for none longer than the deadline.

        Args:
            expected: What a function may end with; any other exception is raised here.
            seconds: The deadline of all, since they were called.

        Returns:
            What the functions returned, and what the others ended with; TimeoutError for the deadline.
        """
        deadline = self._began + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        found, failed = dict(self._values), dict(self._errors)
        for error in failed.values():
            if not isinstance(error, expected):
                raise error
        for name in self._threads.keys() - found.keys() - failed.keys():
            failed[name] = TimeoutError(f"no answer within {seconds:.0f} s")
        return found, failed


def side_by_side(
    readers: Mapping[str, Callable[[], Any]], expected: tuple[type[Exception], ...], seconds: float = DEADLINE_S
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Call functions at once, and wait for none longer than the deadline; see `Waiting.results`."""
    return Waiting(readers).results(expected, seconds)
