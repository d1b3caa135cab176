"""The faults: what is done to the primary, and how it is taken back."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import V1DeleteOptions

from .database import SCOPE, Database, DrillError

# A frozen instance goes on by itself after this, should the drill be killed before it says so.
THAW_AFTER_S = 90
CHAIN = "DRILL"


@dataclass(frozen=True)
class Fault:
    """A fault and what is promised for it.

    Attributes:
        text: What happens, in words.
        inject: Does it to the pod of the primary.
        undo: Takes it back, for pods that may have been spared.
        median_s: The promised median, over the rounds, of the seconds until writes succeed again; None for no promise.
        worst_s: The same for the worst round.
        moves: Whether another instance has to become the primary.
        lasts_s: How long the fault lasts at least, in seconds, where it takes a while to be noticed.
        impossible: Why it cannot be done here; empty if it can.
    """

    text: str
    inject: Callable[[Database, str], None]
    median_s: float | None = None
    worst_s: float | None = None
    moves: bool = True
    lasts_s: float = 0.0
    undo: Callable[[Database], None] = lambda _: None
    impossible: Callable[[Database], str] = lambda _: ""


def delete(database: Database, pod: str) -> None:
    database.core.delete_namespaced_pod(pod, database.namespace)


def force_delete(database: Database, pod: str) -> None:
    database.core.delete_namespaced_pod(pod, database.namespace, body=V1DeleteOptions(grace_period_seconds=0))


def kill(database: Database, pod: str) -> None:
    # All but the container's first process, which the kernel protects, and this shell.
    database.shell(pod, "kill -KILL -1", check=False)


def kill_postgres(database: Database, pod: str) -> None:
    database.shell(pod, 'kill -KILL "$(head -n 1 "$PGDATA/postmaster.pid")"')


def freeze(database: Database, pod: str) -> None:
    database.shell(pod, f"kill -STOP -1; (sleep {THAW_AFTER_S}; kill -CONT -1) > /dev/null 2>&1 &")


def thaw(database: Database) -> None:
    for pod in database.pods():
        if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp:
            database.shell(pod.metadata.name, "kill -CONT -1", check=False)


def switch_over(database: Database, pod: str) -> None:
    database.shell(pod, f"patronictl switchover {SCOPE} --leader {pod} --force")


def cut_from_api(database: Database, pod: str) -> None:
    service = database.core.read_namespaced_service("kubernetes", "default")
    _cut(database, pod, [service.spec.cluster_ip])


def cut_from_replicas(database: Database, pod: str) -> None:
    _cut(database, pod, [other.status.pod_ip for other in database.pods() if other.metadata.name != pod])


def connect(database: Database) -> None:
    for pod in database.pods():
        # A pod that is gone has taken its network with it.
        for arguments in ("-D INPUT -j", "-D OUTPUT -j", "-F", "-X"):
            _filter(pod, *arguments.split(), CHAIN, check=False)


def not_on_the_node(database: Database) -> str:
    """Packets are dropped inside the pod's network, which takes root on the machine that is the node."""
    missing = [tool for tool in ("iptables", "nsenter") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        return f"it takes root{''.join(f' and {tool}' for tool in missing)} on the node"
    nodes = {pod.status.host_ip for pod in database.pods()}
    return "" if all(_is_own(address) for address in nodes) else "the nodes are other machines than this one"


def _is_own(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _cut(database: Database, name: str, addresses: list[str]) -> None:
    pod = database.pod(name)
    _filter(pod, "-N", CHAIN)
    for address in addresses:
        for side in ("-s", "-d"):
            _filter(pod, "-A", CHAIN, side, address, "-j", "DROP")
    for hook in ("INPUT", "OUTPUT"):
        _filter(pod, "-I", hook, "-j", CHAIN)


def _filter(pod: Any, *arguments: str, check: bool = True) -> None:
    """Change the packet filter in a pod's network."""
    statuses = pod.status.container_statuses or []
    container = next((status.container_id or "" for status in statuses), "").rpartition("/")[2]
    pid = next((path.parent.name for path in Path("/proc").glob("[0-9]*/cgroup") if _contains(path, container)), "")
    if not container or not pid:
        if check:
            raise DrillError("the primary's container was not found on this machine")
        return
    command = ["nsenter", "--target", pid, "--net", "iptables", "--wait", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise DrillError(f"{' '.join(command)}: {result.stderr.strip()}")


def _contains(path: Path, text: str) -> bool:
    try:
        return text in path.read_text()
    except OSError:
        return False


FAULTS: dict[str, Fault] = {
    "switchover": Fault("switched over on purpose", switch_over, 1, 1),
    "delete": Fault("pod deleted", delete, 3, 5),
    # The pod that takes its place may be there before the lock ends, and then goes on as the primary.
    "force-delete": Fault("pod deleted by force", force_delete, 3, 5, moves=False, lasts_s=5),
    "kill": Fault("PostgreSQL and Patroni killed", kill, 3, 5),
    "kill-postgres": Fault("PostgreSQL alone killed", kill_postgres, 3, 5),
    "freeze": Fault("all processes frozen", freeze, 25, 25, undo=thaw),
    "cut-api": Fault("cut from the API server", cut_from_api, undo=connect, impossible=not_on_the_node),
    "cut-replica": Fault(
        "cut from its replicas", cut_from_replicas, moves=False, lasts_s=20, undo=connect, impossible=not_on_the_node
    ),
}
