"""The checks of `make lint` over the manifests, proved by what they have to find."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import ROOT, misconfigurations, render

from stack import render as rendering
from stack.images import templates
from stack.placement import placed

Pod = dict[str, Any]


def container(pod: Pod) -> dict[str, Any]:
    first: dict[str, Any] = pod["containers"][0]
    return first


# What is made of the service's pod, by name.
SEEDS: dict[str, Callable[[Pod], Any]] = {
    "privileged": lambda pod: container(pod)["securityContext"].update(privileged=True),
    "root": lambda pod: pod["securityContext"].update(runAsUser=0, runAsNonRoot=False),
    "writable-root": lambda pod: container(pod)["securityContext"].update(readOnlyRootFilesystem=False),
    "escalation": lambda pod: container(pod)["securityContext"].update(allowPrivilegeEscalation=True),
    "sys-admin": lambda pod: container(pod)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "all-capabilities": lambda pod: container(pod)["securityContext"].pop("capabilities"),
    "host-network": lambda pod: pod.update(hostNetwork=True),
    "host-processes": lambda pod: pod.update(hostPID=True),
    "host-ipc": lambda pod: pod.update(hostIPC=True),
    "unconfined": lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "token": lambda pod: pod.update(automountServiceAccountToken=True),
    "engine-socket": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/var/run/docker.sock"}}),
    "no-memory-limit": lambda pod: container(pod)["resources"]["limits"].pop("memory"),
    "no-cpu-request": lambda pod: container(pod)["resources"]["requests"].pop("cpu"),
    "no-disk-limit": lambda pod: container(pod)["resources"]["limits"].pop("ephemeral-storage"),
    "all-on-one-node": lambda pod: pod.pop("affinity"),
    "no-liveness": lambda pod: container(pod).pop("livenessProbe"),
    "no-readiness": lambda pod: container(pod).pop("readinessProbe"),
    "latest": lambda pod: container(pod).update(image="flask-postgres-app:latest"),
    "misspelled": lambda pod: container(pod)["securityContext"].update(readOnlyRootFileSystem=True),
    "wrong-type": lambda pod: container(pod).update(ports="5000"),
    "key-in-clear": lambda pod: container(pod).update(env=[{"name": "X", "value": "AKIA" + "QYLPMN5HHHFPZAM2"}]),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests of all roles."""
    folder = tmp_path_factory.mktemp("rendered")
    render(folder)
    return folder


@pytest.fixture(scope="module")
def found(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the checks say of as many copies of the service's Deployment as there are seeds, and one as it is."""
    folder = tmp_path_factory.mktemp("seeded")
    (folder / "policies.yaml").write_text((rendered / "namespace.yaml").read_text())
    (folder / "beside.yaml").write_text((rendered / "flask_app.yaml").read_text())
    documents = yaml.safe_load_all((rendered / "flask_app.yaml").read_text())
    deployment = next(document for document in documents if document and document["kind"] == "Deployment")
    for name, seed in {"as-it-is": lambda _: None, **SEEDS}.items():
        seeded = copy.deepcopy(deployment)
        seeded["metadata"]["name"] = name
        seed(seeded["spec"]["template"]["spec"])
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(seeded))
    return misconfigurations(folder)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_misconfiguration_is_found(found: list[str], seed: str) -> None:
    assert [line for line in found if f"{seed}.yaml" in line]


def test_nothing_is_found_where_nothing_is_wrong(found: list[str]) -> None:
    assert [line for line in found if "as-it-is" in line] == []


def test_every_container_fits_a_quota(rendered: Path) -> None:
    """A ResourceQuota of CPU, memory or disk refuses pods whose containers do not all name theirs."""
    found = {}
    for file in rendered.glob("*.yaml"):
        for each in filter(None, yaml.safe_load_all(file.read_text())):
            for template in [each] if each["kind"] == "Pod" else templates(each):
                spec = template["spec"]
                for one in [*spec.get("initContainers", []), *spec["containers"]]:
                    found[f"{each['kind']}/{each['metadata']['name']}/{one['name']}"] = {
                        (key, amount) for key, amounts in one.get("resources", {}).items() for amount in amounts
                    }
    wanted = {(key, amount) for key in ("requests", "limits") for amount in ("cpu", "memory", "ephemeral-storage")}
    assert len(found) > 9
    assert {name: sorted(wanted - has) for name, has in found.items() if wanted - has} == {}


def test_every_pod_gets_what_the_cluster_asks_of_it(rendered: Path) -> None:
    asked = {"priority_class": "high", "labels": {"team": "shop"}}
    found = [each for file in rendered.glob("*.yaml") for each in yaml.safe_load_all(file.read_text()) if each]
    assert len(found) > 50
    for each in found:
        there = placed(each, asked)
        assert there["metadata"]["labels"]["team"] == "shop"
        for template in [there] if each["kind"] == "Pod" else templates(there):
            assert template["spec"]["priorityClassName"] == "high"
            assert template["metadata"]["labels"]["team"] == "shop"


def test_whatever_is_applied_gets_it() -> None:
    """A task of its own that applies manifests would leave it out."""
    found = {}
    for file in ROOT.glob("roles/*/tasks/*.yml"):
        for task in tasks(yaml.safe_load(file.read_text()) or []):
            k8s = task.get("kubernetes.core.k8s") or {}
            if "apply" in k8s or "template" in k8s or "src" in k8s:
                found[f"{file.relative_to(ROOT)}: {task['name']}"] = "| placed(common_placement" in k8s.get(
                    "definition", ""
                )
    assert len(found) > 2
    assert [name for name, is_placed in found.items() if not is_placed] == []


def tasks(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tasks of a file, those of blocks as well."""
    for task in found:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part) or [])


def test_a_second_time_the_manifests_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an inventory that does not ask this machine for its Minikube, which others may start or stop meanwhile."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        rendering.render(tmp_path / name, ["-i", "inventory/existing"])
        found.append({file.name: file.read_text() for file in (tmp_path / name).glob("*.yaml")})
    assert len(found[0]) > 6
    assert found[0] == found[1]


def test_a_file_that_is_wrong_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: Pod\nkind")
    with pytest.raises((SystemExit, ValueError)):
        misconfigurations(tmp_path)
