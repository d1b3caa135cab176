"""``python -m bench``: the speed of the service, side by side with what it is compared with.

Everything runs on this machine and talks over loopback: a PostgreSQL server of its own, the service under gunicorn as
it is deployed, the same service without its pool, and ``wrk`` as load generator. In each round all candidates are
measured one after the other; the figures are medians over the rounds. Below them stands where the time of a request
goes, as processor time of the service, which other load on the machine changes little.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.postgres import POSTGRES, SITE_PACKAGES, Server, free_port, run_server, until

from flask_postgres_app import migrate
from flask_postgres_app.records import Records
from flask_postgres_app.settings import DatabaseSettings

APP = Path(__file__).parents[1]
ROUNDS = 5
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

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


@dataclass(frozen=True)
class Service:
    """A variant of the service that runs under gunicorn, whose process has the workers as children."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that the workers have used so far."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        # Fields 14 and 15 (proc_pid_stat(5)); the second is in parentheses, and may hold spaces.
        fields = [Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split() for worker in workers]
        return sum(int(user) + int(system) for *_, user, system in (found[:13] for found in fields)) / CLOCK_TICKS


@contextmanager
def run_service(server: Server, application: str, folder: Path) -> Iterator[Service]:
    """Run a variant of the service under gunicorn."""
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
        yield Service(url, process.pid)
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


def cpu_us(service: Service, path: str, clients: int, seconds: int) -> float:
    """Return the microseconds of processor time that the workers take for a request."""
    before = service.cpu_seconds()
    rate = wrk(service.url + path, clients, seconds)
    return (service.cpu_seconds() - before) / (rate * seconds) * 1e6


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
        pooled, unpooled, flask, gunicorn = (
            stack.enter_context(run_service(server, application, folder))
            for application in (
                "flask_postgres_app:create_app()",
                "bench.apps:connection_per_request()",
                "bench.apps:no_service()",
                "bench.apps:no_framework()",
            )
        )
        medians = measure(
            {
                "data": lambda: wrk(f"{pooled.url}/api/data", clients, seconds),
                "data, a connection per request": lambda: wrk(f"{unpooled.url}/api/data", clients, seconds),
                "no database": lambda: wrk(f"{pooled.url}/healthz", clients, seconds),
                "pgbench": lambda: pgbench(server, script, clients, seconds),
            }
        )
        layers = {
            "gunicorn: HTTP, threads, the answer": cpu_us(gunicorn, "/", clients, seconds),
            "Flask: a route, a response": cpu_us(flask, "/healthz", clients, seconds),
            "the service: headers, metrics, a log line": cpu_us(pooled, "/healthz", clients, seconds),
            "/api/data: arguments, the statement, JSON, an ETag": cpu_us(pooled, "/api/data", clients, seconds),
        }
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
    print(f"\n{'where the processor time of a request to /api/data goes':<58} {'us':>9}")
    below = 0.0
    for name, until_here in layers.items():
        print(f"{name:<58} {until_here - below:>9.0f}")
        below = until_here
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
