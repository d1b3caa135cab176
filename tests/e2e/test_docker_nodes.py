"""The stack on a Minikube with the Docker driver of several nodes, two or as many as `NODES` says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from conftest import ROOT, Run, until
from docker_driver import NAMESPACE, Machine, cluster, unavailable

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())

NODES = max(2, int(os.environ.get("NODES") or 2))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    cluster("down")
    try:
        cluster("up", f"--nodes={NODES}")
        yield Machine("root", ROOT, {})
    finally:
        cluster("down")


@pytest.fixture(scope="module")
def deployed(machine: Machine) -> Run:
    return machine.make("deploy").succeeded()


def objects(machine: Machine, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(machine.kubectl("get", *arguments, "-o", "json"))["items"]
    return found


def is_ready(node: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


@pytest.fixture(scope="module")
def nodes(machine: Machine) -> dict[str, str]:
    """The address of each node."""
    found = {}
    for node in objects(machine, "nodes"):
        addresses = {each["type"]: each["address"] for each in node["status"]["addresses"]}
        found[node["metadata"]["name"]] = addresses["InternalIP"]
    assert len(found) == NODES
    return found


@pytest.fixture(scope="module")
def probes(deployed: Run, machine: Machine, nodes: dict[str, str]) -> Iterator[dict[str, str]]:
    """The address of a pod on each node, by its name."""
    del deployed
    names = [f"probe-{node}" for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        machine.probe(name, node)
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in objects(machine, "-n", "default", "pods")}
    yield {name: pods[name] for name in names}
    machine.kubectl("-n", "default", "delete", "pods", *names, "--grace-period=0", "--force")


def test_pods_of_different_nodes_reach_each_other(probes: dict[str, str], machine: Machine) -> None:
    assert len({address.rpartition(".")[0] for address in probes.values()}) == NODES
    for one, other in permutations(probes, 2):
        until(partial(machine.connects, one, probes[other], 8000), 30, f"{one} to {other}")


def test_policies_are_enforced_on_each_node(probes: dict[str, str], machine: Machine) -> None:
    ports = {"postgres": 5432, "pgadmin": 8080, "flask-app": 5000}
    pods = objects(machine, "-n", NAMESPACE, "pods", "-l", f"app in ({','.join(ports)})")
    assert {pod["metadata"]["labels"]["app"] for pod in pods} == set(ports)
    for probe in probes:
        for pod in pods:
            name, port = pod["metadata"]["name"], ports[pod["metadata"]["labels"]["app"]]
            assert not machine.connects(probe, pod["status"]["podIP"], port), f"{name} takes connections of {probe}"


def test_the_ingress_answers_on_each_node(deployed: Run, machine: Machine, nodes: dict[str, str]) -> None:
    """Whichever node the pods are on; pgAdmin has one pod, so that all nodes but one reach it over the network."""
    del deployed
    for address in nodes.values():
        assert machine.api("/api/data", address=address) == {"data": []}
        page = machine.call(
            "curl", "-sSf", "-m", "10", "--cacert", str(machine.authority), "-o", "/dev/null", "-w", "%{http_code}",
            "--resolve", f"pgadmin.example.com:443:{address}", "https://pgadmin.example.com/login",
        )  # fmt: skip
        assert page == "200"


def test_each_node_has_the_images_that_are_built_here(deployed: Run, machine: Machine, nodes: dict[str, str]) -> None:
    del deployed
    workloads = objects(machine, "-n", NAMESPACE, "statefulsets,deployments")
    wanted = {container["image"] for each in workloads for container in each["spec"]["template"]["spec"]["containers"]}
    assert any("flask-postgres-app" in image for image in wanted)
    for node in nodes:
        listed = json.loads(machine.call("docker", "exec", node, "crictl", "images", "--output", "json"))["images"]
        tags = {tag.removeprefix("docker.io/library/") for image in listed for tag in image["repoTags"]}
        assert {image.removeprefix("docker.io/library/") for image in wanted} <= tags, node


def test_a_volume_is_where_its_pod_is_and_stays_there(deployed: Run, machine: Machine) -> None:
    del deployed
    claims = {claim["metadata"]["name"]: claim for claim in objects(machine, "-n", NAMESPACE, "persistentvolumeclaims")}
    volumes = {volume["metadata"]["name"]: volume["spec"] for volume in objects(machine, "persistentvolumes")}
    pods = objects(machine, "-n", NAMESPACE, "pods")
    used = 0
    for pod in pods:
        for mounted in pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in mounted:
                claim = claims[mounted["persistentVolumeClaim"]["claimName"]]
                volume = volumes[claim["spec"]["volumeName"]]
                terms = volume["nodeAffinity"]["required"]["nodeSelectorTerms"]
                assert [each["values"] for term in terms for each in term["matchExpressions"]] == [
                    [pod["spec"]["nodeName"]]
                ]
                used += 1
    assert used >= 3


def test_a_second_run_changes_nothing(deployed: Run, machine: Machine) -> None:
    del deployed
    assert machine.make("deploy").succeeded().changed == 0


@pytest.mark.parametrize("first", [1, 0], ids=["workers", "all"])
def test_a_run_brings_nodes_up_again(deployed: Run, machine: Machine, nodes: dict[str, str], first: int) -> None:
    """With the volumes that they had, and no others in their place."""
    del deployed
    machine.write("kept")
    machine.call("docker", "kill", *list(nodes)[first:])
    machine.make("deploy").succeeded()
    assert machine.rows() == {"kept"}
    assert {node["metadata"]["name"] for node in objects(machine, "nodes") if is_ready(node)} == set(nodes)
    (found,) = objects(machine, "storageclasses")
    assert found["provisioner"] == "rancher.io/local-path"
