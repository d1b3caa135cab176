"""Looking names up with a deadline, whatever the name server does."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Service, run_service
from flask_postgres_app.resolver import MAX_LOOKUPS, Resolver, UnresolvedError
from flask_postgres_app.tracing import EXPORT_TIMEOUT_S
from postgres import Server, until

ANSWER_WITHIN_S = 2.0


class Names:
    """Stands in for ``getaddrinfo``: answers at once, or not before `answering` is set."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.answering = threading.Event()
        self.answering.set()
        self.asked = 0

    def __call__(self, name: str) -> tuple[str, ...]:
        self.asked += 1
        self.answering.wait()
        if name not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return tuple(self.addresses[name].split())


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names(a="10.0.0.1 fd00::1", b="10.0.0.2")
    yield names
    names.answering.set()


def test_each_address_of_each_name_in_order(names: Names) -> None:
    found = Resolver(names).resolve(["b", "a", "192.0.2.1", "::1"], 1)
    assert found == [("b", "10.0.0.2"), ("a", "10.0.0.1"), ("a", "fd00::1"), ("192.0.2.1",) * 2, ("::1",) * 2]


def test_an_address_is_not_looked_up(names: Names) -> None:
    names.answering.clear()
    assert Resolver(names).resolve(["127.0.0.1"], 1) == [("127.0.0.1", "127.0.0.1")]
    assert names.asked == 0


def test_nothing_in_time(names: Names) -> None:
    names.answering.clear()
    started = time.monotonic()
    with pytest.raises(UnresolvedError, match='"a" to address: no name server answers in time') as caught:
        Resolver(names).resolve(["a", "b"], 0.2)
    assert not caught.value.in_time
    assert 0.2 <= time.monotonic() - started < 1


def test_a_last_good_answer_counts_after_half_the_time(names: Names) -> None:
    resolver = Resolver(names)
    known = resolver.resolve(["a"], 1)
    names.answering.clear()
    started = time.monotonic()
    assert resolver.resolve(["a"], 1) == known
    assert 0.5 <= time.monotonic() - started < 1


def test_one_name_that_answers_is_enough(names: Names) -> None:
    resolver = Resolver(names)
    known = resolver.resolve(["b"], 1)
    names.answering.clear()
    assert resolver.resolve(["a", "b"], 0.2) == known


def test_a_new_address_counts_at_once(names: Names) -> None:
    resolver = Resolver(names)
    resolver.resolve(["b"], 1)
    names.addresses["b"] = "10.9.9.9"
    assert resolver.resolve(["b"], 1) == [("b", "10.9.9.9")]


def test_a_name_that_is_gone_is_not_remembered(names: Names) -> None:
    resolver = Resolver(names)
    resolver.resolve(["b"], 1)
    del names.addresses["b"]
    for timeout_s in (1, 0.1):
        with pytest.raises(UnresolvedError, match="Name or service not known") as caught:
            resolver.resolve(["b"], timeout_s)
        assert caught.value.in_time


def test_last_good_answers_may_not_count(names: Names) -> None:
    resolver = Resolver(names)
    resolver.resolve(["b"], 1)
    names.answering.clear()
    with pytest.raises(UnresolvedError, match="in time"):
        resolver.resolve(["b"], 0.1, remember=False)
    assert resolver.resolve(["b", "192.0.2.1"], 0.2, remember=False) == [("192.0.2.1", "192.0.2.1")]


