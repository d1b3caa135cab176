"""Reads while no primary answers, with a real replica."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from flask import Flask

from conftest import AUTHORIZATION, run_app, settings_of
from flask_postgres_app import migrate
from flask_postgres_app.replica import Ages, State
from postgres import Server, run_replica, run_server, until

SILENCE_S = 2


@dataclass
class Pair:
    """The service over a primary and its replica."""

    app: Flask
    primary: Server
    replica: Server

    def get(self, path: str = "/api/data") -> tuple[int, str | None]:
        """The status of an answer, and how old it says that it is."""
        answer = self.app.test_client().get(path)
        return answer.status_code, answer.headers.get("X-Data-Age")

    def write(self, name: str) -> int:
        return self.app.test_client().post("/api/data", json={"name": name}, headers=AUTHORIZATION).status_code

    def replays(self, name: str) -> bool:
        return self.replica.execute(f"SELECT 1 FROM data WHERE name = '{name}'", "app") == [(1,)]

    def look(self) -> None:
        """Do once what a worker process does all the time."""
        self.app.extensions["database"].replica.look()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with run_server() as primary:
        primary.execute("CREATE DATABASE app")
        migrate.upgrade(settings_of(primary.environ("app")))
        with run_replica(primary) as replica:
            yield primary, replica


@contextmanager
def pair_of(primary: Server, replica: Server, **changes: object) -> Iterator[Pair]:
    place = {"db_read_host": replica.host, "db_read_port": replica.port}
    with run_app(settings_of(primary.environ("app"), **{**place, **changes})) as app:
        pair = Pair(app, primary, replica)
        name = f"written at {time.monotonic()}"
        assert pair.write(name) == 201
        until(lambda: pair.replays(name))
        yield pair


@pytest.fixture
def pair(servers: tuple[Server, Server]) -> Iterator[Pair]:
    with pair_of(*servers) as pair:
        yield pair


@pytest.fixture
def frozen(pair: Pair) -> Iterator[Pair]:
    pair.primary.signal(signal.SIGSTOP)
    yield pair
    pair.primary.signal(signal.SIGCONT)
    until(lambda: pair.get() == (200, None))


def test_the_primary_answers_as_long_as_it_can(pair: Pair) -> None:
    assert pair.get() == (200, None)
    assert pair.get("/api/data/1") == (404, None)


def test_a_replica_answers_in_place_of_a_frozen_primary(frozen: Pair) -> None:
    for path, wanted in (("/api/data", 200), ("/api/data?limit=1", 200), ("/api/data/1", 404)):
        status, age = frozen.get(path)
        assert (path, status) == (path, wanted)
        assert age is not None
        assert 0 <= int(age) <= 60


def test_writes_get_503_meanwhile(frozen: Pair) -> None:
    client = frozen.app.test_client()
    until(lambda: frozen.get()[1] is not None)
    etag = client.get("/api/data").headers["ETag"]
    answers = [
        client.post("/api/data", json={"name": "x"}, headers=AUTHORIZATION),
        client.put("/api/data/1", json={"name": "x"}, headers=AUTHORIZATION),
        # What these read before they write must not come from a replica.
        client.put("/api/data/1", json={"name": "x"}, headers={**AUTHORIZATION, "If-Match": etag}),
        client.patch("/api/data/1", json={}, headers=AUTHORIZATION),
        client.delete("/api/data/1", headers=AUTHORIZATION),
    ]
    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [(503, "1")] * 5
    assert not any("X-Data-Age" in answer.headers for answer in answers)
    assert client.get("/readyz").status_code == 503


def test_a_replica_of_unknown_age_is_not_asked(servers: tuple[Server, Server]) -> None:
    """Where nothing was written for long, only what the process has seen before tells that nothing is missing."""
    with pair_of(*servers, db_read_max_age_s=3) as pair:
        pair.primary.signal(signal.SIGSTOP)
        try:
            until(lambda: pair.get() == (503, None))
        finally:
            pair.primary.signal(signal.SIGCONT)
        until(lambda: pair.get() == (200, None))


def test_a_replica_that_was_in_touch_is_asked_although_nothing_was_written_for_long(frozen: Pair) -> None:
    ages = frozen.app.extensions["database"].replica._ages
    old = State("127.0.0.1", True, False, float(SILENCE_S), 86_400.0)
    assert ages.of(old, time.monotonic()) == 86_400
    ages.of(old._replace(is_streaming=True), 1000.0)
    assert ages.of(old, 1005.0) == 5 + SILENCE_S


@pytest.mark.parametrize(
    ("state", "age"),
    [
        (State("a", False, False, 10, None), 0),
        (State("a", True, True, 10, 3600), 10),
        (State("a", True, True, 10, 0.2), 0.2),
        # By the clock of another machine, which is ahead.
        (State("a", True, False, 10, -0.1), 0),
        (State("a", True, False, 10, None), math.inf),
        (State("a", True, None, 10, 7), 7),
        # A connection that may outlast any silence tells nothing.
        (State("a", True, True, 0, 3600), 3600),
    ],
)
def test_ages(state: State, age: float) -> None:
    assert Ages().of(state, 5.0) == age


def test_one_replica_tells_nothing_of_another() -> None:
    ages = Ages()
    ages.of(State("a", True, True, 10, None), 5.0)
    assert ages.of(State("b", True, False, 10, None), 6.0) == math.inf


def test_a_stopped_primary_and_its_promoted_replica() -> None:
    with run_server() as primary:
        primary.execute("CREATE DATABASE app")
        migrate.upgrade(settings_of(primary.environ("app")))
        with run_replica(primary) as replica, pair_of(primary, replica) as pair:
            assert primary.pid is not None
            os.kill(primary.pid, signal.SIGQUIT)
            until(lambda: pair.get()[1] is not None)
            assert pair.get()[0] == 200
            replica.execute("SELECT pg_promote()")
            assert pair.get() == (200, None)
            pair.look()
            opened = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flask-postgres-app'"
            until(lambda: replica.execute(opened) == [(0,)])
