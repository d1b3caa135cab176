"""The faults: what is done to the primary, and how it is taken back."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubernetes.client import V1DeleteOptions

from . import node, nodes
from .database import SCOPE, Database

# What was frozen, filled or taken away comes back by itself after this, should the drill be killed before it does that.
BACK_AFTER_S = 90
CHAIN = "DRILL"
# Seconds for which the API server is away or slow.
API_S = 60.0
FILLER = "/var/lib/postgresql/data/drill.fill"
PROCESSES = 'for each in /proc/[0-9]*; do [ "$(cat $each/comm)" != {} ] || echo "${{each##*/}}"; done'
POSTGRES_PROCESSES, PATRONI_PROCESSES = PROCESSES.format("postgres"), PROCESSES.format("patroni-run")
# For which a primary goes on without Patroni: until its liveness probe has failed often enough, which ends it.
UNATTENDED_S = 75.0

# Verb, resource and API group of what the account has to be allowed.
Right = tuple[str, str, str]
EXECUTE: Right = ("create", "pods/exec", "")
NODES: tuple[Right, ...] = (EXECUTE, ("list", "nodes", ""))
DRAIN: tuple[Right, ...] = (*NODES, ("patch", "nodes", ""), ("create", "pods/eviction", ""))


@dataclass(frozen=True)
class Fault:
    """A fault and what is promised for it.

    Attributes:
        text: What happens, in words.
        inject: Does it to the pod of the primary.
        undo: Takes it back, for pods that may have been spared.
        median_s: The promised median, over the rounds, of the seconds until writes succeed again; None for no promise.
        worst_s: The same for the worst round.
        reads_s: The promised longest time without an answered read, in seconds; None for no promise.
        stale_s: By how much answers may be older than they say, in seconds.
        moves: Whether another instance has to become the primary.
        lasts_s: How long the fault lasts at least, in seconds, where it takes a while to be noticed.
        rights: What the account has to be allowed.
        impossible: Why it cannot be done here; empty if it can.
        prepare: What has to be so before.
        loses: The node that does not answer then; empty for none.
    """

    text: str
    inject: Callable[[Database, str], None]
    median_s: float | None = None
    worst_s: float | None = None
    reads_s: float | None = None
    stale_s: float = 0.0
    moves: bool = True
    lasts_s: float = 0.0
    undo: Callable[[Database], None] = lambda _: None
    rights: tuple[Right, ...] = (EXECUTE,)
    impossible: Callable[[Database], str] = lambda _: ""
    prepare: Callable[[Database], None] = lambda _: None
    loses: Callable[[Database, str], str] = lambda *_: ""

    def reason_against(self, database: Database) -> str:
        """Why it cannot be done here; empty if it can."""
        for verb, resource, group in self.rights:
            if not database.may(verb, resource, group):
                return f"the account may not {verb} {resource}"
        return self.impossible(database)


def delete(database: Database, pod: str) -> None:
    database.core.delete_namespaced_pod(pod, database.namespace)


def force_delete(database: Database, pod: str) -> None:
    database.core.delete_namespaced_pod(pod, database.namespace, body=V1DeleteOptions(grace_period_seconds=0))


def evict(database: Database, pod: str) -> None:
    database.evict(pod)


def roll_out(database: Database, _: str) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    database.apps.patch_namespaced_stateful_set(SCOPE, database.namespace, body)


def kill(database: Database, pod: str) -> None:
    # All but the container's first process, which the kernel protects, and this shell.
    database.shell(pod, "kill -KILL -1", check=False)


def kill_postgres(database: Database, pod: str) -> None:
    database.shell(pod, 'kill -KILL "$(head -n 1 "$PGDATA/postmaster.pid")"')


def freeze(database: Database, pod: str) -> None:
    database.shell(pod, f"kill -STOP -1; (sleep {BACK_AFTER_S}; kill -CONT -1) > /dev/null 2>&1 &")


def hang(database: Database, pod: str) -> None:
    # The first one before the others, for it starts new ones.
    stop = f'kill -STOP "$(head -n 1 "$PGDATA/postmaster.pid")"; kill -STOP $({POSTGRES_PROCESSES})'
    database.shell(pod, f"{stop}; (sleep {BACK_AFTER_S}; kill -CONT -1) > /dev/null 2>&1 &")


def freeze_patroni(database: Database, pod: str) -> None:
    database.shell(pod, f"kill -STOP $({PATRONI_PROCESSES}); (sleep {BACK_AFTER_S}; kill -CONT -1) > /dev/null 2>&1 &")


def thaw(database: Database) -> None:
    in_each(database, "kill -CONT -1")


def fill(database: Database, pod: str) -> None:
    write = f'fallocate -l "$(df --output=avail -B1 "$PGDATA" | tail -n 1)" {FILLER}; cat /dev/zero >> {FILLER}'
    database.shell(pod, f"({write}; sleep {BACK_AFTER_S}; rm -f {FILLER}) > /dev/null 2>&1 &")


def empty(database: Database) -> None:
    in_each(database, f"rm -f {FILLER}")


def shares_the_disk(database: Database) -> str:
    """Whether the volume is a folder of the node's disk, which would be full for all."""
    pod = database.leader()
    devices = database.shell(pod, 'df --output=source "$PGDATA" /tmp | tail -n 2').split()
    return "the volume is a folder of its node's disk" if len(set(devices)) < len(devices) else ""


def in_each(database: Database, script: str) -> None:
    """Run a script in every instance that can run one."""
    for pod in database.pods():
        if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp:
            database.shell(pod.metadata.name, script, check=False)


def switch_over(database: Database, pod: str) -> None:
    database.shell(pod, f"patronictl switchover {SCOPE} --leader {pod} --force")