def test_a_failing_name_server_is_no_answer(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(names)
    known = resolver.resolve(["b"], 1)
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    monkeypatch.setattr(resolver, "_look_up", lambda _: (_ for _ in ()).throw(again))
    assert resolver.resolve(["b"], 1) == known


def test_lookups_that_hang_are_few(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_postgres_app.resolver.NEXT_LOOKUP_S", 0.01)
    names.answering.clear()
    resolver = Resolver(names)
    for _ in range(10):
        with pytest.raises(UnresolvedError):
            resolver.resolve(["a"], 0.05)
    assert names.asked == MAX_LOOKUPS
    names.answering.set()
    until(lambda: resolver.resolve(["a"], 1))


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".", "a\nb"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(UnresolvedError):
        Resolver().resolve([name], 20)


NAME_SERVER = "127.77.0.53"
needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="a mount namespace needs root",
)


class NameServer:
    """A DNS server on loopback (RFC 1035) that answers with an address, or swallows what it is asked.

    Attributes:
        address: What it answers, unless it is None.
        swallowed: How many questions it has left without an answer.
    """

    def __init__(self, server: socket.socket, address: str) -> None:
        self.address: str | None = address
        self.swallowed = 0
        self._server = server
        # A socket that another thread waits at is not closed.
        server.settimeout(0.05)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._server.recvfrom(512)
            except TimeoutError:
                continue
            except OSError:
                return
            if self.address is None:
                self.swallowed += 1
                continue
            end = question.index(b"\0", 12) + 5
            is_a = question[end - 4 : end - 2] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(self.address) if is_a else b""
            head = question[:2] + b"\x81\x80\0\1" + bytes([0, is_a]) + b"\0\0\0\0"
            self._server.sendto(head + question[12:end] + record, client)


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((NAME_SERVER, 53))
        yield NameServer(server, "127.0.0.1")


@contextmanager
def run_named_service(environ: dict[str, str], folder: Path) -> Iterator[Service]:
    """Run the service in a mount namespace of its own, with the test's name server as its only one."""
    files = {"resolv.conf": f"nameserver {NAME_SERVER}\n", "hosts": "", "nsswitch.conf": "hosts: files dns\n"}
    for name, content in files.items():
        (folder / name).write_text(content)
    mounts = " && ".join(f"mount --bind {folder / name} /etc/{name}" for name in files)
    wrapper = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    with run_service({**environ, "DB_HOST": "postgres.test,postgres-ro.test"}, folder, wrapper) as service:
        yield service


def timed(service: Service, path: str) -> tuple[int, float]:
    started = time.monotonic()
    status = service.get(path).status_code
    return status, time.monotonic() - started


def end_sessions(server: Server, environ: dict[str, str]) -> None:
    server.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        f"WHERE application_name = 'flask-postgres-app' AND datname = '{environ['DB_NAME']}'"
    )


@needs_namespaces
def test_connections_are_lost_while_the_name_server_is_silent(
    environ: dict[str, str], server: Server, name_server: NameServer, tmp_path: Path
) -> None:
    with run_named_service(environ, tmp_path) as service:
        assert service.get("/api/data").status_code == 200
        name_server.address = None
        end_sessions(server, environ)
        # More at once than there are threads.
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: timed(service, "/api/data"), range(48)))
        assert name_server.swallowed
        assert max(duration for _, duration in answers) < ANSWER_WITHIN_S
        assert {status for status, _ in answers} <= {200, 503}
        # Where the database was, it still is.
        until(lambda: timed(service, "/api/data")[0] == 200, timeout_s=5)


@needs_namespaces
def test_a_name_server_that_is_silent_from_the_start(
    environ: dict[str, str], name_server: NameServer, tmp_path: Path
) -> None:
    name_server.address = None
    with run_named_service(environ, tmp_path) as service:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: timed(service, "/api/data"), range(48)))
            answers += pool.map(lambda _: timed(service, "/readyz"), range(4))
        assert {status for status, _ in answers} == {503}
        assert max(duration for _, duration in answers) < ANSWER_WITHIN_S
        status, duration = timed(service, "/healthz")
        assert status == 200
        assert duration < ANSWER_WITHIN_S
        threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in service.workers()]
        assert max(threads) < 4 + 2 * MAX_LOOKUPS + 8
        name_server.address = "127.0.0.1"
        until(lambda: timed(service, "/api/data")[0] == 200)


@needs_namespaces
def test_an_address_that_has_changed(environ: dict[str, str], name_server: NameServer, tmp_path: Path) -> None:
    name_server.address = "127.77.0.1"
    with run_named_service(environ, tmp_path) as service:
        assert service.get("/api/data").status_code == 503
        name_server.address = "127.0.0.1"
        until(lambda: timed(service, "/api/data")[0] == 200, timeout_s=5)


@needs_namespaces
def test_a_collector_whose_name_gets_no_answer(
    environ: dict[str, str], name_server: NameServer, tmp_path: Path
) -> None:
    name_server.address = None
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.test:4318", "WEB_CONCURRENCY": "1"}
    with run_named_service({**environ, **collector}, tmp_path) as service:
        until(lambda: "no name server answers in time" in service.log.read_text())
        status, duration = timed(service, "/healthz")
        assert status == 200
        assert duration < ANSWER_WITHIN_S
        ending = time.monotonic()
    assert time.monotonic() - ending < 2 * EXPORT_TIMEOUT_S
