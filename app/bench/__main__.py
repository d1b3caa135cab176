"""``python -m bench``: the speed of the service, side by side with what it is compared with.

Everything runs on this machine and talks over loopback: a PostgreSQL server of its own, the service under gunicorn as
it is deployed, the same service without its pool, and ``wrk`` as load generator. In each round all candidates are
measured one after the other; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from tests.postgres import POSTGRES, SITE_PACKAGES, Server, free_port, run_server, until

from flask_postgres_app import migrate
from flask_postgres_app.records import Records
from flask_postgres_app.settings import DatabaseSettings

APP = Path(__file__).parents[1]
ROUNDS = 5

POOL_TARGET = 12.0
PGBENCH_TARGET = 0.20
NO_DATABASE_TARGET = 0.60


class _Recorder:
    """Stands in for a database to learn the statement that a view executes."""

    def execute(self, sql: str, parameters: list[object], **_: Any) -> list[Any]:
        self.statement = sql % tuple(parameters)
        return []


def statement() -> str:
    """Return the statement behind ``GET /api/data``."""
    recorder = _Recorder()
    Records(recorder).page(101)  # type: ignore[arg-type]
    return recorder.statement


@contextmanager
def run_service(server: Server, application: str, folder: Path) -> Iterator[str]:
    """Run a variant of the service under gunicorn and give its URL."""
    port = free_port()
    environ = {
        **os.environ,
        **server.environ("postgres"),
        "METRICS_PORT": str(free_port()),
        "PORT": str(port),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / f"metrics-{port}"),
    }
    url = f"http://127.0.0.1:{port}"
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", application], cwd=APP, env=environ, stdout=log, stderr=log
        )
    try:
        until(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(40)


def _answers(url: str) -> bool:
    try:
        return requests.get(url + "/api/setup", timeout=5).ok
    except requests.ConnectionError:
        return False


def wrk(url: str, clients: int, seconds: int) -> float:
    """Return requests a second."""
    output = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"{url} answered with errors:\n{output}")
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match is not None, output
    return float(match[1])


def pgbench(server: Server, script: Path, clients: int, seconds: int) -> float:
    """Return transactions a second."""
    output = subprocess.run(
        [
            SITE_PACKAGES / POSTGRES / "bin" / "pgbench",
            *("-h", server.host, "-p", str(server.port), "-U", server.user, "-n", "-M", "prepared"),
            *("-c", str(clients), "-j", "2", "-T", str(seconds), "-f", script, "postgres"),
        ],
        env={**os.environ, "PGPASSWORD": server.password},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    match = re.search(r"tps = ([\d.]+)", output)
    assert match is not None, output
    return float(match[1])


def measure(candidates: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the median of each candidate."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(1, ROUNDS + 1):
        for name, run in candidates.items():
            samples[name].append(run())
            print(f"round {number} of {ROUNDS}: {name} {samples[name][-1]:,.0f}/s", file=sys.stderr)
    return {name: statistics.median(values) for name, values in samples.items()}


def row(name: str, value: str, target: str, reached: bool) -> str:
    """Return a line of the table."""
    return f"{name:<58} {value:>9} {target:>10}   {'reached' if reached else 'MISSED'}"


def main() -> int:
    """Measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8, help="concurrent connections (default: 8)")
    parser.add_argument(
        "--seconds", type=int, default=3, choices=range(1, 31), metavar="1-30", help="length of a sample"
    )
    arguments = parser.parse_args()
    clients, seconds = arguments.clients, arguments.seconds
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: install the package of that name")

    print(f"load average at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", file=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(run_server())
        migrate.upgrade(DatabaseSettings.from_environ(server.environ("postgres")))
        script = folder / "statement.sql"
        script.write_text(statement())
        pooled = stack.enter_context(run_service(server, "flask_postgres_app:create_app()", folder))
        unpooled = stack.enter_context(run_service(server, "bench.apps:connection_per_request()", folder))
        medians = measure(
            {
                "data": lambda: wrk(f"{pooled}/api/data", clients, seconds),
                "data, a connection per request": lambda: wrk(f"{unpooled}/api/data", clients, seconds),
                "no database": lambda: wrk(f"{pooled}/healthz", clients, seconds),
                "pgbench": lambda: pgbench(server, script, clients, seconds),
            }
        )
    print(f"{'':<58} {'measured':>9} {'target':>10}")
    data = medians["data"]
    missed = False
    for name, base, target in (
        ("/api/data over itself with a connection per request", "data, a connection per request", POOL_TARGET),
        ("/api/data over pgbench, same statement and clients", "pgbench", PGBENCH_TARGET),
        ("/api/data over a route without a database", "no database", NO_DATABASE_TARGET),
    ):
        ratio = data / medians[base]
        missed |= ratio < target
        print(row(name, f"{ratio:.2f}", f">= {target:.2f}", ratio >= target))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
