"""Reading the state of a stack of which a node is lost."""
# ruff: noqa: ARG002 - the arguments are those of stack.cluster.Cluster

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from stack.status import front_door
from stack.status.state import Reader

WELL = {"conditions": [{"type": "Ready", "status": "True"}]}


def pod(name: str, node: str, role: str = "") -> dict[str, Any]:
    labels = {"app": name.rpartition("-")[0], **({"role": role} if role else {})}
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-03-01T08:00:00Z"},
        "spec": {"nodeName": node, "containers": [{"name": "postgres", "image": "x"}]},
        "status": {"phase": "Running", **WELL},
    }


class Cluster:
    """Two nodes, of which one is lost: whoever asks a pod there waits for ever."""

    namespace = "shop"

    def __init__(self) -> None:
        # The lost primary has its label still, and is the first by name.
        self.pods = [
            pod("postgres-0", "two", "primary"),
            pod("postgres-1", "one", "primary"),
            pod("flask-app-a", "two"),
        ]
        self.nodes = {"one": WELL, "two": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
        self.asked: set[str] = set()

    def items(self, group: str, kind: str, query: str = "") -> list[dict[str, Any]]:
        return {"pods": self.pods}.get(kind, [])

    def get(self, path: str, seconds: float = 5, accept: str = "") -> str:
        if path == "/version":
            return json.dumps({"gitVersion": "v1"})
        if path == "/api/v1/nodes":
            items = [{"metadata": {"name": name}, "spec": {}, "status": found} for name, found in self.nodes.items()]
            return json.dumps({"items": items})
        leader = {"metadata": {"name": "postgres-leader", "annotations": {"leader": "postgres-1"}}}
        return json.dumps({"items": [leader] if path.endswith("/configmaps") else []})

    def seconds_ahead(self) -> float:
        return 0.0

    def ask(self, name: str, port: int, path: str, seconds: float = 5) -> str:
        self.asked.add(name)
        if path == "/cluster":
            return json.dumps({"members": []})
        return json.dumps({"server_version": 170006, "patroni": {"version": "4"}})

    def run(self, name: str, container: str, *command: str, seconds: float = 5) -> str:
        self.asked.add(name)
        return json.dumps({"archiving": True})

    def execute(self, name: str, container: str, *command: str, seconds: float = 5) -> tuple[int, str, str]:
        self.asked.add(name)
        return 0, "", ""


def test_pods_on_a_lost_node_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "look", lambda *_: time.sleep(60))
    monkeypatch.setattr("stack.status.state.LOST_S", 1.0)
    cluster: Any = Cluster()
    began = time.monotonic()
    state = Reader(cluster, {}).read()
    assert time.monotonic() - began < 5
    assert cluster.asked == {"postgres-1"}
    assert state["database"]["primary"] == {"archiving": True}
    assert state["unread"] == {"front door": "no answer within 1 s"}


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_late_part_is_waited_for_where_all_nodes_are_ready(monkeypatch: pytest.MonkeyPatch, is_lost: bool) -> None:
    monkeypatch.setattr(front_door, "look", lambda *_: None)
    monkeypatch.setattr("stack.status.state.DEADLINE_S", 0.5)
    cluster: Any = Cluster()
    if not is_lost:
        cluster.nodes["two"] = WELL
    answer = cluster.run

    def late(*arguments: Any, **options: Any) -> Any:
        time.sleep(1.5)
        return answer(*arguments, **options)

    cluster.run = late
    assert ("primary" in Reader(cluster, {}).read()["unread"]) == is_lost
