"""The live values of all Secrets, searched for wherever they must not be; what runs print is in test_runs.py."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import kubernetes
import pytest
from conftest import ROOT, Stack, until

from stack.minikube import secrets

Kubectl = Callable[..., str]

# Which Secrets a pod's processes have in their environment, as its containers are given them.
IN_ENVIRONMENT = {"flask-app": {"flask-app-db/DB_PASSWORD", "flask-app-secret/API_TOKEN"}}


@pytest.fixture(scope="module")
def patterns(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All values as lines of a file, for grep: a command line is there for everyone to see."""
    path = tmp_path_factory.mktemp("patterns") / "values"
    path.touch(mode=0o600)
    values = [part for parts in stack.secret_values().values() for part in parts]
    assert len(values) > 10
    path.write_text("\n".join(values))
    return path


def found_in(patterns: Path, *command: str) -> bool:
    """Whether a command prints one of the values."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as source:
        search = subprocess.run(
            ["grep", "--quiet", "--text", "--fixed-strings", "--file", str(patterns)], stdin=source.stdout, check=False
        )
        assert source.stdout is not None
        source.stdout.close()
    assert search.returncode in (0, 1)
    # What has found something does not read to the end.
    assert search.returncode == 0 or source.returncode == 0, f"{command[0]} ended with {source.returncode}"
    return search.returncode == 0


def test_git_history(patterns: Path) -> None:
    assert not found_in(patterns, "git", "log", "--all", "--patch", "--text", "--format=%an %s%n%b")


def test_pod_logs(stack: Stack) -> None:
    """Of the stack, the ingress and the cluster's own parts."""
    until(stack.is_settled, 120, "pods come and go")
    api: Any = kubernetes.client.CoreV1Api(stack.kube.client)
    spaces = [space.metadata.name for space in api.list_namespace().items]
    logs = ""
    for space in spaces:
        if space in (stack.namespace, "kube-system") or space.startswith("ingress-"):
            for pod in api.list_namespaced_pod(space).items:
                for status in pod.status.container_statuses or []:
                    if status.state.running or status.state.terminated:
                        logs += api.read_namespaced_pod_log(pod.metadata.name, space, container=status.name)
    assert len(logs) > 1000
    assert stack.secrets_shown(logs) == []


def test_objects(stack: Stack, kubectl: Kubectl) -> None:
    """Whatever is in the namespace, but for the data of Secrets: annotations, ConfigMaps, environments, events."""
    kinds = until(lambda: kubectl("api-resources --namespaced --verbs=list -o name").split(), 60)
    listed = ",".join(kind for kind in kinds if not kind.endswith("metrics.k8s.io"))
    document = json.loads(kubectl(f"get {listed} -o json"))
    assert {"ConfigMap", "Secret", "Pod", "Event"} <= {item["kind"] for item in document["items"]}
    for item in document["items"]:
        if item["kind"] == "Secret":
            item.pop("data", None)
    assert stack.secrets_shown(json.dumps(document)) == []


def processes() -> Iterator[tuple[Path, str, dict[str, str]]]:
    """All processes of this machine, with command line and environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield folder, command, dict(line.split("=", 1) for line in lines if "=" in line)


def test_processes(stack: Stack) -> None:
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build runs its cluster as processes of this machine")
    if os.geteuid() != 0:
        pytest.skip("only root sees the processes of others")
    values = stack.secret_values()
    seen: dict[str, set[str]] = {}
    for folder, command, environment in processes():
        shown = [name for name, parts in values.items() if any(part in command for part in parts)]
        assert shown == [], f"{folder}/cmdline"
        text = "\n".join(environment.values())
        held = {name for name, parts in values.items() if any(part in text for part in parts)}
        app = next((app for app in IN_ENVIRONMENT if environment.get("HOSTNAME", "").startswith(f"{app}-")), "others")
        assert held <= IN_ENVIRONMENT.get(app, set()), f"{folder}/environ of {environment.get('HOSTNAME')}"
        seen.setdefault(app, set()).update(held)
    assert seen.pop("others") == set()
    assert seen == IN_ENVIRONMENT, "the search itself does not see what is there"


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "flask-app"), ("StatefulSet", "postgres")])
def test_images_built_here(stack: Stack, patterns: Path, kind: str, name: str) -> None:
    """Every layer, and what the build was told."""
    image = stack.get(kind, name).spec.template.spec.containers[0].image
    found = docker.DockerClient.from_env().images.get(image)
    description: Any = [found.attrs, found.history()]
    assert stack.secrets_shown(json.dumps(description)) == []
    assert not found_in(patterns, "docker", "save", image)


def test_etcd(stack: Stack, kubectl: Kubectl, patterns: Path, tmp_path: Path) -> None:
    """Its database and its log as they lie on the disk hold what is written now, and a Secret only encrypted."""
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build keeps etcd on this machine")
    cluster = Path("/var/lib/minikube")
    key = (cluster / "certs" / "encryption.yaml").stat()
    assert key.st_mode & 0o777 == 0o600

    def written(text: str) -> bool:
        wanted = tmp_path / "wanted"
        wanted.write_text(text)
        return found_in(wanted, "find", str(cluster / "etcd" / "member"), "-type", "f", "-exec", "cat", "{}", "+")

    values = {"configmap": uuid.uuid4().hex, "secret generic": uuid.uuid4().hex}
    try:
        for kind, value in values.items():
            kubectl(f"create {kind} seen-in-etcd --from-literal=value={value}")
        assert written(values["configmap"]), "the search itself does not see what is there"
        assert written("k8s:enc:secretbox:")
        assert not written(values["secret generic"])
    finally:
        kubectl("delete --ignore-not-found configmap/seen-in-etcd secret/seen-in-etcd")
    # What a cluster wrote before it had a key stays in its log for a while.
    began = stack.resource("Namespace").get(name="kube-system").metadata.creationTimestamp
    if key.st_mtime <= datetime.datetime.fromisoformat(began).timestamp():
        assert not written(patterns.read_text())


def test_etcd_alone_tells_every_secret(stack: Stack) -> None:
    """What a run reads them from where the API server does not come up: its files, and the key."""
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build keeps etcd on this machine")
    cluster = Path("/var/lib/minikube")

    def is_the_same() -> bool:
        found, uid, lost = secrets.from_etcd(cluster / "etcd" / "member", cluster / "certs" / "encryption.yaml")
        live = [item.to_dict() for item in stack.resource("Secret").get().items]
        assert secrets.to_keep(found, stack.namespace) == secrets.to_keep(live, stack.namespace)
        assert uid == stack.resource("Namespace").get(name="kube-system").metadata.uid
        return lost == []

    assert stack.secret_values()
    # etcd writes the file while it is read.
    until(is_the_same, 30)
