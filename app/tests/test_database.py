"""Losing the database in all the ways that it can be lost, and getting it back."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from conftest import AUTHORIZATION, PATIENT, run_app, settings_of
from flask_postgres_app import migrate
from flask_postgres_app.database import Database, DatabaseUnavailableError
from postgres import Server, until

# What users are promised: an answer, even without a database.
ANSWER_WITHIN_S = 2.0


def timed_get(client: FlaskClient, path: str = "/api/data") -> tuple[int, float]:
    started = time.monotonic()
    status = client.get(path).status_code
    return status, time.monotonic() - started


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    """The service with a single connection, so that each call gets that of the call before."""
    with run_app(settings_of(environ, db_pool_size=1)) as app:
        yield app


@pytest.fixture
def own_app(own_server: Server) -> Iterator[Flask]:
    own_server.execute("CREATE DATABASE app")
    settings = settings_of(own_server.environ("app"))
    migrate.upgrade(settings)
    with run_app(settings) as app:
        yield app


def backends(server: Server, environ: dict[str, str]) -> list[int]:
    rows = server.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'flask-postgres-app' "
        f"AND datname = '{environ['DB_NAME']}'"
    )
    return [pid for (pid,) in rows]


def test_a_frozen_database(own_app: Flask, own_server: Server) -> None:
    client = own_app.test_client()
    assert timed_get(client)[0] == 200
    own_server.signal(signal.SIGSTOP)
    try:
        # More at once than there are connections.
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: timed_get(own_app.test_client()), range(40)))
        answers += [timed_get(client, path) for path in ("/api/data", "/readyz", "/api/setup")]
        assert timed_get(client, "/healthz")[0] == 200
    finally:
        own_server.signal(signal.SIGCONT)
    assert {status for status, _ in answers} == {503}
    assert max(duration for _, duration in answers) < ANSWER_WITHIN_S
    until(lambda: timed_get(client)[0] == 200, timeout_s=5)


def test_a_database_frozen_before_the_first_connection(own_app: Flask, own_server: Server) -> None:
    client = own_app.test_client()
    own_server.signal(signal.SIGSTOP)
    try:
        status, duration = timed_get(client)
    finally:
        own_server.signal(signal.SIGCONT)
    assert status == 503
    assert duration < ANSWER_WITHIN_S
    until(lambda: timed_get(client)[0] == 200, timeout_s=5)


def test_a_stopped_database(own_app: Flask, own_server: Server) -> None:
    client = own_app.test_client()
    assert timed_get(client)[0] == 200
    assert own_server.pid is not None
    os.kill(own_server.pid, signal.SIGQUIT)
    until(lambda: timed_get(client)[0] == 503)
    status, duration = timed_get(client)
    assert status == 503
    assert duration < ANSWER_WITHIN_S


@pytest.mark.parametrize("idle", [False, True], ids=["fresh", "idle"])
def test_reads_survive_the_loss_of_their_connection(
    client: FlaskClient, server: Server, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, idle: bool
) -> None:
    if idle:
        monkeypatch.setattr("flask_postgres_app.database.FRESH_S", 0.0)
    assert timed_get(client)[0] == 200
    server.execute(f"SELECT pg_terminate_backend({backends(server, environ)[0]}, 5000)")
    assert timed_get(client)[0] == 200


def test_writes_survive_the_loss_of_an_idle_connection(
    client: FlaskClient, server: Server, environ: dict[str, str]
) -> None:
    assert timed_get(client)[0] == 200
    server.execute(f"SELECT pg_terminate_backend({backends(server, environ)[0]}, 5000)")
    assert client.post("/api/data", json={"name": "x"}, headers=AUTHORIZATION).status_code == 201


def test_a_write_whose_connection_breaks_is_not_repeated(app: Flask) -> None:
    database: Database = app.extensions["database"]
    with pytest.raises(DatabaseUnavailableError, match="unreachable"):
        database.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert database.execute("SELECT 1") == [(1,)]


def test_a_demoted_primary_is_left(app: Flask, client: FlaskClient) -> None:
    """A session that has become read-only stands for a primary demoted under its open connections."""
    database: Database = app.extensions["database"]
    [(before,)] = database.execute("SELECT pg_backend_pid()")
    database.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
    assert client.post("/api/data", json={"name": "x"}, headers=AUTHORIZATION).status_code == 201
    [(after,)] = database.execute("SELECT pg_backend_pid()")
    assert after != before


def test_statements_prepared_before_a_migration(client: FlaskClient, server: Server, environ: dict[str, str]) -> None:
    assert client.post("/api/data", json={"name": "x"}, headers=AUTHORIZATION).status_code == 201
    server.execute("ALTER TABLE data ALTER version TYPE integer", environ["DB_NAME"])
    assert client.post("/api/data", json={"name": "x"}, headers=AUTHORIZATION).status_code == 201


def test_a_read_only_server_is_not_taken(client: FlaskClient, server: Server, environ: dict[str, str]) -> None:
    server.execute(f"ALTER DATABASE {environ['DB_NAME']} SET default_transaction_read_only = on")
    assert timed_get(client)[0] == 503
    server.execute(f"ALTER DATABASE {environ['DB_NAME']} RESET default_transaction_read_only")
    assert timed_get(client)[0] == 200


def test_a_slow_statement_ends_and_its_connection_stays(environ: dict[str, str]) -> None:
    with run_app(settings_of(environ, db_statement_timeout_ms=100, db_pool_size=1)) as app:
        database: Database = app.extensions["database"]
        [(before,)] = database.execute("SELECT pg_backend_pid()")
        with pytest.raises(DatabaseUnavailableError, match="busy"):
            database.execute("SELECT pg_sleep(10)")
        assert database.execute("SELECT pg_backend_pid()") == [(before,)]


def test_a_lock_held_by_another_ends_in_503(environ: dict[str, str], server: Server) -> None:
    other = server.connect(environ["DB_NAME"])
    try:
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE data")
        with run_app(settings_of(environ, db_lock_timeout_ms=100)) as app:
            response = app.test_client().get("/api/data")
    finally:
        other.close()
    assert response.status_code == 503
    assert (response.json or {})["detail"] == "The database is busy."


def test_an_exhausted_pool_ends_in_503(environ: dict[str, str]) -> None:
    settings = settings_of(environ, db_pool_size=1, db_pool_timeout_ms=50)
    with run_app(settings) as app:
        database: Database = app.extensions["database"]
        holder = threading.Thread(target=database.execute, args=("SELECT pg_sleep(0.5)",))
        holder.start()
        until(lambda: _is_busy(database))
        holder.join()
        assert database.execute("SELECT 1") == [(1,)]


def _is_busy(database: Database) -> bool:
    try:
        database.execute("SELECT 1")
    except DatabaseUnavailableError as error:
        return error.reason == "busy"
    return False


@pytest.mark.parametrize("deadline_ms", [20, 100, 200])
def test_a_call_ends_at_its_deadline_whatever_others_wait_for(environ: dict[str, str], deadline_ms: int) -> None:
    """While a call of another connection has more time: the watchdog must not sleep until that one's deadline."""
    patient = settings_of(environ, db_statement_timeout_ms=10_000, db_deadline_ms=20_000)
    hasty = settings_of(environ, db_statement_timeout_ms=10_000, db_deadline_ms=deadline_ms)
    with run_app(patient) as app, run_app(hasty) as other, ThreadPoolExecutor(1) as pool:
        first: Database = app.extensions["database"]
        second: Database = other.extensions["database"]
        first.fill()
        second.fill()
        waiting = pool.submit(first.execute, "SELECT pg_sleep(1)")
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="deadline"):
            second.execute("SELECT pg_sleep(10)")
        assert deadline_ms / 1000 <= time.monotonic() - started < 1
        assert waiting.result() == [("",)]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_after_a_deadline_calls_fail_at_once(
    environ: dict[str, str], silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any pause of this machine.
    monkeypatch.setattr("flask_postgres_app.database.COOLDOWN_S", 60.0)
    settings = settings_of(environ, db_port=silent_port)
    with run_app(settings) as app:
        database: Database = app.extensions["database"]
        with pytest.raises(DatabaseUnavailableError, match="deadline"):
            database.execute("SELECT 1")
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="cooldown"):
            database.execute("SELECT 1")
        assert time.monotonic() - started < 0.1


