"""``python -m bench``: the speed of the service, side by side with what it is compared with.

Everything runs on this machine and talks over loopback: a PostgreSQL server of its own, the service under gunicorn as
it is deployed, what it is compared with, and ``wrk`` as load generator. In each round all candidates are measured one
after the other; a ratio is the median of those of the rounds, so that other load counts on both sides. Below them
stands where the time of a request goes, as processor time of the service, which other load on the machine changes
little.
"""

from __future__ import annotations

import argparse
import math
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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import requests
from tests.postgres import POSTGRES, SITE_PACKAGES, Server, free_port, run_server, until

from flask_postgres_app import migrate
from flask_postgres_app.records import Records
from flask_postgres_app.settings import DatabaseSettings

APP = Path(__file__).parents[1]
ROUNDS = 5
SERVICE = "the service"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

WORKERS = 2
PEERS = APP / "bench" / "peers"
# Where their packages are, which are not the service's.
PEERS_BIN = APP.parent / ".venv-bench" / "bin"
# How many times the requests of others the service is to answer, by how many rows the table and so each answer has.
PEER_TARGETS = {"flask_sqlalchemy_app": 3.0, "fastapi_app": 4.0}
TARGETS = {
    1: {"a connection per request": 12.0, "pgbench": 0.20, "no database": 0.60},
    20: PEER_TARGETS,
    100: PEER_TARGETS,
}


class _Recorder:
    """Stands in for a database to learn the statement that a view executes."""

    def execute(self, sql: str, parameters: list[object], **_: Any) -> list[Any]:
        self.statement = sql % tuple(parameters)
        return []

    read = execute


def statement() -> str:
    """Return the statement behind ``GET /api/data``."""
    recorder = _Recorder()
    Records(recorder).page(101)  # type: ignore[arg-type]
    return recorder.statement


class Sample(NamedTuple):
    """What a load of some seconds was answered with.

    Attributes:
        rate: Requests a second.
        p99: The 99th percentile of their times, in milliseconds.
    """

    rate: float
    p99: float = math.nan


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
def run_process(port: int, command: list[str | Path], cwd: Path, environ: dict[str, str], path: str) -> Iterator[int]:
    """Run a server in a folder until it answers for a path, and give its process id."""
    url = f"http://127.0.0.1:{port}{path}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **environ}, stdout=log, stderr=log)
    try:
        until(lambda: _answers(url), timeout_s=60)
        yield process.pid
    finally:
        process.terminate()
        process.wait(40)


@contextmanager
def run_service(server: Server, application: str, folder: Path) -> Iterator[Service]:
    """Run a variant of the service under gunicorn."""
    port = free_port()
    environ = {
        **server.environ("postgres"),
        "METRICS_PORT": str(free_port()),
        "PORT": str(port),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / f"metrics-{port}"),
        "WEB_CONCURRENCY": str(WORKERS),
    }
    command: list[str | Path] = [sys.executable, "-m", "gunicorn", application]
    with run_process(port, command, APP, environ, "/api/setup") as pid:
        yield Service(f"http://127.0.0.1:{port}", pid)


