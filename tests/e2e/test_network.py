"""Every pod tries every port of every other one: what connects is what the table allows, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from conftest import Stack, until

Kubectl = Callable[..., str]

ELSEWHERE = "network-test"
# Whose connections reach whom: the stack's apps, the stand-ins below, and what is the cluster's own.
ALLOWED = {
    ("flask-app", "postgres:5432"),
    ("flask-app", "other-postgres:5432"),
    ("migration", "postgres:5432"),
    ("migration", "other-postgres:5432"),
    ("pgadmin", "postgres:5432"),
    ("pgadmin", "other-postgres:5432"),
    ("postgres", "other-postgres:5432"),
    ("postgres", "other-postgres:8008"),
    ("other-postgres", "postgres:5432"),
    ("other-postgres", "postgres:8008"),
    ("postgres", "postgres-backup:8432"),
    ("other-postgres", "postgres-backup:8432"),
    ("backup-job", "postgres:8432"),
    ("monitoring", "flask-app:9464"),
    ("monitoring", "postgres:5432"),
    ("monitoring", "postgres:8008"),
    ("monitoring", "postgres:9188"),
    ("monitoring", "postgres-backup:9188"),
    ("monitoring", "pooler:9127"),
    ("monitoring", "other-postgres:5432"),
    ("monitoring", "other-postgres:8008"),
    ("monitoring", "api-server"),
    ("monitoring", "kubelet"),
    ("monitoring", "ingress-metrics"),
    ("flask-app", "pooler:6432"),
    ("client", "postgres:5432"),
    ("client", "other-postgres:5432"),
    ("client", "pooler:6432"),
    ("client", "dns:53"),
    ("pooler", "postgres:5432"),
    ("pooler", "other-postgres:5432"),
    ("pooler", "dns:53"),
    ("postgres", "api-server"),
    ("other-postgres", "api-server"),
    ("flask-app", "dns:53"),
    ("migration", "dns:53"),
    ("pgadmin", "dns:53"),
    ("postgres", "dns:53"),
    ("other-postgres", "dns:53"),
    ("backup-job", "dns:53"),
    ("monitoring", "dns:53"),
    ("prometheus", "flask-app:9464"),
    # No policy of this stack's applies to what is not in its namespace.
    ("outsider", "api-server"),
    ("outsider", "dns:53"),
    ("outsider", "prometheus:8000"),
    ("outsider", "node:443"),
    ("outsider", "kubelet"),
    ("outsider", "ingress-metrics"),
    ("prometheus", "api-server"),
    ("prometheus", "dns:53"),
    ("prometheus", "outsider:8000"),
    ("prometheus", "node:443"),
    ("prometheus", "kubelet"),
    ("prometheus", "ingress-metrics"),
}
PORTS = {
    "flask-app": [5000, 9464],
    "pgadmin": [8080],
    "postgres": [5432, 8008, 8432, 9188],
    "postgres-backup": [8432, 9188],
}
# Pods that are not of the stack, with the ports on which they listen: by namespace (None for the stack's) and labels.
STAND_INS: dict[str, tuple[str | None, dict[str, str], list[int]]] = {
    # What it lacks of the real one's labels keeps it out of Services and of Patroni's sight.
    "other-postgres": (None, {"app": "postgres"}, [5432, 8008, 8000]),
    "migration": (None, {"app": "flask-app-migrate"}, [8000]),
    "backup-job": (None, {"app": "postgres-backup-job"}, [8000]),
    "monitoring": (None, {"app": "prometheus"}, [9090]),
    "pooler": (None, {"app": "postgres-pooler"}, [6432, 9127, 8000]),
    "client": (None, {"app": "shop", "flask-postgres-stack/database-client": "true"}, [8000]),
    "stranger": (None, {"app": "stranger"}, [8000]),
    "outsider": (ELSEWHERE, {"app": "flask-app"}, [8000]),
    "prometheus": (ELSEWHERE, {"app.kubernetes.io/name": "prometheus"}, [8000]),
}
LISTEN = """
import selectors, socket, sys
selector = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    selector.register(socket.create_server(("", port), backlog=64), selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        key.fileobj.accept()[0].close()
"""
CONNECT = """
import concurrent.futures, json, socket, sys
targets = json.loads(sys.argv[1])
def connects(target):
    try:
        socket.create_connection((target[0], target[1]), timeout=3).close()
    except OSError:
        return False
    return True
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(connects, targets.values())))))
"""


@dataclass(frozen=True)
class Place:
    """A pod that connections come from.

    Attributes:
        ports: Those on which it listens.
    """

    namespace: str
    name: str
    address: str
    ports: list[int]


def manifest(stack: Stack, name: str) -> dict[str, object]:
    namespace, labels, ports = STAND_INS[name]
    image = stack.get("Deployment", "flask-app").spec.template.spec.containers[0].image
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"stand-in-{name}", "namespace": namespace or stack.namespace, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["python3", "-c", LISTEN, *map(str, ports)],
                    "securityContext": confined,
                    "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}},
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def places(stack: Stack, kubectl: Kubectl) -> Iterator[dict[str, Place]]:
    """Every pod of the stack, one of each app, and the stand-ins."""
    documents: list[dict[str, object]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}}]
    documents += [manifest(stack, name) for name in STAND_INS]
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    kubectl("delete --ignore-not-found -f -", stdin=items)
    kubectl("apply -f -", stdin=items)
    try:
        found = {}
        for app, ports in PORTS.items():
            pod = next(pod for pod in stack.pods(app) if not pod.metadata.name.startswith("stand-in-"))
            found[app] = Place(stack.namespace, pod.metadata.name, pod.status.podIP, ports)
        for name, (namespace, _, ports) in STAND_INS.items():

            def address(name: str = name, namespace: str | None = namespace) -> str:
                where = f"-n {namespace or stack.namespace} get pod stand-in-{name}"
                return kubectl(f"{where} -o jsonpath={{.status.podIP}}").strip()

            found[name] = Place(namespace or stack.namespace, f"stand-in-{name}", until(address, 60), ports)
        yield found
    finally:
        kubectl("delete --wait=false -f -", stdin=items)


@pytest.fixture(scope="module")
def targets(stack: Stack, kubectl: Kubectl, places: dict[str, Place]) -> dict[str, tuple[str, int]]:
    """Every port that somebody listens on, by name."""
    found = {f"{name}:{port}": (place.address, port) for name, place in places.items() for port in place.ports}
    slices = stack.kube.resources.get(kind="EndpointSlice", api_version="discovery.k8s.io/v1")
    server = slices.get(name="kubernetes", namespace="default")
    found["api-server"] = (server.endpoints[0].addresses[0], server.ports[0].port)
    found["node:443"] = (server.endpoints[0].addresses[0], 443)
    if stack.settings["monitoring_nodes"]:
        found["kubelet"] = (server.endpoints[0].addresses[0], 10250)
    for target in stack.settings["monitoring_ingress_targets"]:
        host, _, port = target.partition(":")
        found["ingress-metrics"] = (host, int(port))
    # By the Service's address, as pods ask it: policies are for what it is translated to.
    found["dns:53"] = (kubectl("-n kube-system get service kube-dns -o jsonpath={.spec.clusterIP}").strip(), 53)
    return found


def connections(
    kubectl: Kubectl, places: dict[str, Place], targets: dict[str, tuple[str, int]]
) -> set[tuple[str, str]]:
    """Who connects to what, by the names of both."""

    def attempt(place: Place) -> dict[str, bool]:
        program = shlex.join(["python3", "-c", CONNECT, json.dumps(targets)])
        return dict(json.loads(kubectl(f"-n {place.namespace} exec {place.name} -- {program}")))

    with ThreadPoolExecutor(len(places)) as pool:
        reached = dict(zip(places, pool.map(attempt, places.values()), strict=True))
    return {(name, target) for name, found in reached.items() for target, connects in found.items() if connects}


def test_exactly_the_flows_of_the_diagram_pass(
    kubectl: Kubectl, places: dict[str, Place], targets: dict[str, tuple[str, int]]
) -> None:
    # Within a pod nothing is filtered, so that a port which its own pod does not reach would prove nothing.
    allowed = {(name, target) for name, target in ALLOWED if target in targets}
    own = {(name, f"{name}:{port}") for name, place in places.items() for port in place.ports}

    def passes() -> bool:
        found = connections(kubectl, places, targets)
        assert own <= found, f"nobody listens: {sorted(own - found)}"
        missing, open_ = sorted(allowed - found), sorted(found - own - allowed)
        assert not missing, f"blocked: {missing}"
        assert not open_, f"open: {open_}"
        return True

    # The policies of a new pod follow its address by a moment.
    until(passes, 90)
