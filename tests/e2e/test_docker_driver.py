"""The stack on a Minikube with the Docker driver, as somebody runs it who has `minikube` and `docker` on PATH."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, until

from stack.docker_minikube.shell import CLUSTER, PROFILE

ROOT = Path(__file__).parents[2]
Call = Callable[..., str]
Play = Callable[..., Run]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="its engine takes root")


def cluster(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "stack.docker_minikube", *arguments], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What a shell has that means the cluster: of programs those of the system, and minikube, docker and kubectl."""
    cluster("down")
    try:
        # The first start is the role's.
        cluster("prepare")
        lines = (CLUSTER / "environment").read_text().splitlines()
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines if "PATH=" not in line)
        path = f"{ROOT / '.venv/bin'}:{CLUSTER / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        yield {
            "HOME": os.environ["HOME"],
            "LC_ALL": "C.UTF-8",
            **{name: value.strip("'") for name, value in variables.items()},
            "PATH": path,
            "PYTHONPATH": str(ROOT / "src"),
        }
    finally:
        cluster("down")


@pytest.fixture(scope="module")
def call(environment: dict[str, str]) -> Call:
    def run(*command: str, seconds: float = 120) -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def play(environment: dict[str, str]) -> Play:
    def run(playbook: str = "site.yml", *arguments: str, seconds: float = 420) -> Run:
        command = ["ansible-playbook", playbook, "-e", f"@{CLUSTER / 'settings.yml'}", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
        )
        return Run(done.returncode, done.stdout + done.stderr, 0.0)

    return run


@pytest.fixture(scope="module")
def deployed(play: Play) -> Run:
    return play().succeeded()


@pytest.fixture(scope="module")
def address(call: Call) -> str:
    return call("minikube", "--profile", PROFILE, "ip").strip()


@pytest.fixture(scope="module")
def data(call: Call, address: str) -> Callable[[], Any]:
    """Reads the service's rows as its users do."""

    def read() -> Any:
        url, resolved = "https://app.example.com/api/data", f"app.example.com:443:{address}"
        authority = str(CLUSTER / "ca.crt")
        return json.loads(call("curl", "-sSf", "-m", "5", "--cacert", authority, "--resolve", resolved, url))

    return read


def kubectl(call: Call, *arguments: str) -> str:
    return call("kubectl", "--context", PROFILE, *arguments)


@pytest.fixture(scope="module")
def row(deployed: Run, call: Call, address: str) -> str:
    """The name of a row that is written as users do."""
    del deployed
    secret = kubectl(call, "-n", "flask-postgres", "get", "secret/flask-app-secret", "-o", "jsonpath={.data.API_TOKEN}")
    token = base64.b64decode(secret).decode()
    command = ["curl", "-sSf", "-m", "5", "--cacert", str(CLUSTER / "ca.crt"), "--json", '{"name": "kept"}']
    command += ["--header", f"Authorization: Bearer {token}", "--resolve", f"app.example.com:443:{address}"]
    call(*command, "https://app.example.com/api/data")
    return "kept"


def test_a_run_ends_with_what_its_users_see(deployed: Run, address: str, data: Callable[[], Any]) -> None:
    assert f"add to /etc/hosts: {address} app.example.com" in deployed.output
    assert data() == {"data": []}


def test_the_cluster_gets_what_the_engine_has(deployed: Run, call: Call) -> None:
    cpus = int(call("docker", "info", "--format", "{{.NCPU}}"))
    limit = int(call("docker", "inspect", "--format", "{{.HostConfig.NanoCpus}}", PROFILE)) // 10**9
    assert limit == min(cpus, 4)
    assert ("minikube_cpus is 4" in deployed.output) is (cpus < 4)


def test_a_second_run_changes_nothing(deployed: Run, play: Play) -> None:
    del deployed
    assert play().succeeded().changed == 0


def test_policies_are_enforced(deployed: Run, call: Call) -> None:
    del deployed
    image = kubectl(call, "get", "deployment/pgadmin", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    kubectl(call, "-n", "default", "run", "probe", f"--image={image}", "--command", "--", "sleep", "300")
    kubectl(call, "-n", "default", "wait", "pod/probe", "--for=condition=Ready", "--timeout=60s")

    def connects(name: str, port: int) -> bool:
        code = f"import socket; socket.create_connection(('{name}.svc.cluster.local', {port}), 4)"
        command = [
            "kubectl",
            "--context",
            PROFILE,
            "-n",
            "default",
            "exec",
            "probe",
            "--",
            "/venv/bin/python3",
            "-c",
            code,
        ]
        try:
            call(*command)
        except AssertionError:
            return False
        return True

    until(lambda: connects("kube-dns.kube-system", 53), 30)
    for service in ("postgres", "pgadmin", "flask-app"):
        # One that does not exist is refused as well.
        port = kubectl(call, "get", f"service/{service}", "-o", "jsonpath={.spec.ports[0].port}")
        assert not connects(f"{service}.flask-postgres", int(port)), f"{service} takes connections of anybody"
    kubectl(call, "-n", "default", "delete", "pod/probe", "--grace-period=0", "--force")


@pytest.mark.parametrize(
    "down",
    [["minikube", "--profile", PROFILE, "stop"], ["docker", "kill", PROFILE]],
    ids=["stopped", "killed"],
)
def test_a_run_brings_a_cluster_up_again(
    down: list[str], row: str, call: Call, play: Play, data: Callable[[], Any]
) -> None:
    call(*down)
    play().succeeded()
    assert [found["name"] for found in data()["data"]] == [row]


def test_the_cluster_is_removed_with_its_volumes(deployed: Run, call: Call, play: Play) -> None:
    del deployed
    play("playbooks/destroy.yml", "-e", "destroy_volumes=true").succeeded()
    assert call("docker", "ps", "--all", "--quiet") == ""
    assert call("docker", "volume", "ls", "--quiet") == ""