def test_a_deadline_of_one_call_does_not_fail_others(environ: dict[str, str]) -> None:
    """A statement timeout longer than the deadline stands for a single connection whose packets are lost."""
    settings = settings_of(environ, db_statement_timeout_ms=10_000, db_deadline_ms=300)
    with run_app(settings) as app:
        database: Database = app.extensions["database"]

        def sleep() -> str:
            with pytest.raises(DatabaseUnavailableError) as caught:
                database.execute("SELECT pg_sleep(5)")
            return caught.value.reason

        with ThreadPoolExecutor(1) as pool:
            sleeping = pool.submit(sleep)
            while not sleeping.done():
                assert database.execute("SELECT 1") == [(1,)]
        assert sleeping.result() == "deadline"
        assert database.execute("SELECT 1") == [(1,)]


def test_while_one_call_tries_the_others_fail_at_once(
    environ: dict[str, str], silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_postgres_app.database.COOLDOWN_S", 0.0)
    with run_app(settings_of(environ, db_port=silent_port)) as app:
        database: Database = app.extensions["database"]

        def reason(_: object) -> str:
            with pytest.raises(DatabaseUnavailableError) as caught:
                database.execute("SELECT 1")
            return caught.value.reason

        assert reason(None) == "deadline"
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(reason, range(4))) == ["cooldown", "cooldown", "cooldown", "deadline"]


