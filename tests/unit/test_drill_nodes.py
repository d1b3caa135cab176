"""The drill's faults of whole nodes, before a cluster of records: where they are possible, and what they ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from stack.drill import machines, nodes
from stack.drill.__main__ import Drill
from stack.drill.client import Service
from stack.drill.database import CORDONED, Database, DrillError
from stack.drill.faults import FAULTS
from stack.images import ImageError

CONTROL_PLANE = {machines.CONTROL_PLANE: ""}


def node(name: str, number: int, labels: dict[str, str], *, ready: bool = True) -> Any:
    conditions = [SimpleNamespace(type="Ready", status="True" if ready else "Unknown")]
    addresses = [SimpleNamespace(type="InternalIP", address=f"192.0.2.{number}")]
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, labels=labels, annotations={}),
        spec=SimpleNamespace(unschedulable=None),
        status=SimpleNamespace(conditions=conditions, addresses=addresses),
    )


def pod(name: str, node: str, owner: str = "StatefulSet", phase: str = "Running") -> Any:
    owners = [SimpleNamespace(kind=owner)]
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, owner_references=owners),
        spec=SimpleNamespace(node_name=node),
        status=SimpleNamespace(phase=phase),
    )


class Core:
    """The part of the API that is called, with what it was asked for."""

    def __init__(self, found: list[Any], pods: list[Any]) -> None:
        self.found, self.pods = found, pods
        self.refused: dict[str, list[int]] = {}
        self.evicted: list[str] = []

    def list_node(self) -> Any:
        return SimpleNamespace(items=self.found)

    def list_namespaced_pod(self, _: str, *, field_selector: str = "", label_selector: str = "") -> Any:
        wanted = field_selector.removeprefix("spec.nodeName=")
        is_database = bool(label_selector)
        return SimpleNamespace(
            items=[
                each
                for each in self.pods
                if wanted in ("", each.spec.node_name)
                and (not is_database or each.metadata.name.startswith("postgres-"))
            ]
        )

    def read_namespaced_pod(self, name: str, _: str) -> Any:
        return next(each for each in self.pods if each.metadata.name == name)

    def patch_node(self, name: str, body: dict[str, Any]) -> None:
        changed = next(each for each in self.found if each.metadata.name == name)
        changed.spec.unschedulable = body["spec"]["unschedulable"]
        for key, value in body["metadata"]["annotations"].items():
            changed.metadata.annotations.pop(key, None)
            if value is not None:
                changed.metadata.annotations[key] = value

    def create_namespaced_pod_eviction(self, name: str, _: str, body: Any) -> None:
        assert body.metadata.name == name
        if self.refused.get(name):
            raise ApiException(status=self.refused[name].pop(0))
        self.evicted.append(name)


class Stack(Database):
    """Two instances on three nodes."""

    def __init__(self, leader: str = "postgres-0", *, count: int = 3) -> None:
        found = [node("control", 1, CONTROL_PLANE), node("one", 2, {}), node("two", 3, {})][:count]
        places = [("postgres-0", "one"), ("postgres-1", "two"), ("flask-app-a", "one"), ("flask-app-b", "control")]
        self.api: Any = Core(found, [pod(name, place) for name, place in places])
        self.namespace = "flask-postgres"
        self._leader = leader
        self.scripts: list[str] = []

    @property
    def core(self) -> Any:
        return self.api

    def leader(self) -> str:
        return self._leader

    def problem(self) -> str:
        return ""

    def shell(self, pod: str, script: str, *, check: bool = True, seconds: float = 60) -> str:
        del pod, check, seconds
        self.scripts.append(script)
        self._leader = script.partition("--candidate ")[2].partition(" ")[0]
        return ""

    def put(self, name: str, place: str) -> None:
        self.core.read_namespaced_pod(name, "").spec.node_name = place


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr(machines, "are_elsewhere", lambda _: "")
    return Stack()


def test_where_the_engine_has_no_such_containers_no_node_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected() -> Any:
        raise ImageError("it does not answer")

    monkeypatch.setattr(machines, "connected", connected)
    database = Stack()
    needed = {"node-lost", "node-cut", "replica-node-lost", "control-plane-lost", "nodes-in-turn"}
    for name in needed:
        assert "no containers of an engine that answers here" in FAULTS[name].impossible(database)
    with pytest.raises(DrillError, match="engine of the nodes"):
        machines.switch_off("one", "192.0.2.1", 600)
    # A drain asks the API server alone.
    assert FAULTS["drain"].impossible(database) == ""


def test_what_is_possible_with_the_instances_where_they_are(stack: Stack) -> None:
    assert nodes.has_no_worker(stack) == nodes.has_instances_on_control_plane(stack) == nodes.has_no_other(stack) == ""
    stack.put("postgres-1", "control")
    assert nodes.has_no_worker(stack) == ""
    assert nodes.has_instances_on_control_plane(stack) == "an instance runs on the control plane's node"
    stack.put("postgres-0", "control")
    assert nodes.has_no_worker(stack) == "no instance runs on another node than the control plane's"


def test_a_drain_needs_another_node_that_takes_pods(stack: Stack) -> None:
    assert nodes.has_no_other(Stack(count=1)) == "no other node takes pods"
    stack.core.found[1].spec.unschedulable = True
    stack.core.found[2].status.conditions[0].status = "Unknown"
    assert nodes.has_no_other(stack) == "no other node takes pods"


def test_the_primary_or_a_replica_is_brought_to_a_worker(stack: Stack) -> None:
    nodes.put_primary_on_worker(stack)
    nodes.put_replica_on_worker(stack)
    assert stack.scripts == []
    assert (nodes.of(stack, "postgres-0"), nodes.of_replica(stack, "postgres-0")) == ("one", "two")
    stack.put("postgres-0", "control")
    nodes.put_replica_on_worker(stack)
    assert stack.scripts == []
    nodes.put_primary_on_worker(stack)
    assert stack.leader() == "postgres-1"
    nodes.put_replica_on_worker(stack)
    assert stack.leader() == "postgres-0"
    assert nodes.of_replica(stack, "postgres-0") == "two"


def test_a_drain_ends_what_is_there_as_far_as_budgets_allow(stack: Stack) -> None:
    stack.core.pods += [pod("log", "one", owner="DaemonSet"), pod("dump", "one", owner="Job", phase="Succeeded")]
    stack.core.refused = {"postgres-0": [429, 429], "flask-app-a": [404]}
    nodes.drain(stack, "postgres-0")
    assert stack.core.evicted == ["postgres-0"]
    drained = stack.core.found[1]
    assert drained.spec.unschedulable
    assert CORDONED in drained.metadata.annotations
    stack.core.found[2].spec.unschedulable = True
    nodes.uncordon(stack)
    assert not drained.spec.unschedulable
    assert CORDONED not in drained.metadata.annotations
    # Somebody else has cordoned this one.
    assert stack.core.found[2].spec.unschedulable


def test_a_drain_that_may_not_be_is_said_to_be(stack: Stack) -> None:
    stack.core.refused = {"postgres-0": [403]}
    with pytest.raises(ApiException):
        nodes.drain(stack, "postgres-0")


def test_clients_call_a_node_that_is_not_lost(stack: Stack) -> None:
    for lost, address in {"": "192.0.2.2", "one": "192.0.2.1", "two": "192.0.2.2"}.items():
        drill = Drill(stack, Service("app.example.com", "192.0.2.2", "ca.crt", "token"), 1)
        assert drill._address(lost) == address


def test_a_right_to_nodes_is_asked_for_in_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def review(_: Any, body: Any) -> Any:
        asked.append(body.spec.resource_attributes)
        return SimpleNamespace(status=SimpleNamespace(allowed=False))

    monkeypatch.setattr("kubernetes.client.AuthorizationV1Api.create_self_subject_access_review", review)
    database = Stack()
    database._client = ApiClient()
    assert FAULTS["drain"].reason_against(database) == "the account may not create pods/exec"
    assert not database.may("patch", "nodes")
    assert [each.namespace for each in asked] == ["flask-postgres", None]
