"""What patroni-run changes of Patroni: with the Patroni of the image, and a server in the place of the API server."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import patroni.__main__
import patroni.postgresql
import patroni.postgresql.postmaster
import psutil
import pytest
import yaml
from patroni import ha
from patroni.dcs import kubernetes
from patroni.exceptions import DCSError
from patroni.file_perm import pg_perm
from patroni.postgresql.mpp import get_mpp
from patroni.version import __version__

# Patroni takes rights of new files away where it is imported; what other tests compile would be readable by root alone.
os.umask(pg_perm.orig_umask)

IMAGE = Path(__file__).parents[2] / "images/postgres"
OWN, OTHER = "postgres-0", "postgres-1"


class ApiServer(ThreadingHTTPServer):
    """Has one ConfigMap, that of the primary's lock.

    Attributes:
        leader: Who has the lock.
        version: The version of the ConfigMap.
        failing: The methods that are answered with an error, and its status.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.leader, self.version, self.failing = OWN, 5, dict[str, int]()

    def configmap(self) -> dict[str, Any]:
        metadata = {"name": "postgres-leader", "resourceVersion": str(self.version)}
        return {"kind": "ConfigMap", "metadata": {**metadata, "annotations": {"leader": self.leader}}}


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.server.failing.get(self.command, 200)
        if self.command == "PATCH" and status == 200:
            if json.loads(body)["metadata"]["resourceVersion"] == str(self.server.version):
                self.server.version += 1
            else:
                status = 409
        found = self.server.configmap() if status == 200 else {"kind": "Status", "code": status, "message": "no"}
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PATCH = answer  # noqa: N815 - as the base class has them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def patroni_run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = SourceFileLoader("patroni_run", str(IMAGE / "bin/patroni-run"))
    spec = spec_from_loader("patroni_run", loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    return module


@pytest.fixture
def store(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kubernetes.Kubernetes:
    """Patroni's store of an instance that has the lock by what it last saw."""
    address = f"http://127.0.0.1:{server.server_port}"
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": address}}],
        "users": [{"name": "x", "user": {}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(kubernetes, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    # What they would watch is set here.
    monkeypatch.setattr(kubernetes.ObjectCache, "start", lambda _: None)
    settings = {"scope": "postgres", "name": OWN, "labels": {"app": "postgres"}, "context": "x", "pod_ip": "192.0.2.1"}
    times = {"ttl": 20, "loop_wait": 1, "retry_timeout": 2}
    store = kubernetes.Kubernetes({**settings, **times}, get_mpp({}))
    store._kinds.set("postgres-leader", kubernetes.K8sObject(server.configmap()))
    return store


def test_the_patroni_of_these_tests_is_that_of_the_image() -> None:
    assert re.findall(r"^patroni==(\S+)", (IMAGE / "requirements.txt").read_text(), re.MULTILINE) == [__version__]


def test_what_is_replaced_is_there(patroni_run: ModuleType) -> None:
    """A name that Patroni no longer knows could be set in vain."""
    assert patroni.postgresql.STOP_POLLING_INTERVAL > patroni_run.POLL_SECONDS
    assert "STOP_POLLING_INTERVAL" in inspect.getsource(patroni.postgresql.Postgresql)
    assert callable(patroni.__main__.Patroni.ensure_unique_name)
    for name, replaced in {"stop": patroni.postgresql.Postgresql, "update_leader": kubernetes.Kubernetes}.items():
        original = inspect.signature(getattr(replaced, name)).parameters
        ours = inspect.signature(getattr(patroni_run, name)).parameters
        assert {each for each in ours if each not in ("args", "kwargs")} <= original.keys()
    assert callable(patroni.postgresql.Postgresql.is_running)
    assert issubclass(patroni.postgresql.postmaster.PostmasterProcess, psutil.Process)
    # Its callback of a stop sleeps by this module's clock.
    assert "time.sleep(1)" in inspect.getsource(ha.Ha.demote)
    assert ha.time is time
    # Failsafe mode begins where the store raises this.
    assert issubclass(kubernetes.KubernetesError, DCSError)


@pytest.mark.parametrize(
    ("titles", "called"),
    [
        # PostgreSQL sends, and then archives, which nobody waits for.
        ([["walsender standby", "archiver"], ["walsender standby", "archiver"], ["archiver"]], 3),
        # Without a replica there is nobody to wait for.
        ([["archiver"]], 1),
        # It has ended.
        ([["walsender standby"], None], 0),
    ],
)
def test_replicas_are_asked_when_they_have_been_sent_everything(
    patroni_run: ModuleType, monkeypatch: pytest.MonkeyPatch, titles: list[list[str] | None], called: int
) -> None:
    looked, asked = 0, []

    class Postgresql:
        def is_running(self) -> Any:
            nonlocal looked
            looked += 1
            now = titles[looked - 1]
            children = [SimpleNamespace(cmdline=partial(list, [f"postgres: {each}"])) for each in now or []]
            return SimpleNamespace(children=lambda: children) if now is not None else None

    def patronis(_: Any, on_shutdown: Any) -> bool:
        on_shutdown(7, 5)
        return True

    def on_shutdown(*lsns: int) -> None:
        began = time.monotonic()
        ha.time.sleep(1)
        asked.append((looked, *lsns, time.monotonic() - began < 0.5))

    monkeypatch.setattr(patroni_run, "_stop", patronis)
    monkeypatch.setattr(ha, "time", patroni_run.HaTime())
    assert patroni_run.stop(Postgresql(), on_shutdown=on_shutdown) is True
    assert asked == ([(called, 7, 5, True)] if called else [])
    # Elsewhere Patroni sleeps as before.
    began = time.monotonic()
    ha.time.sleep(0.1)
    assert time.monotonic() - began >= 0.1


def test_a_primary_that_sends_for_ever_is_not_waited_for(
    patroni_run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = SimpleNamespace(children=lambda: [SimpleNamespace(cmdline=lambda: ["postgres: walsender standby"])])
    monkeypatch.setattr(patroni_run, "_stop", lambda _, on_shutdown: on_shutdown(7, 5))
    monkeypatch.setattr(patroni_run, "PATIENCE_SECONDS", 0.1)
    asked: list[int] = []
    patroni_run.stop(SimpleNamespace(is_running=lambda: sender), on_shutdown=lambda *lsns: asked.extend(lsns))
    assert asked == [7, 5]


def test_the_lock_is_renewed(patroni_run: ModuleType, store: kubernetes.Kubernetes, server: ApiServer) -> None:
    assert patroni_run.update_leader(store, None, 1) is True
    assert server.version == 6


@pytest.mark.parametrize("failing", [{"PATCH": 409}, {"PATCH": 422}, {"PATCH": 500}, {"PATCH": 409, "GET": 500}])
def test_a_lock_that_nobody_else_has_is_not_given_up(
    patroni_run: ModuleType, store: kubernetes.Kubernetes, server: ApiServer, failing: dict[str, int]
) -> None:
    server.failing, server.version = failing, 7
    with pytest.raises(kubernetes.KubernetesError):
        patroni_run.update_leader(store, None, 1)
    server.failing = {}
    # And the next attempt succeeds, though the version was another one.
    if "GET" not in failing:
        assert patroni_run.update_leader(store, None, 1) is True


@pytest.mark.parametrize("failing", [{}, {"PATCH": 409}, {"PATCH": 422}])
def test_a_lock_that_another_instance_has_is_given_up(
    patroni_run: ModuleType, store: kubernetes.Kubernetes, server: ApiServer, failing: dict[str, int]
) -> None:
    server.failing, server.version, server.leader = failing, 7, OTHER
    assert patroni_run.update_leader(store, None, 1) is False


def test_an_api_server_that_is_away_is_no_reason_either(
    patroni_run: ModuleType, store: kubernetes.Kubernetes, server: ApiServer
) -> None:
    server.server_close()
    with pytest.raises(kubernetes.KubernetesError):
        patroni_run.update_leader(store, None, 1)
