"""The service on a developer's machine, with what its pod in the cluster gets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stack.developer.local import environment, files, sources
from stack.developer.processes import free_port, running, tunnel
from stack.polling import wait_until

CONFIG = ("ConfigMap", "flask-app-config")
LOGIN = ("Secret", "flask-app-db")
AUTHORITY = ("ConfigMap", "ca-certificates")
CLIENT = ("Secret", "flask-app-client-tls")
DATA = {
    CONFIG: {"DB_SSLROOTCERT": "/etc/ssl/stack/ca.crt", "DB_READ_HOST": "postgres-ro", "TRUSTED_PROXIES": "1"},
    LOGIN: {"DB_HOST": "postgres", "DB_PORT": "5432", "DB_PASSWORD": "/etc/passwords"},
    AUTHORITY: {"ca.crt": "authority"},
    CLIENT: {"tls.crt": "certificate", "tls.key": "key"},
}


def deployment(*, client: bool) -> dict[str, Any]:
    """The service's, with a client certificate or without."""
    container: dict[str, Any] = {
        "envFrom": [{"configMapRef": {"name": CONFIG[1]}}, {"secretRef": {"name": LOGIN[1]}}],
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # nosec B108
            {"name": "ca", "mountPath": "/etc/ssl/stack", "readOnly": True},
        ],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "ca", "configMap": {"name": AUTHORITY[1]}},
    ]
    if client:
        container["env"] = [{"name": "PGSSLKEY", "value": "/etc/ssl/client/tls.key"}]
        container["volumeMounts"].append({"name": "client-certificate", "mountPath": "/etc/ssl/client"})
        volumes.append({"name": "client-certificate", "secret": {"secretName": CLIENT[1]}})
    return {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}}


@pytest.mark.parametrize(("client", "wanted"), [(False, set()), (True, {CLIENT})])
def test_what_a_pod_reads_is_known(client: bool, wanted: set[tuple[str, str]]) -> None:
    assert sources(deployment(client=client)) == {CONFIG, LOGIN, AUTHORITY} | wanted


def test_the_environment_leads_to_the_tunnel_and_to_files_of_this_machine() -> None:
    folder = Path("/kept")
    assert environment(deployment(client=True), DATA, 15432, folder) == {
        "DB_HOST": "localhost",
        "DB_PORT": "15432",
        # Not below a folder of the pod.
        "DB_PASSWORD": "/etc/passwords",
        "DB_SSLROOTCERT": "/kept/ca-certificates/ca.crt",
        "PGSSLKEY": "/kept/flask-app-client-tls/tls.key",
        "TRUSTED_PROXIES": "0",
    }
    assert files(deployment(client=True), DATA, folder) == {
        folder / "ca-certificates" / "ca.crt": "authority",
        folder / "flask-app-client-tls" / "tls.crt": "certificate",
        folder / "flask-app-client-tls" / "tls.key": "key",
    }


def listener(port: int, connections: int) -> list[str]:
    """A program that takes some connections and ends."""
    program = f"""import socket
with socket.create_server(("127.0.0.1", {port})) as server:
    for _ in range({connections}):
        server.accept()[0].close()"""
    return [sys.executable, "-c", program]


def test_a_tunnel_that_ends_is_made_anew() -> None:
    port = free_port()
    said: list[str] = []

    def problem() -> str:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            return str(error)
        return ""

    # The first connection is the one that sees it open.
    with tunnel(listener(port, 2), port, said.append):
        assert problem() == ""
        wait_until(lambda: "" if said else "it has not ended", 10, "the tunnel ends")
        wait_until(problem, 10, "the tunnel is made anew")
    assert problem()
    assert said[0].startswith("the way to the database has ended and is made anew")


def test_a_tunnel_that_is_none_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.developer.processes.PATIENCE_S", 2.0)
    program = [sys.executable, "-c", "import sys; sys.exit('services \"postgres\" not found')"]
    with (
        pytest.raises(TimeoutError, match='services "postgres" not found'),
        tunnel(program, free_port(), lambda _: None),
    ):
        pass


def test_a_program_ends_with_its_children(tmp_path: Path) -> None:
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    program = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    noted = tmp_path / "pid"
    with running(program, tmp_path, dict(os.environ)):
        wait_until(lambda: "" if noted.exists() and noted.read_text() else "no child", 20, "the child runs")
    # One that has ended and that nobody waits for is still listed, as defunct.
    state = subprocess.run(["ps", "-o", "stat=", noted.read_text()], capture_output=True, text=True, check=False)
    assert state.stdout.strip()[:1] in ("", "Z")
