"""Fixtures: a real PostgreSQL, a fresh database for each test, and the service over it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from flask_postgres_app import create_app, migrate
from flask_postgres_app.settings import Settings
from postgres import TOKEN, Server, free_port, run_server, until

APP = Path(__file__).parents[1]
# Processes that the tests start need the package too, installed or not.
os.environ["PYTHONPATH"] = str(APP / "src")
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
TEMPLATE = "app_template"
# For tests of what is answered and not of when: a full machine stops a process for longer than the service waits.
PATIENT = {
    "db_connect_timeout_s": 20,
    "db_pool_timeout_ms": 20_000,
    "db_statement_timeout_ms": 20_000,
    "db_lock_timeout_ms": 20_000,
    "db_deadline_ms": 21_000,
}


def settings_of(environ: dict[str, str], **changes: Any) -> Settings:
    return replace(Settings.from_environ(environ), **changes)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of the whole run: the one that ``TEST_DB_*`` points to, or else one of its own."""
    if host := os.environ.get("TEST_DB_HOST"):
        yield Server(
            host,
            int(os.environ.get("TEST_DB_PORT", "5432")),
            os.environ.get("TEST_DB_USER", "postgres"),
            os.environ["TEST_DB_PASSWORD"],
        )
    else:
        with run_server() as own:
            yield own


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, to be frozen or stopped."""
    with run_server() as own:
        yield own


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """A migrated database to copy."""
    server.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
    server.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate.upgrade(Settings.from_environ(server.environ(TEMPLATE)))
    yield TEMPLATE
    server.execute(f"DROP DATABASE {TEMPLATE}")


@contextmanager
def fresh_database(server: Server, template: str) -> Iterator[dict[str, str]]:
    """Create a database, give the environment of a service over it, and drop it."""
    name = f"test_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield server.environ(name)
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def environ(server: Server, template: str) -> Iterator[dict[str, str]]:
    """The environment of a service over a fresh, migrated database."""
    with fresh_database(server, template) as environ:
        yield environ


@pytest.fixture
def empty_environ(server: Server) -> Iterator[dict[str, str]]:
    """The same over a database without any migration."""
    with fresh_database(server, "template0") as environ:
        yield environ


@contextmanager
def run_app(settings: Settings, **kwargs: Any) -> Iterator[Flask]:
    app = create_app(settings, **kwargs)
    try:
        yield app
    finally:
        app.extensions["database"].close()


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    with run_app(settings_of(environ, **PATIENT)) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass
class Service:
    """The service under gunicorn.

    Attributes:
        log: The file with what it wrote.
    """

    process: subprocess.Popen[bytes]
    url: str
    metrics_url: str
    log: Path

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=10, **kwargs)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def run_service(
    environ: dict[str, str], folder: Path, wrapper: Sequence[str] = (), application: str = ""
) -> Iterator[Service]:
    """Run the service under gunicorn until it answers.

    Args:
        environ: Its settings.
        folder: Where its files go.
        wrapper: A command that takes another one.
        application: Another application in place of the service, as gunicorn names it.
    """
    port, metrics_port = free_port(), free_port()
    log = folder / "service.log"
    environ = {
        **os.environ,
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        **environ,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "gunicorn", *filter(None, [application])],
            cwd=APP,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    service = Service(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics", log)
    try:
        until(lambda: process.poll() is not None or _answers(service))
        assert process.poll() is None, log.read_text()
        yield service
    finally:
        process.terminate()
        process.wait(40)


def _answers(service: Service) -> bool:
    try:
        return service.get("/healthz").ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def service(environ: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    with run_service(environ, tmp_path) as service:
        yield service
