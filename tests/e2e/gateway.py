"""A Gateway as docs/how-to/gateway.md has it, and a controller for it: the cluster's Traefik once more."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from conftest import ROOT

# The ports of the controller, which is no root, by those of the listeners in the documentation.
PORTS = {80: 8000, 443: 8443}
PING = 8082
RULES = [
    {"apiGroups": [""], "resources": ["configmaps", "namespaces", "secrets", "services"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["*"]},
]


def documented(namespace: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The settings, the Gateway and the grant of the documentation, for a stack in a namespace."""
    page = (ROOT / "docs" / "how-to" / "gateway.md").read_text().replace("flask-postgres", namespace)
    settings, gateway, grant = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    for listener in gateway["spec"]["listeners"]:
        listener["port"] = PORTS[listener["port"]]
    return settings, gateway, grant


def controller(gateway: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """The objects of a controller for one Gateway, in its namespace."""
    namespace, gateway_class = gateway["metadata"]["namespace"], gateway["spec"]["gatewayClassName"]
    meta = {"name": "traefik", "namespace": namespace}
    of_cluster = {"name": f"{namespace}-traefik"}
    labels = {"app": "traefik"}
    container = {
        "name": "traefik",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            f"--entrypoints.web.address=:{PORTS[80]}",
            f"--entrypoints.websecure.address=:{PORTS[443]}",
            f"--entrypoints.ping.address=:{PING}",
            "--ping=true",
            "--ping.entrypoint=ping",
            "--providers.kubernetesgateway=true",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": PING}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "allowPrivilegeEscalation": False},
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": of_cluster,
            "rules": [{**rule, "verbs": ["get", "list", "watch", "update"]} for rule in RULES],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": of_cluster,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **of_cluster},
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": gateway_class},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"serviceAccountName": meta["name"], "containers": [container]},
                },
            },
        },
    ]


@contextmanager
def forwarded(kubeconfig: str, namespace: str) -> Iterator[dict[int, int]]:
    """Ports of this machine that lead to the controller, by those of the listeners in the documentation."""
    command = ["kubectl", "-n", namespace, "port-forward", "--address=127.0.0.1", "deployment/traefik"]
    with subprocess.Popen(
        [*command, *(f":{port}" for port in PORTS.values())],
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = "".join(process.stdout.readline() for _ in PORTS)
            here = {int(there): int(port) for port, there in re.findall(r":(\d+) -> (\d+)", lines)}
            yield {port: here[there] for port, there in PORTS.items()}
        finally:
            process.terminate()
