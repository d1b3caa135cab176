"""What ``minikube status`` says of a cluster, node by node."""

from __future__ import annotations

import json
from typing import Any

# Of a node that needs nothing (minikube's package cluster, status.go). A worker has no API server and no kubeconfig.
WELL = {"Host": "Running", "Kubelet": "Running", "APIServer": "Running", "Kubeconfig": "Configured"}
WORKER = ("Host", "Kubelet")


def down(output: str, code: int) -> list[str]:
    """What a start has to bring up.

    Args:
        output: The standard output of ``minikube status --output json``: an object where there is one node, a list
            where there are several, ``null`` where there is none, the message of an error where there is no profile.
        code: Its exit code: the sum of 1, 2 and 4 for a host, a part of Kubernetes and the kubeconfig of any node.

    Returns:
        A line for each part that is not as it should be; none for a cluster that needs nothing.
    """
    try:
        found = json.loads(output)
    except ValueError:
        return ["there is no cluster"]
    nodes = [
        node for node in (found if isinstance(found, list) else [found]) if isinstance(node, dict) and "Host" in node
    ]
    if not nodes:
        return ["there is no cluster"]
    lines = [line for node in nodes for line in _node(node)]
    if code and not lines:
        lines.append(f"minikube status ended with exit code {code}")
    return lines


def _node(node: dict[str, Any]) -> list[str]:
    parts = {part: WELL[part] for part in WORKER} if node.get("Worker") else WELL
    name = node.get("Name") or "the node"
    return [f"{name}: {part} is {node.get(part)}" for part, well in parts.items() if node.get(part) != well]