@contextmanager
def run_peer(server: Server, name: str) -> Iterator[Service]:
    """Run one of `PEERS` with the defaults of its server."""
    port = free_port()
    commands: dict[str, list[str | Path]] = {
        "flask_sqlalchemy_app": [PEERS_BIN / "gunicorn", "-w", str(WORKERS), "-b", f"127.0.0.1:{port}"],
        "fastapi_app": [PEERS_BIN / "uvicorn", "--workers", str(WORKERS), "--port", str(port)],
    }
    environ = {"DATABASE": f"{server.user}:{server.password}@{server.host}:{server.port}/postgres"}
    # The bench's own path would lead them to the service's packages.
    environ["PYTHONPATH"] = ""
    with run_process(port, [*commands[name], f"{name}:app"], PEERS, environ, "/api/data") as pid:
        yield Service(f"http://127.0.0.1:{port}", pid)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def wrk(url: str, clients: int, seconds: int) -> Sample:
    """Load an address for some seconds."""
    output = subprocess.run(
        ["wrk", "--latency", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in output:
        sys.exit(f"{url} answered with errors:\n{output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    assert rate is not None, output
    assert p99 is not None, output
    return Sample(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


def pgbench(server: Server, script: Path, clients: int, seconds: int) -> Sample:
    """Execute a statement for some seconds."""
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
    return Sample(float(match[1]))


def measure(candidates: dict[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Return the samples of each candidate, one a round."""
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    for number in range(1, ROUNDS + 1):
        for name, run in candidates.items():
            samples[name].append(run())
            print(f"round {number} of {ROUNDS}: {name} {samples[name][-1].rate:,.0f}/s", file=sys.stderr)
    return samples


def figures(samples: list[Sample]) -> str:
    """Return the medians, to read."""
    rate, p99 = map(statistics.median, zip(*samples, strict=True))
    return f"{rate:,.0f} a second" + ("" if math.isnan(p99) else f", p99 {p99:.1f} ms")


def fill(server: Server, count: int) -> None:
    """Make the table hold so many rows."""
    server.execute("TRUNCATE data")
    names = f"SELECT 'Record number ' || n FROM generate_series(1, {count}) AS n"  # nosec B608
    server.execute(f"INSERT INTO data (name) {names}")
    server.execute("VACUUM ANALYZE data")


def cpu_us(service: Service, path: str, clients: int, seconds: int) -> float:
    """Return the microseconds of processor time that the workers take for a request."""
    before = service.cpu_seconds()
    rate = wrk(service.url + path, clients, seconds).rate
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
    if not PEERS_BIN.exists():
        sys.exit(f"{PEERS_BIN} is needed: `make bench` installs what the service is compared with")

    print(f"load average at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", file=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(run_server())
        migrate.upgrade(DatabaseSettings.from_environ(server.environ("postgres")))
        script = folder / "statement.sql"
        script.write_text(statement())
        service, unpooled, flask, gunicorn = (
            stack.enter_context(run_service(server, application, folder))
            for application in (
                "flask_postgres_app:create_app()",
                "bench.apps:connection_per_request()",
                "bench.apps:no_service()",
                "bench.apps:no_framework()",
            )
        )
        peers = {name: stack.enter_context(run_peer(server, name)) for name in PEER_TARGETS}
        loads: dict[str, Callable[[], Sample]] = {
            "a connection per request": lambda: wrk(f"{unpooled.url}/api/data", clients, seconds),
            "no database": lambda: wrk(f"{service.url}/healthz", clients, seconds),
            "pgbench": lambda: pgbench(server, script, clients, seconds),
            **{name: partial(wrk, f"{peer.url}/api/data", clients, seconds) for name, peer in peers.items()},
        }
        samples = {}
        for count, targets in TARGETS.items():
            fill(server, count)
            own = {SERVICE: lambda: wrk(f"{service.url}/api/data", clients, seconds)}
            samples[count] = measure(own | {name: loads[name] for name in targets})
        layers = {
            "gunicorn: HTTP, threads, the answer": cpu_us(gunicorn, "/", clients, seconds),
            "Flask: a route, a response": cpu_us(flask, "/healthz", clients, seconds),
            "the service: headers, metrics, a log line": cpu_us(service, "/healthz", clients, seconds),
            "/api/data of 100 rows: arguments, the statement, an ETag": cpu_us(service, "/api/data", clients, seconds),
        }
    missed = False
    print(f"{'':<58} {'measured':>9} {'target':>10}")
    for count, targets in TARGETS.items():
        own = samples[count].pop(SERVICE)
        print(f"/api/data with {count} row{'s' * (count > 1)}: {figures(own)}")
        for name, others in samples[count].items():
            rate = statistics.median(mine.rate / other.rate for mine, other in zip(own, others, strict=True))
            p99 = statistics.median(mine.p99 / other.p99 for mine, other in zip(own, others, strict=True))
            missed |= rate < targets[name] or (name in PEER_TARGETS and p99 > 1)
            target = targets[name]
            print(row(f"  requests, over {name}", f"{rate:.2f}", f">= {target:.2f}", rate >= target), figures(others))
            if name in PEER_TARGETS:
                print(row(f"  p99, over {name}", f"{p99:.2f}", "<= 1.00", p99 <= 1))
    print(f"\n{'where the processor time of a request to /api/data goes':<58} {'us':>9}")
    below = 0.0
    for name, until_here in layers.items():
        print(f"{name:<58} {until_here - below:>9.0f}")
        below = until_here
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