def cut_from_api(database: Database, pod: str) -> None:
    _cut(database.pod(pod), [api_address(database)])


def cut_from_replicas(database: Database, pod: str) -> None:
    _cut(database.pod(pod), [other.status.pod_ip for other in database.pods() if other.metadata.name != pod])


def connect(database: Database) -> None:
    for pod in database.pods():
        for arguments in ("-D INPUT -j", "-D OUTPUT -j", "-F", "-X"):
            node.packets(pod, *arguments.split(), CHAIN, check=False)


def _cut(pod: Any, addresses: Iterable[str]) -> None:
    node.packets(pod, "-N", CHAIN)
    for address in addresses:
        for side in ("-s", "-d"):
            node.packets(pod, "-A", CHAIN, side, address, "-j", "DROP")
    for hook in ("INPUT", "OUTPUT"):
        node.packets(pod, "-I", hook, "-j", CHAIN)


def stop_api(*_: object) -> None:
    node.stop_api_server(API_S + BACK_AFTER_S)


def start_api(_: Database) -> None:
    node.start_api_server()


def slow_down_api(database: Database, _: str) -> None:
    server = api_address(database)
    for pod in database.pods():
        node.put_between(pod, server, API_S + BACK_AFTER_S)


def speed_up_api(_: Database) -> None:
    node.take_away()


def api_address(database: Database) -> str:
    """The address by which pods know the API server."""
    return str(database.core.read_namespaced_service("kubernetes", "default").spec.cluster_ip)


FAULTS: dict[str, Fault] = {
    "switchover": Fault("switched over on purpose", switch_over, 1, 1, 1),
    "delete": Fault("pod deleted", delete, 1, 1, 1, rights=(EXECUTE, ("delete", "pods", ""))),
    "evict": Fault("pod evicted, as by a drain", evict, 1, 1, 1, rights=(EXECUTE, ("create", "pods/eviction", ""))),
    "rollout": Fault("rollout restarted", roll_out, 1, 1, 1, rights=(EXECUTE, ("patch", "statefulsets", "apps"))),
    # The pod that takes its place may be there before the lock ends, and then goes on as the primary.
    "force-delete": Fault(
        "pod deleted by force",
        force_delete, 3, 5, 2, moves=False, lasts_s=5, rights=(EXECUTE, ("delete", "pods", "")),
    ),
    "kill": Fault("PostgreSQL and Patroni killed", kill, 3, 5, 2),
    "kill-postgres": Fault("PostgreSQL alone killed", kill_postgres, 3, 5, 2),
    "freeze": Fault("all processes frozen", freeze, 25, 25, 2, undo=thaw),
    "hang": Fault("PostgreSQL alone frozen", hang, 25, 25, 2, undo=thaw),
    # Nobody demotes it before its liveness probe fails: it answers reads meanwhile, and acknowledges nothing.
    "freeze-patroni": Fault(
        "Patroni alone frozen", freeze_patroni, 25, 25, 2, stale_s=50, lasts_s=UNATTENDED_S, undo=thaw
    ),
    "disk-full": Fault("disk of the primary full", fill, 5, 10, 2, undo=empty, impossible=shares_the_disk),
    "cut-api": Fault(
        "cut from the API server", cut_from_api, undo=connect, impossible=node.is_elsewhere
    ),
    "cut-replica": Fault(
        "cut from its replicas",
        cut_from_replicas, moves=False, lasts_s=20, undo=connect, impossible=node.is_elsewhere,
    ),
    "api-down": Fault(
        "API server away for 60 s",
        stop_api, 1, 1, 1, moves=False, lasts_s=API_S, undo=start_api, impossible=node.has_no_api_server,
    ),
    "api-slow": Fault(
        "API server late and wrong",
        slow_down_api, 1, 1, 1, moves=False, lasts_s=API_S, undo=speed_up_api, impossible=node.has_no_authority,
    ),
    "node-lost": Fault(
        "node of the primary lost",
        nodes.lose, 25, 25, 2, lasts_s=nodes.LOST_S, undo=nodes.bring_back, rights=NODES,
        impossible=nodes.has_no_worker, prepare=nodes.put_primary_on_worker, loses=nodes.of,
    ),
    "node-cut": Fault(
        "node of the primary cut off",
        nodes.cut, 25, 25, 2, lasts_s=nodes.LOST_S, undo=nodes.bring_back, rights=NODES,
        impossible=nodes.has_no_worker, prepare=nodes.put_primary_on_worker, loses=nodes.of,
    ),
    "replica-node-lost": Fault(
        "node of a replica lost",
        nodes.lose_replica, 5, 5, 2, moves=False, lasts_s=nodes.LOST_S, undo=nodes.bring_back, rights=NODES,
        impossible=nodes.has_no_worker, prepare=nodes.put_replica_on_worker, loses=nodes.of_replica,
    ),
    "drain": Fault(
        "node of the primary drained",
        nodes.drain, 1, 1, 1, undo=nodes.uncordon, rights=DRAIN, impossible=nodes.has_no_other,
    ),
    "control-plane-lost": Fault(
        "control plane lost",
        nodes.lose_control_plane, 1, 1, 1, moves=False, lasts_s=nodes.LOST_S, undo=nodes.bring_back, rights=NODES,
        impossible=nodes.has_instances_on_control_plane, loses=nodes.control_plane,
    ),
    "nodes-in-turn": Fault(
        "nodes restarted in turn",
        nodes.restart_workers, 1, 1, 1, moves=False, undo=nodes.restore, rights=DRAIN, impossible=nodes.has_no_worker,
    ),
}  # fmt: skip
