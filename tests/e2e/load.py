"""Requests at a steady rate, as a background to what is done to the stack."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from conftest import NOT_YET, Stack

CLIENTS = 16


class SteadyLoad:
    """GET requests that begin on a fixed schedule, whatever became of those before them.

    Attributes:
        answered: How many requests ended with status 200.
        failures: What became of the others.
    """

    def __init__(self, stack: Stack, per_second: int) -> None:
        self.stack = stack
        self.per_second = per_second
        self.answered = 0
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._numbers = itertools.count()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.stack.ca_file)
            while True:
                with self._lock:
                    due = self._began + next(self._numbers) / self.per_second
                if self._stopped.wait(max(0.0, due - time.monotonic())):
                    return
                try:
                    answer = session.get(f"{self.stack.app_url}/api/data", timeout=10)
                    problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:500]}"
                except NOT_YET as error:
                    problem = repr(error)
                with self._lock:
                    if problem:
                        self.failures.append(f"{time.monotonic() - self._began:.1f} s: {problem}")
                    else:
                        self.answered += 1

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)


@contextmanager
def steady_load(stack: Stack, per_second: int) -> Iterator[SteadyLoad]:
    """Put a load on the service until the block ends."""
    load = SteadyLoad(stack, per_second)
    try:
        yield load
    finally:
        load.stop()
