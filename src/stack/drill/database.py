"""The instances as Patroni and Kubernetes see them."""

from __future__ import annotations

import json
from typing import Any

from kubernetes.client import V1Eviction, V1ObjectMeta

from stack.cluster import READ_ERRORS, Cluster

CONTAINER = "postgres"
SCOPE = "postgres"
# On nodes that the drill has cordoned.
CORDONED = "flask-postgres/drill"
SELECTOR = f"app=postgres,cluster-name={SCOPE}"


class DrillError(Exception):
    """The drill cannot begin, or cannot go on."""


class Database(Cluster):
    """PostgreSQL's pods in one namespace."""

    def address(self, host: str) -> str:
        """Where a host answers; the host itself if no Ingress says, as where there is a Gateway."""
        for found in self.networking.list_namespaced_ingress(self.namespace).items:
            if found.spec.rules[0].host == host:
                for point in found.status.load_balancer.ingress or []:
                    return str(point.ip or point.hostname)
        return host

    def pods(self) -> list[Any]:
        found = self.core.list_namespaced_pod(self.namespace, label_selector=SELECTOR).items
        return sorted(found, key=lambda pod: str(pod.metadata.name))

    def pod(self, name: str) -> Any:
        return self.core.read_namespaced_pod(name, self.namespace)

    def nodes(self) -> list[Any]:
        return list(self.core.list_node().items)

    def cordon(self, node: str, *, is_cordoned: bool = True) -> None:
        """Let a node take no new pods, or take that back, as `kubectl cordon` does, and note that the drill did so."""
        annotations = {CORDONED: "" if is_cordoned else None}
        self.core.patch_node(
            node, {"metadata": {"annotations": annotations}, "spec": {"unschedulable": is_cordoned or None}}
        )

    def evict(self, pod: str) -> None:
        """Ask for the end of a pod, as a drain does: not where a disruption budget is against it."""
        eviction = V1Eviction(metadata=V1ObjectMeta(name=pod, namespace=self.namespace))
        self.core.create_namespaced_pod_eviction(pod, self.namespace, eviction)

    def statefulset(self) -> Any:
        return self.apps.read_namespaced_stateful_set("postgres", self.namespace)

    def instances(self) -> int:
        """How many instances there should be."""
        return int(self.statefulset().spec.replicas)

    def state(self, part: str) -> dict[str, str]:
        """What Patroni keeps in one of its ConfigMaps: ``leader``, ``sync`` or ``config``."""
        found = self.core.read_namespaced_config_map(f"{SCOPE}-{part}", self.namespace)
        return dict(found.metadata.annotations or {})

    def leader(self) -> str:
        """The name of the pod that holds the leader's lock; empty for none."""
        return self.state("leader").get("leader", "")

    def is_synchronous(self) -> bool:
        return bool(json.loads(self.state("config").get("config", "{}")).get("synchronous_mode"))

    def problem(self) -> str:
        """What is missing until all instances are up, replicate, and are in sync; empty for nothing."""
        pods, statefulset = self.pods(), self.statefulset()
        if len(pods) != statefulset.spec.replicas:
            return f"{len(pods)} of {statefulset.spec.replicas} pods are there"
        leader = self.leader()
        for pod in pods:
            name = pod.metadata.name
            ready = [status.ready for status in pod.status.container_statuses or []]
            if pod.metadata.deletion_timestamp or not ready or not all(ready):
                return f"{name} is not ready"
            if pod.metadata.labels.get("controller-revision-hash") != statefulset.status.update_revision:
                return f"{name} is still to be restarted"
            status = json.loads((pod.metadata.annotations or {}).get("status", "{}"))
            wanted = "primary" if name == leader else "replica"
            if status.get("role") != wanted or pod.metadata.labels.get("role") != wanted:
                return f"{name} is {status.get('role')} and labelled {pod.metadata.labels.get('role')}, not {wanted}"
            if wanted == "replica" and status.get("replication_state") != "streaming":
                return f"{name} does not stream"
        if leader not in [pod.metadata.name for pod in pods]:
            return "there is no primary"
        if self.is_synchronous():
            sync = self.state("sync")
            if sync.get("leader") != leader or not sync.get("sync_standby"):
                return "no replica is in sync"
        return ""

    def shell(self, pod: str, script: str, *, check: bool = True, seconds: float = 60) -> str:
        """Run a shell script in a pod and return what it prints.

        Raises:
            DrillError: It failed, and was to be checked.
        """
        code: int | None = None
        try:
            code, output, errors = self.execute(pod, CONTAINER, "sh", "-c", script, seconds=seconds)
            output += errors
        except READ_ERRORS as error:
            output = " ".join(str(error).split())
        if check and code != 0:
            raise DrillError(f"in {pod}: {script!r} ended with {code}: {output[-500:]}")
        return output
