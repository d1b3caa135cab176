"""What must survive when processes are killed: all those of an instance, or of the whole cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from conftest import ROOT, Stack, has_synchronous_replica, until

pytestmark = pytest.mark.alone


def lost(stack: Stack, rows: dict[int, str]) -> list[int]:
    """The ids of rows that are not there any more as they were written."""

    def is_lost(identifier: int, name: str) -> bool:
        response = stack.api(f"/api/data/{identifier}")
        assert response.status_code in (200, 404), response.text
        return response.status_code == 404 or response.json()["name"] != name

    return [identifier for identifier, name in rows.items() if is_lost(identifier, name)]


def cluster_processes() -> list[int]:
    """kubelet, containerd, its shims for Kubernetes and all that runs in their containers, by what each really is."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            program = os.readlink(folder / "exe").removesuffix(" (deleted)")  # noqa: PTH115 - keeps the suffix
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(pid)
        if re.fullmatch(r"/usr/bin/containerd|/var/lib/minikube/binaries/.*/kubelet", program):
            roots.insert(0, pid)
        elif program.endswith("/containerd-shim-runc-v2") and b"k8s.io" in arguments:
            roots.append(pid)
    found: list[int] = []
    while roots:
        pid = roots.pop(0)
        if pid not in found:
            found.append(pid)
            roots.extend(children.get(pid, []))
    return found


@pytest.mark.timeout(1800)
def test_a_killed_cluster_comes_back_with_its_data(stack: Stack) -> None:
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build runs its cluster as processes of this machine")
    rows = {stack.write(f"kept {number}"): f"kept {number}" for number in range(20)}
    victims = cluster_processes()
    assert len(victims) > 20, "a running cluster has more processes"
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    with pytest.raises(requests.ConnectionError):
        stack.api("/healthz")
    deploy = subprocess.run(
        ["make", "deploy"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert deploy.returncode == 0, deploy.stdout[-6000:]
    until(stack.answers, 120)
    until(lambda: lost(stack, rows) == [], 60, "rows are lost")
    for app in ("flask-app", "postgres", "pgadmin"):
        assert stack.pods(app)


def test_all_that_was_killed_in_an_instance_runs_again(kubectl: Callable[..., str], sql: Callable[..., str]) -> None:
    """What renews certificates and tells Prometheus of the instance as well."""
    until(lambda: has_synchronous_replica(sql), 120)
    replica = kubectl("get pods -l cluster-name=postgres,role=replica -o jsonpath={.items[0].metadata.name}")

    def running(program: str) -> set[str]:
        # A pattern that is not in its own command line.
        grep = f'grep -lsa "[{program[0]}]{program[1:]}" /proc/[0-9]*/cmdline || true'
        return set(kubectl(f"exec {replica} -c postgres -- sh -c '{grep}'").split())

    programs = ("patroni-run", "postgres-reload", "postgres-metrics")
    before = {program: running(program) for program in programs}
    assert all(before.values())
    kubectl(f"exec {replica} -c postgres -- sh -c '(sleep 0.2; kill -KILL -1) &'")
    until(lambda: all(running(program) - before[program] for program in programs), 30)
    until(lambda: has_synchronous_replica(sql), 60)
