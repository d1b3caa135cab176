"""What giving up a node removes, and when it removes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from stack import lost_node
from stack.lost_node import Plan

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
LOST = {"conditions": [{"type": "Ready", "status": "Unknown"}]}


def pod(name: str, node: str, *claims: str) -> dict[str, Any]:
    app = name.rpartition("-")[0]
    labels = {"app": app, **({"cluster-name": app} if app == "postgres" else {})}
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    status = READY if node == "one" else LOST
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]},
        "status": status,
    }


PODS = [
    pod("postgres-0", "two", "data-postgres-0"),
    pod("postgres-1", "one", "data-postgres-1"),
    pod("flask-app-a", "two"),
    pod("flask-app-b", "one"),
    pod("postgres-backup-0", "three", "postgres-backup"),
]
CLAIMS: list[dict[str, Any]] = [
    {"metadata": {"name": name}, "spec": {"volumeName": f"pv-{name}"}}
    for name in ("data-postgres-0", "data-postgres-1", "postgres-backup")
]
VOLUMES = [
    {"metadata": {"name": f"pv-{claim['metadata']['name']}"}, "spec": {"local": {"path": "/x"}, "nodeAffinity": {}}}
    for claim in CLAIMS
]
NODES: list[dict[str, Any]] = [
    {"metadata": {"name": name}, "status": READY if name == "one" else LOST} for name in ("one", "two", "three")
]


def planned(node: str = "two", leader: str = "postgres-1", **changes: Any) -> Plan:
    given: dict[str, Any] = {"pods": PODS, "claims": CLAIMS, "may_lose": [], "nodes": NODES, "volumes": VOLUMES}
    return lost_node.plan(node, leader=leader, **{**given, **changes})


@pytest.mark.parametrize("rights", [{}, {"nodes": None}, {"nodes": None, "volumes": None}])
def test_an_instance_becomes_a_replica_elsewhere(rights: dict[str, Any]) -> None:
    """Whatever the account may read beside the namespace."""
    assert planned(**rights) == Plan(
        claims=["data-postgres-0"], pods=["postgres-0", "flask-app-a"], instances=["postgres-0"]
    )


@pytest.mark.parametrize("leader", ["", "postgres-0", "postgres-9"])
def test_the_last_copy_of_the_data_is_kept(leader: str) -> None:
    found = planned(leader=leader, may_lose=["data-postgres-0"])
    assert "postgres-0 may have the last copy" in found.problems[0]
    assert found.claims == []


def test_a_primary_that_is_not_ready_is_no_copy() -> None:
    pods = [{**each, "status": LOST} if each["metadata"]["name"] == "postgres-1" else each for each in PODS]
    assert "last copy" in planned(pods=pods).problems[0]


def test_other_data_is_lost_by_consent_alone() -> None:
    (problem,) = planned("three").problems
    assert "replace_node_may_lose=postgres-backup" in problem
    assert planned("three", may_lose=["postgres-backup"]) == Plan(
        claims=["postgres-backup"], pods=["postgres-backup-0"], anew=["postgres-backup"]
    )


def test_a_volume_that_other_nodes_can_mount_is_kept() -> None:
    network = [{**volume, "spec": {"csi": {"driver": "x"}}} for volume in VOLUMES]
    for leader in ("postgres-1", "postgres-0"):
        assert planned(leader=leader, volumes=network) == Plan(pods=["postgres-0", "flask-app-a"])
    elsewhere = [
        {**claim, "metadata": {**claim["metadata"], "annotations": {"volume.kubernetes.io/selected-node": "one"}}}
        for claim in CLAIMS
    ]
    assert planned(claims=elsewhere, volumes=None).claims == []


@pytest.mark.parametrize("nodes", [NODES, None])
def test_a_node_that_is_ready_is_to_be_drained(nodes: Any) -> None:
    (problem,) = planned("one", leader="postgres-0", nodes=nodes).problems
    assert problem.startswith("node one is ready: kubectl drain one")


def test_a_node_that_is_not_there_is_refused_by_name() -> None:
    (problem,) = planned("tow").problems
    assert problem == "there is no node tow, and no pod on it: the nodes are one, three, two"
    assert planned("tow", nodes=None).problems == ["there is no node tow, and no pod on it"]


def test_pods_of_a_node_that_was_removed_are_removed() -> None:
    found = planned(nodes=[node for node in NODES if node["metadata"]["name"] != "two"])
    assert found.pods == ["postgres-0", "flask-app-a"]
