"""Clients of the service that write numbered rows over HTTPS, and retry as a careful client would."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import requests
from requests.adapters import HTTPAdapter

ATTEMPT_TIMEOUT_S = (1.0, 3.0)
RETRY_AFTER_S = 0.05
PAUSE_S = 0.05
STALLED_S = 1.0
PAGE = 1000


class _AtAddress(HTTPAdapter):
    """Connects to whatever address the URL has, and expects the certificate of another host name."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._host, assert_hostname=self._host, **kwargs)


class Service:
    """The API over HTTPS.

    Args:
        host: Its name, which its certificate has to bear.
        address: Where it answers; an IP address or a name.
        ca_file: The certificate of the authority to trust.
        token: The bearer token of writes.
    """

    def __init__(self, host: str, address: str, ca_file: str, token: str) -> None:
        self._host = host
        self._url = f"https://{address}/api/data"
        self._ca_file = ca_file
        self._token = token

    def session(self) -> requests.Session:
        """A session of its own, with its own connection."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self._ca_file
        session.headers.update({"Host": self._host, "Authorization": f"Bearer {self._token}"})
        session.mount("https://", _AtAddress(self._host))
        return session

    def write(self, session: requests.Session, name: str) -> int:
        """Try once to add a row, and return the status."""
        return session.post(self._url, json={"name": name}, timeout=ATTEMPT_TIMEOUT_S).status_code

    def rows(self, prefix: str) -> Counter[str]:
        """How often each name with a prefix is there.

        Raises:
            requests.RequestException: The service did not answer with the rows.
        """
        found: Counter[str] = Counter()
        after = 0
        with self.session() as session:
            while True:
                query: dict[str, str | int] = {"contains": prefix, "limit": PAGE, "after": after}
                response = session.get(self._url, params=query, timeout=10)
                response.raise_for_status()
                page = response.json()["data"]
                found.update(row["name"] for row in page)
                if len(page) < PAGE:
                    return found
                after = page[-1]["id"]


class Writer(threading.Thread):
    """Writes one numbered row after the other, each again and again until it is acknowledged.

    Attributes:
        acknowledged: The names of the rows that the service said it has.
        times: When it said so, on the clock of `time.monotonic`.
        failed_at: When an attempt last failed, on the same clock.
        statuses: How often each status came, with 0 for no answer.
    """

    def __init__(self, service: Service, prefix: str) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._prefix = prefix
        self._stopped = threading.Event()
        self.acknowledged: set[str] = set()
        self.times: list[float] = []
        self.failed_at = 0.0
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        number = 0
        with self._service.session() as session:
            while not self._stopped.is_set():
                number += 1
                self._write(session, f"{self._prefix}{number}")
                self._stopped.wait(PAUSE_S)

    def _write(self, session: requests.Session, name: str) -> None:
        while not self._stopped.is_set():
            try:
                status = self._service.write(session, name)
            except requests.RequestException:
                status = 0
            self.statuses[status] += 1
            if status == 201:
                self.times.append(time.monotonic())
                self.acknowledged.add(name)
                return
            self.failed_at = time.monotonic()
            self._stopped.wait(RETRY_AFTER_S)

    def stop(self) -> None:
        self._stopped.set()

    def longest_gap(self, since: float) -> float:
        """The longest time without an acknowledged row after a moment, in seconds."""
        times = [moment for moment in self.times if moment > since]
        before = [moment for moment in self.times if moment <= since][-1:]
        moments = [*before, *times]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


class Writers:
    """Several writers at once."""

    def __init__(self, service: Service, prefix: str, count: int) -> None:
        self._all = [Writer(service, f"{prefix}{chr(ord('a') + index % 26)}{index // 26}-") for index in range(count)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write until the block is left."""
        for writer in self._all:
            writer.start()
        try:
            yield
        finally:
            for writer in self._all:
                writer.stop()
            for writer in self._all:
                writer.join()

    def problem(self, seconds: float) -> str:
        """What is wrong with the writes of the last seconds: empty if none failed and every writer has gone on."""
        now = time.monotonic()
        if any(now - writer.failed_at < seconds for writer in self._all):
            return "writes fail"
        if any(not writer.times or now - writer.times[-1] > STALLED_S for writer in self._all):
            return "writes hang"
        return ""

    def longest_gap(self, since: float) -> float:
        """The longest time that any of them saw no row acknowledged, in seconds."""
        return max(writer.longest_gap(since) for writer in self._all)

    @property
    def acknowledged(self) -> set[str]:
        return set().union(*(writer.acknowledged for writer in self._all))

    @property
    def statuses(self) -> Counter[int]:
        total: Counter[int] = Counter()
        for writer in self._all:
            total += writer.statuses
        return total
