"""Clients of the service over HTTPS: writers of numbered rows, which retry as a careful client would, and readers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import requests
from requests.adapters import HTTPAdapter

ATTEMPT_TIMEOUT_S = (1.0, 3.0)
RETRY_AFTER_S = 0.05
PAUSE_S = 0.05
STALLED_S = 1.0
PAGE = 1000
# Has how old the answer of a replica may be at most, in seconds.
AGE_HEADER = "X-Data-Age"


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
        self.address = address
        self._host = host
        self._url = f"https://{address}/api/data"
        self._ca_file = ca_file
        self._token = token

    def at(self, address: str) -> Service:
        """The same API at another address."""
        return Service(self._host, address, self._ca_file, self._token)

    def session(self) -> requests.Session:
        """A session of its own, with its own connection."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self._ca_file
        session.headers.update({"Host": self._host, "Authorization": f"Bearer {self._token}"})
        session.mount("https://", _AtAddress(self._host))
        return session

    def write(self, session: requests.Session, name: str) -> requests.Response:
        """Try once to add a row."""
        return session.post(self._url, json={"name": name}, timeout=ATTEMPT_TIMEOUT_S)

    def read(self, session: requests.Session) -> requests.Response:
        """Try once to read a row."""
        return session.get(self._url, params={"limit": 1}, timeout=ATTEMPT_TIMEOUT_S)

    def record(self, session: requests.Session, record: int) -> requests.Response:
        """Try once to read the row of an id."""
        return session.get(f"{self._url}/{record}", timeout=ATTEMPT_TIMEOUT_S)

    def rename(self, session: requests.Session, record: int, name: str, tag: str = "") -> requests.Response:
        """Try once to rename the row of an id; only if it still has an entity tag, where one is given."""
        headers = {"If-Match": tag} if tag else {}
        return session.put(f"{self._url}/{record}", json={"name": name}, headers=headers, timeout=ATTEMPT_TIMEOUT_S)

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


@dataclass(frozen=True)
class Attempt:
    """One request.

    Attributes:
        ended: When it ended, on the clock of `time.monotonic`.
        status: The status of its answer; 0 for no answer.
        succeeded: Whether the client had what it wanted.
        age: How old the answer may be, in seconds, where a replica gave it.
    """

    ended: float
    status: int
    succeeded: bool
    age: int | None = None


def longest_gap(attempts: Sequence[Attempt], since: float) -> float:
    """The longest time between two successes after a moment, in seconds, with the last one before it."""
    times = [attempt.ended for attempt in attempts if attempt.succeeded]
    before = [moment for moment in times if moment <= since][-1:]
    return max(
        (later - earlier for earlier, later in pairwise([*before, *(moment for moment in times if moment > since)])),
        default=0.0,
    )


class Client(threading.Thread):
    """Sends one request after the other, each with a connection that is kept as long as it lasts.

    Attributes:
        attempts: What became of its requests.
    """

    # The status of a request that had what it wanted.
    wanted = 200

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._stopped = threading.Event()
        self.attempts: list[Attempt] = []

    def run(self) -> None:
        with self._service.session() as session:
            while not self._stopped.is_set():
                self.step(session)
                self._stopped.wait(PAUSE_S)

    def step(self, session: requests.Session) -> None:
        """Send what is next."""
        raise NotImplementedError

    def send(self, request: Callable[[], requests.Response]) -> bool:
        """Send a request, note what became of it, and return whether it succeeded."""
        status, age = 0, None
        try:
            answer = request()
        except requests.RequestException:
            pass
        else:
            status = answer.status_code
            age = int(answer.headers[AGE_HEADER]) if AGE_HEADER in answer.headers else None
        self.attempts.append(Attempt(time.monotonic(), status, status == self.wanted, age))
        return status == self.wanted

    def stop(self) -> None:
        self._stopped.set()

    def problem(self, seconds: float) -> str:
        """What is wrong with the requests of the last seconds: empty if none failed and they have gone on."""
        now = time.monotonic()
        recent = [attempt for attempt in reversed(self.attempts) if now - attempt.ended < max(seconds, STALLED_S)]
        if any(not attempt.succeeded and now - attempt.ended < seconds for attempt in recent):
            return "fail"
        if not any(attempt.succeeded and now - attempt.ended <= STALLED_S for attempt in recent):
            return "hang"
        return ""


class Writer(Client):
    """Writes one numbered row after the other, each again and again until it is acknowledged.

    Attributes:
        acknowledged: The names of the rows that the service said it has.
    """

    wanted = 201

    def __init__(self, service: Service, prefix: str) -> None:
        super().__init__(service)
        self._prefix = prefix
        self.acknowledged: list[str] = []

    def step(self, session: requests.Session) -> None:
        name = f"{self._prefix}{len(self.acknowledged) + 1}"
        while not self._stopped.is_set():
            if self.send(lambda: self._service.write(session, name)):
                self.acknowledged.append(name)
                return
            self._stopped.wait(RETRY_AFTER_S)


class Reader(Client):
    """Reads a row, over and over."""

    def step(self, session: requests.Session) -> None:
        self.send(lambda: self._service.read(session))


Kind = TypeVar("Kind", bound=Client)


class Clients(Generic[Kind]):
    """Several clients of a kind at once."""

    def __init__(self, clients: Sequence[Kind]) -> None:
        self.all = clients

    def problem(self, seconds: float) -> str:
        """What is wrong with the requests of the last seconds; empty for nothing."""
        return next(filter(None, (client.problem(seconds) for client in self.all)), "")

    def longest_gap(self, since: float) -> float:
        """The longest time after a moment that any of them had no success, in seconds."""
        return max(longest_gap(client.attempts, since) for client in self.all)

    def attempts(self, since: float) -> list[Attempt]:
        """What they have tried after a moment."""
        return [attempt for client in self.all for attempt in client.attempts if attempt.ended > since]


def writers(service: Service, prefix: str, count: int) -> Clients[Writer]:
    """Writers of rows whose names begin with a prefix."""
    names = (f"{prefix}{chr(ord('a') + index % 26)}{index // 26}-" for index in range(count))
    return Clients([Writer(service, name) for name in names])


def readers(service: Service, count: int) -> Clients[Reader]:
    """Readers."""
    return Clients([Reader(service) for _ in range(count)])


@contextmanager
def running(*groups: Clients[Any]) -> Iterator[None]:
    """Let clients send until the block is left."""
    everybody: list[Client] = [client for group in groups for client in group.all]
    for client in everybody:
        client.start()
    try:
        yield
    finally:
        for client in everybody:
            client.stop()
        for client in everybody:
            client.join()