class Relay:
    """A port that swallows what it is sent until `opened` is set, and passes later connections on to a server.

    Attributes:
        port: Its number.
        swallowed: How many connections have got no answer.
    """

    def __init__(self, listener: socket.socket, server: tuple[str, int]) -> None:
        self.port = listener.getsockname()[1]
        self.swallowed = 0
        self.opened = threading.Event()
        self._listener, self._server = listener, server
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        kept = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                kept.append(client)
                if not self.opened.is_set():
                    self.swallowed += 1
                    continue
                server = socket.create_connection(self._server)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_a_server_that_is_back_is_found_although_packets_were_lost(environ: dict[str, str]) -> None:
    server = (environ["DB_HOST"], int(environ["DB_PORT"]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, server)
        with run_app(settings_of(environ, db_port=relay.port)) as app:
            database: Database = app.extensions["database"]

            def is_answered() -> bool:
                with suppress(DatabaseUnavailableError):
                    return database.execute("SELECT 1") == [(1,)]
                return False

            assert not is_answered()
            with ThreadPoolExecutor(1) as pool:
                known = relay.swallowed
                answer = pool.submit(until, is_answered)
                until(lambda: relay.swallowed > known)
                started = time.monotonic()
                relay.opened.set()
                answer.result()
            assert time.monotonic() - started < settings_of(environ).db_connect_timeout_s


def test_connections_are_few(server: Server, environ: dict[str, str]) -> None:
    settings = settings_of(environ, **PATIENT)
    size = settings.db_pool_size
    with run_app(settings) as app, ThreadPoolExecutor(2 * size) as pool:
        statuses = list(pool.map(lambda _: app.test_client().get("/api/data").status_code, range(200)))
        assert set(statuses) == {200}
        assert 1 <= len(backends(server, environ)) <= size


def test_a_wrong_password(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with run_app(settings_of(environ, db_password="not-the-password")) as app:
        response = app.test_client().get("/api/data")
    assert response.status_code == 503
    assert "password authentication failed" in caplog.text
    assert "not-the-password" not in caplog.text + response.text


def test_other_errors_of_statements_are_not_hidden(app: Flask) -> None:
    database: Database = app.extensions["database"]
    with pytest.raises(psycopg2.errors.SyntaxError):
        database.execute("SELEC")
    with pytest.raises(psycopg2.ProgrammingError, match="can't adapt"):
        database.execute("SELECT id FROM data WHERE name = %s", ({},))
    assert database.execute("SELECT 1") == [(1,)]
