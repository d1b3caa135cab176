"""A cluster needs a start where any part of any node is down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.minikube import status

CONTROL_PLANE = {
    "Name": "minikube", "Host": "Running", "Kubelet": "Running", "APIServer": "Running", "Kubeconfig": "Configured",
    "Worker": False,
}  # fmt: skip
WORKER = {
    "Name": "minikube-m02", "Host": "Running", "Kubelet": "Running", "APIServer": "Irrelevant",
    "Kubeconfig": "Irrelevant", "Worker": True,
}  # fmt: skip


@pytest.mark.parametrize("nodes", [CONTROL_PLANE, [CONTROL_PLANE], [CONTROL_PLANE, WORKER], [WORKER, CONTROL_PLANE]])
def test_a_running_cluster_needs_nothing(nodes: Any) -> None:
    assert status.down(json.dumps(nodes), 0) == []
    assert status.down(json.dumps(nodes, indent=2), 0) == []


@pytest.mark.parametrize(
    ("nodes", "code", "expected"),
    [
        ({**CONTROL_PLANE, "APIServer": "Stopped"}, 2, ["minikube: APIServer is Stopped"]),
        ({**CONTROL_PLANE, "Kubeconfig": "Misconfigured"}, 4, ["minikube: Kubeconfig is Misconfigured"]),
        ({**CONTROL_PLANE, "Host": "InsufficientStorage"}, 1, ["minikube: Host is InsufficientStorage"]),
        ([CONTROL_PLANE, {**WORKER, "Kubelet": "Stopped"}], 2, ["minikube-m02: Kubelet is Stopped"]),
        (
            [CONTROL_PLANE, {**WORKER, "Host": "Stopped", "Kubelet": "Stopped"}],
            7,
            ["minikube-m02: Host is Stopped", "minikube-m02: Kubelet is Stopped"],
        ),
        ([CONTROL_PLANE, WORKER], 7, ["minikube status ended with exit code 7"]),
        ({"Host": "Running"}, 0, [f"the node: {part} is None" for part in ("Kubelet", "APIServer", "Kubeconfig")]),
    ],
)
def test_what_is_down_is_named(nodes: Any, code: int, expected: list[str]) -> None:
    assert status.down(json.dumps(nodes), code) == expected


@pytest.mark.parametrize(
    "output",
    ["", "null", "[]", "{}", "{", "7", "[null]", '{"type": "io.k8s.sigs.minikube.error", "data": {"exitcode": "85"}}'],
)
@pytest.mark.parametrize("code", [0, 7, 85])
def test_no_cluster(output: str, code: int) -> None:
    assert status.down(output, code) == ["there is no cluster"]
