"""The faults of whole nodes: which node, what has to be so before, and how it comes back."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException

from stack.cluster import READ_ERRORS
from stack.polling import wait_until

from . import machines
from .database import CORDONED, SCOPE, Database

# For which a node is lost, in seconds: until after the cluster has seen it, which takes 50.
LOST_S = 60.0
# A node comes back by itself after this, should the drill be killed before it does that.
BACK_AFTER_S = 150.0
MOVE_S = 120.0


def instances_on_workers(database: Database) -> list[str]:
    """The instances whose nodes are no control plane."""
    workers = {node.metadata.name for node in database.nodes() if not machines.is_control_plane(node)}
    return [pod.metadata.name for pod in database.pods() if pod.spec.node_name in workers]


def has_no_worker(database: Database) -> str:
    """Why no instance can be lost with its node, and nothing else; empty if one can."""
    if reason := machines.are_elsewhere(database):
        return reason
    return "" if instances_on_workers(database) else "no instance runs on another node than the control plane's"


def has_instances_on_control_plane(database: Database) -> str:
    """Why the control plane cannot be lost and nothing else; empty if it can."""
    if reason := machines.are_elsewhere(database):
        return reason
    if len(instances_on_workers(database)) < len(database.pods()):
        return "an instance runs on the control plane's node"
    return ""


def has_no_other(database: Database) -> str:
    """Why pods cannot go to another node; empty if they can."""
    usable = [node for node in database.nodes() if machines.is_ready(node) and not node.spec.unschedulable]
    return "" if len(usable) > 1 else "no other node takes pods"


def put_primary_on_worker(database: Database) -> None:
    workers = instances_on_workers(database)
    if database.leader() not in workers:
        _move(database, workers[0])


def put_replica_on_worker(database: Database) -> None:
    leader = database.leader()
    if instances_on_workers(database) == [leader]:
        _move(database, next(pod.metadata.name for pod in database.pods() if pod.metadata.name != leader))


def _move(database: Database, candidate: str) -> None:
    """Switch the primary over."""
    leader = database.leader()
    database.shell(leader, f"patronictl switchover {SCOPE} --leader {leader} --candidate {candidate} --force")

    def problem() -> str:
        return database.problem() if database.leader() == candidate else f"{candidate} is not the primary"

    wait_until(problem, MOVE_S, "the primary on another node")


def of(database: Database, pod: str) -> str:
    """The node of a pod."""
    return str(database.pod(pod).spec.node_name)


def of_replica(database: Database, primary: str) -> str:
    """A node with a replica that is not the control plane's."""
    return of(database, next(name for name in instances_on_workers(database) if name != primary))


def control_plane(database: Database, _: str = "") -> str:
    return str(_control_plane(database).metadata.name)


def _control_plane(database: Database) -> Any:
    return next(node for node in database.nodes() if machines.is_control_plane(node))


def lose(database: Database, pod: str) -> None:
    _switch_off(database, of(database, pod))


def lose_replica(database: Database, pod: str) -> None:
    _switch_off(database, of_replica(database, pod))


def lose_control_plane(database: Database, _: str) -> None:
    _switch_off(database, control_plane(database))


def _switch_off(database: Database, name: str) -> None:
    machines.switch_off(name, machines.address(_control_plane(database)), BACK_AFTER_S)


def cut(database: Database, pod: str) -> None:
    machines.cut(of(database, pod), BACK_AFTER_S)


def bring_back(database: Database) -> None:
    """Switch on and connect all nodes; without an API server those that were switched off from here."""
    machines.bring_back()
    with suppress(*READ_ERRORS):
        address = machines.address(_control_plane(database))
        for node in database.nodes():
            machines.switch_on(node.metadata.name, address)
            machines.connect(node.metadata.name)


def drain(database: Database, pod: str) -> None:
    _drain(database, of(database, pod))


def _drain(database: Database, name: str) -> None:
    """Cordon a node and evict the pods of the namespace, as `kubectl drain` does with all; those of others stay."""
    database.cordon(name)
    waiting = [pod.metadata.name for pod in _pods_on(database, name)]

    def problem() -> str:
        for pod in list(waiting):
            try:
                database.evict(pod)
            except ApiException as error:
                # A disruption budget is against it now.
                if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                    continue
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
            waiting.remove(pod)
        return f"a disruption budget is against the end of {', '.join(waiting)}" if waiting else ""

    wait_until(problem, MOVE_S, f"the drain of {name}")


def _pods_on(database: Database, node: str) -> list[Any]:
    """The pods of the namespace on a node that a drain ends."""
    found = database.core.list_namespaced_pod(database.namespace, field_selector=f"spec.nodeName={node}").items
    return [pod for pod in found if pod.status.phase in ("Pending", "Running") and not _is_of_daemon(pod)]


def _is_of_daemon(pod: Any) -> bool:
    return any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references or [])


def uncordon(database: Database) -> None:
    """Take back what the drill has cordoned."""
    for node in database.nodes():
        if CORDONED in (node.metadata.annotations or {}):
            database.cordon(node.metadata.name, is_cordoned=False)


def restore(database: Database) -> None:
    bring_back(database)
    uncordon(database)


def restart_workers(database: Database, _: str) -> None:
    """Drain and restart one node after the other, but for the control plane's."""
    for node in database.nodes():
        if not machines.is_control_plane(node):
            _restart(database, node.metadata.name)


def _restart(database: Database, name: str) -> None:
    _drain(database, name)
    wait_until(lambda: "they run" if _pods_on(database, name) else "", MOVE_S, f"the end of the pods on {name}")
    _switch_off(database, name)
    machines.bring_back()
    database.cordon(name, is_cordoned=False)
    wait_until(database.problem, MOVE_S, f"all instances up and in sync after the restart of {name}")
