"""Clients that read and change a handful of records at once, and note what they were answered and when."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import requests

from .client import AGE_HEADER, Client, Clients, Service
from .linearizability import Kind, Operation

RECORDS = 5
# Of the requests, how many read, and how many change a record whatever it is; the others do if it is as they know it.
READS = 0.5
WRITES = 0.25


class Editor(Client):
    """Reads and changes records, each with a new value at each time.

    Attributes:
        history: What its requests did, or may have done.
    """

    def __init__(self, service: Service, name: str, records: Mapping[int, str]) -> None:
        """Prepare.

        Args:
            service: The API.
            name: How the values begin that it writes; no other client's do.
            records: The records' ids, with their values.
        """
        super().__init__(service)
        self._name = name
        self._records = sorted(records)
        # The value and the entity tag that each record had when this client last saw it.
        self._seen: dict[int, tuple[str, str]] = {}
        self._written = 0
        self._chance = random.Random(name)
        self.history: list[Operation] = []

    def step(self, session: requests.Session) -> None:
        record, chance = self._chance.choice(self._records), self._chance.random()
        if chance < READS or record not in self._seen:
            self.read(session, record)
        else:
            self.change(session, record, is_conditional=chance >= READS + WRITES)

    def read(self, session: requests.Session, record: int) -> None:
        """Read a record."""
        began, answer = _asked(lambda: self._service.record(session, record))
        if answer is not None:
            self._note_answer(record, began, answer)

    def change(self, session: requests.Session, record: int, *, is_conditional: bool) -> None:
        """Change a record, whatever its value, or if it still has the one that this client knows."""
        self._written += 1
        value = f"{self._name}{self._written}"
        expected, tag = self._seen[record] if is_conditional else (None, "")
        kind = Kind.SWAP if is_conditional else Kind.WRITE
        began, answer = _asked(lambda: self._service.rename(session, record, value, tag))
        status = answer.status_code if answer is not None else 0
        if answer is not None and status == HTTPStatus.OK:
            self.history.append(Operation(record, kind, began, time.monotonic(), value, expected))
            self._seen[record] = value, answer.headers["ETag"]
        elif answer is not None and status == HTTPStatus.NOT_FOUND:
            self._note_answer(record, began, answer)
        elif is_conditional and status == HTTPStatus.PRECONDITION_FAILED:
            self.history.append(Operation(record, Kind.REFUSED, began, time.monotonic(), expected=expected))
            del self._seen[record]
        else:
            self.history.append(Operation(record, kind, began, math.inf, value, expected))

    def _note_answer(self, record: int, began: float, answer: requests.Response) -> None:
        """Note what was read of a record, if anything."""
        if answer.status_code == HTTPStatus.OK:
            value: str | None = answer.json()["name"]
            self._seen[record] = str(value), answer.headers["ETag"]
        elif answer.status_code == HTTPStatus.NOT_FOUND:
            value = None
        else:
            return
        age_s = float(answer.headers.get(AGE_HEADER, 0))
        self.history.append(Operation(record, Kind.READ, began, time.monotonic(), value, age_s=age_s))


def _asked(request: Callable[[], requests.Response]) -> tuple[float, requests.Response | None]:
    """When a request was sent, and its answer if there was one."""
    began = time.monotonic()
    try:
        return began, request()
    except requests.RequestException:
        return began, None


class Editors(Clients[Editor]):
    """Editors of the same records.

    Attributes:
        initial: The value of each record before the first request.
    """

    def __init__(self, service: Service, prefix: str, count: int) -> None:
        """Make the records.

        Args:
            service: The API.
            prefix: How all values begin.
            count: How many editors there are.

        Raises:
            requests.RequestException: A record was not made.
        """
        self.initial: dict[int, str] = {}
        with service.session() as session:
            for number in range(1, RECORDS + 1):
                answer = service.write(session, f"{prefix}record-{number}")
                answer.raise_for_status()
                made = answer.json()
                self.initial[made["id"]] = made["name"]
        names = (f"{prefix}editor-{number}-" for number in range(1, count + 1))
        super().__init__([Editor(service, name, self.initial) for name in names])

    def history(self, since: float) -> list[Operation]:
        """What all of them did, with times after a moment."""
        return [operation.shifted(-since) for editor in self.all for operation in editor.history]
