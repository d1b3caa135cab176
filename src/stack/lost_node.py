"""Giving up a node that is lost for good: what is removed, so that its pods are made anew elsewhere."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from kubernetes.client import V1DeleteOptions
from kubernetes.client.exceptions import ApiException

from stack.cluster import Cluster
from stack.postgres.instances import SELECTED_NODE
from stack.status.objects import has_condition

Object = Mapping[str, Any]
INSTANCES = {"app": "postgres", "cluster-name": "postgres"}


@dataclass
class Plan:
    """What giving up a node takes.

    Attributes:
        problems: Why nothing is removed, a line for each reason; empty where it may be.
        claims: Claims that are removed, whose volumes were on the node.
        pods: Pods that are removed without an answer of their node.
        instances: Instances of the database that become replicas on other nodes, with the data of the primary.
        anew: Claims that only another run makes anew.
    """

    problems: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)


def plan(
    name: str,
    pods: Collection[Object],
    claims: Iterable[Object],
    leader: str,
    may_lose: Collection[str],
    nodes: Iterable[Object] | None,
    volumes: Iterable[Object] | None,
) -> Plan:
    """What giving up a node takes, and whether it may be done: the last copy of anything is never removed unasked.

    Args:
        name: The node.
        pods: The pods of the namespace.
        claims: Its claims.
        leader: The instance that has Patroni's lock.
        may_lose: Claims whose data may be lost with the node.
        nodes: The nodes of the cluster; None where the account may not read them.
        volumes: Its volumes; None where the account may not read them.
    """
    found = Plan()
    there = [pod for pod in pods if pod["spec"].get("nodeName") == name]
    node = next((each for each in nodes or [] if each["metadata"]["name"] == name), None)
    if node is None and not there:
        known = [each["metadata"]["name"] for each in nodes or []]
        found.problems.append(
            f"there is no node {name}, and no pod on it"
            + (f": the nodes are {', '.join(sorted(known))}" if known else "")
        )
        return found
    alive = [pod["metadata"]["name"] for pod in there if has_condition(pod, "Ready")]
    if (node is not None and has_condition(node, "Ready")) or (node is None and nodes is None and alive):
        found.problems.append(f"node {name} is ready: kubectl drain {name} moves what runs on it, and loses nothing")
        return found
    named = {claim["metadata"]["name"]: claim for claim in claims}
    places = {volume["metadata"]["name"]: volume for volume in volumes or []}
    for pod in there:
        found.pods.append(pod["metadata"]["name"])
        own = [each for each in mounted(pod) if each in named and is_bound(named[each], name, places)]
        if INSTANCES.items() <= (pod["metadata"].get("labels") or {}).items():
            _give_up_instance(found, pod["metadata"]["name"], own, leader, pods)
            continue
        for claim in own:
            if claim not in may_lose:
                found.problems.append(
                    f"the data of {claim} is on node {name} alone and would be lost:"
                    f" replace_node_may_lose={claim} agrees to that"
                )
            found.claims.append(claim)
            found.anew.append(claim)
    return found


def _give_up_instance(found: Plan, name: str, claims: list[str], leader: str, pods: Collection[Object]) -> None:
    """Add an instance: it becomes a replica of the primary, if there is one elsewhere that answers."""
    primary = next((pod for pod in pods if pod["metadata"]["name"] == leader), None)
    if not claims:
        return
    if primary is None or leader == name or not has_condition(primary, "Ready"):
        found.problems.append(
            f"{name} may have the last copy of the data: no other instance is the primary and ready. Where the node"
            " does not come back, make restore restores a backup"
        )
        return
    found.claims += claims
    found.instances.append(name)


def mounted(pod: Object) -> list[str]:
    """The claims that a pod mounts."""
    sources = (volume.get("persistentVolumeClaim") for volume in pod["spec"].get("volumes") or [])
    return [source["claimName"] for source in sources if source]


def is_bound(claim: Object, node: str, volumes: Mapping[str, Object]) -> bool:
    """Whether the volume of a claim is on one node alone; of a volume that may not be read, the claim's note tells."""
    volume = volumes.get(claim["spec"].get("volumeName") or "")
    if volume is None:
        return bool((claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, node) == node)
    spec = volume["spec"]
    return bool(spec.get("nodeAffinity") or spec.get("local") or spec.get("hostPath"))


def look(cluster: Cluster, name: str, may_lose: Collection[str]) -> Plan:
    """Read what `plan` takes from the cluster, and plan."""
    locks = cluster.items("api/v1", "configmaps", "?fieldSelector=metadata.name%3Dpostgres-leader")
    leader = next(((found["metadata"].get("annotations") or {}).get("leader", "") for found in locks), "")
    pods, claims = cluster.items("api/v1", "pods"), cluster.items("api/v1", "persistentvolumeclaims")
    nodes, volumes = (_if_allowed(cluster, kind) for kind in ("nodes", "persistentvolumes"))
    return plan(name, pods, claims, leader, may_lose, nodes, volumes)


def carry_out(cluster: Cluster, wanted: Plan) -> None:
    """Remove what a plan names; what is gone already is not missed.

    A claim before its pod: it stays until the pod is gone, and the pod that takes its place finds no claim then.
    """
    for claim in wanted.claims:
        _remove(cluster.core.delete_namespaced_persistent_volume_claim, claim, cluster.namespace)
    for pod in wanted.pods:
        at_once = V1DeleteOptions(grace_period_seconds=0)
        _remove(cluster.core.delete_namespaced_pod, pod, cluster.namespace, body=at_once)


def _remove(delete: Any, *place: str, **options: Any) -> None:
    try:
        delete(*place, **options)
    except ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _if_allowed(cluster: Cluster, kind: str) -> list[Object] | None:
    try:
        return list(json.loads(cluster.get(f"/api/v1/{kind}"))["items"])
    except ApiException as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
