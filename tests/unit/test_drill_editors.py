"""Editors of records, before a service of one copy that can be told to fail as a stack of several may."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import requests

from stack.drill import client
from stack.drill.client import running
from stack.drill.editors import Editors
from stack.drill.linearizability import Kind, judge, staleness
from stack.polling import wait_until


def answer(status: int, body: object = None, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps(body).encode()
    response.headers.update(headers)
    return response


class OneCopy:
    """A service with one copy of its records, and one that is no longer changed once it is cut off.

    Attributes:
        fault: What goes wrong: ``silent`` changes a record without an answer, ``unchanged`` answers 503 and changes
            nothing, ``stale`` reads the copy, ``marked`` does so and says how old it is, ``deaf`` forgets changes.
    """

    def __init__(self) -> None:
        self.fault = ""
        self._lock = threading.Lock()
        self._rows: dict[int, tuple[str, int]] = {}
        self._copy: dict[int, tuple[str, int]] = {}

    def cut(self, fault: str) -> None:
        with self._lock:
            self._copy = dict(self._rows)
            self.fault = fault

    def session(self) -> Any:
        return nullcontext()

    def write(self, _: Any, name: str) -> requests.Response:
        number = len(self._rows) + 1
        self._rows[number] = (name, 1)
        return answer(201, {"id": number, "name": name})

    def record(self, _: Any, record: int) -> requests.Response:
        with self._lock:
            is_copy = self.fault in ("stale", "marked")
            row = (self._copy if is_copy else self._rows).get(record)
            age = {"X-Data-Age": "60"} if self.fault == "marked" else {}
        return answer(200, {"name": row[0]}, ETag=f'"{row[1]}"', **age) if row else answer(404)

    def rename(self, _: Any, record: int, name: str, tag: str = "") -> requests.Response:
        with self._lock:
            if self.fault == "unchanged":
                return answer(503)
            _, version = self._rows[record]
            if tag and tag != f'"{version}"':
                return answer(412)
            if self.fault != "deaf":
                self._rows[record] = (name, version + 1)
            if self.fault == "silent":
                raise requests.ReadTimeout
            return answer(200, {"name": name}, ETag=f'"{version + 1}"')


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> OneCopy:
    monkeypatch.setattr(client, "PAUSE_S", 0.001)
    return OneCopy()


@contextmanager
def edited(service: Any) -> Iterator[Editors]:
    """Editors that have begun, and that work on with the fault of the block for some requests each."""
    editors = Editors(service, "p-", 3)

    def some_more() -> None:
        wanted = [(each, len(each.history) + 30) for each in editors.all]
        wait_until(lambda: "too few" if any(len(each.history) < n for each, n in wanted) else "", 20, "requests")

    with running(editors):
        some_more()
        yield editors
        some_more()


def written(editors: Editors) -> int:
    return sum(each.kind is Kind.WRITE for each in editors.history(0))


def test_one_copy_is_judged_to_be_one(service: OneCopy) -> None:
    with edited(service) as editors:
        pass
    history = editors.history(0)
    assert {each.kind for each in history} >= {Kind.READ, Kind.WRITE, Kind.SWAP}
    assert {each.record for each in history} == editors.initial.keys()
    assert judge(history, editors.initial) is None


@pytest.mark.parametrize("fault", ["silent", "unchanged", "marked"])
def test_what_a_failing_service_may_do(service: OneCopy, fault: str) -> None:
    with edited(service) as editors:
        service.cut(fault)
    history = editors.history(0)
    assert judge(history, editors.initial) is None
    if fault == "marked":
        assert staleness([replace(each, age_s=0) for each in history], editors.initial)
    else:
        assert any(each.ended == float("inf") for each in history)


def test_old_answers_without_a_mark_are_found(service: OneCopy) -> None:
    with edited(service) as editors:
        service.cut("stale")
    history = editors.history(0)
    violation = judge(history, editors.initial)
    assert violation is not None
    assert violation.operation.kind in (Kind.READ, Kind.REFUSED)
    seconds = staleness(history, editors.initial)
    assert seconds is not None
    assert 0 < seconds < 10


def test_acknowledged_changes_that_are_lost_are_found(service: OneCopy) -> None:
    with edited(service) as editors:
        service.cut("deaf")
    assert judge(editors.history(0), editors.initial) is not None


def test_a_failover_that_loses_changes_is_found(service: OneCopy) -> None:
    """As with asynchronous replication: the replica goes on from what it had."""
    with edited(service) as editors:
        service.cut("")
        before = written(editors)
        wait_until(lambda: "" if written(editors) > before + 5 else "too few", 20, "writes")
        service._rows = service._copy
    assert judge(editors.history(0), editors.initial) is not None
