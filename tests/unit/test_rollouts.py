"""Waiting for a workload: when the wait ends, and what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.rollout import Rollout, RolloutError

Object = dict[str, Any]

ABSENT = {"waiting": {"reason": "ImagePullBackOff", "message": "localhost/none:1: not found"}}
SILENT = {"waiting": {"reason": "ImagePullBackOff", "message": "dial tcp 192.0.2.1:443: i/o timeout"}}
READY = [{"type": "Ready", "status": "True"}]


def pod(name: str, version: str, state: Object | None = None) -> Object:
    """A pod of a version, which is ready where no state says otherwise."""
    labels = {"pod-template-hash": version, "controller-revision-hash": version}
    status = {"containerStatuses": [{"name": "shop", "state": state}]} if state else {"conditions": READY}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def replica_set(version: str, revision: str) -> Object:
    annotations = {"deployment.kubernetes.io/revision": revision}
    return {
        "metadata": {"name": f"shop-{version}", "labels": {"pod-template-hash": version}, "annotations": annotations}
    }


class Cluster:
    """A workload of two pods, and a clock that a sleep moves on."""

    namespace = "store"

    def __init__(self, kind: str, *pods: Object, sets: list[Object] | None = None, rolled_out_at: float = 1e9) -> None:
        self.kind = kind
        self.pods = list(pods)
        self.sets = sets
        self.rolled_out_at = rolled_out_at
        self.now = 0.0
        self.deleted: list[str] = []
        self.asked: list[str] = []
        self.said: list[str] = []

    def get(self, path: str) -> str:
        if "/log?" in path:
            self.asked.append(path)
            return "one\nError: no such table\n"
        done = 2 if self.now >= self.rolled_out_at else 0
        return json.dumps(
            {
                "kind": self.kind,
                "metadata": {"generation": 1, "annotations": {"deployment.kubernetes.io/revision": "2"}},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}},
                "status": {
                    "observedGeneration": 1,
                    "replicas": 2,
                    "updatedReplicas": done,
                    "availableReplicas": done,
                    "readyReplicas": done,
                    "currentRevision": "new" if done else "old",
                    "updateRevision": "new",
                },
            }
        )

    def items(self, group: str, kind: str, query: str = "") -> list[Object]:
        assert group
        if kind == "replicasets":
            if self.sets is None:
                raise OSError("403 forbidden")
            return self.sets
        if kind == "pods":
            assert "app%3Dshop" in query
            return self.pods
        return []

    def delete_pod(self, name: str) -> None:
        self.deleted.append(name)
        self.pods = [found for found in self.pods if found["metadata"]["name"] != name]

    def wait(self, seconds: float) -> None:
        def sleep(pause: float) -> None:
            self.now += pause

        Rollout(self, self.kind, "shop", lambda: self.now, sleep).wait(seconds, self.said.append)


SETS = [replica_set("old", "1"), replica_set("new", "2")]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_the_wait_ends_with_the_rollout(kind: str) -> None:
    cluster = Cluster(kind, pod("a", "new"), pod("b", "new"), sets=SETS, rolled_out_at=30)
    cluster.wait(60)
    assert 30 <= cluster.now < 32
    assert [line.partition(": ")[2] for line in cluster.said] == [
        f"0 of 2 pods are of this version ({now} of at most 60 s)" for now in (3, 13, 23)
    ]


def test_an_image_that_does_not_exist_is_not_waited_for_to_the_end() -> None:
    cluster = Cluster("Deployment", pod("a", "old"), pod("b", "old"), pod("c", "new", ABSENT), sets=SETS)
    with pytest.raises(RolloutError) as error:
        cluster.wait(600)
    assert 60 < cluster.now < 75
    text = str(error.value)
    assert "waiting does not help: 0 of 2 pods are of this version." in text
    assert "c: container shop: ImagePullBackOff: localhost/none:1: not found." in text
    assert "The version before it goes on serving, with 2 ready pods." in text
    assert text.endswith("See: kubectl -n store describe pods -l app=shop")


def test_a_registry_that_does_not_answer_is_waited_for() -> None:
    cluster = Cluster("Deployment", pod("c", "new", SILENT), sets=SETS)
    with pytest.raises(RolloutError, match=r"not rolled out after 200 s: .*i/o timeout") as error:
        cluster.wait(200)
    assert cluster.now > 200
    # There is no version before it.
    assert "serving" not in str(error.value)
    assert "Nothing of it runs yet." in str(error.value)


def test_an_account_that_may_not_read_versions_claims_nothing_of_them() -> None:
    cluster = Cluster("Deployment", pod("a", "old"), pod("c", "new", ABSENT), sets=None)
    with pytest.raises(RolloutError, match="not found") as error:
        cluster.wait(20)
    assert "serving" not in str(error.value)


def test_the_last_lines_of_a_crash_are_told() -> None:
    crash = {"waiting": {"reason": "CrashLoopBackOff"}}
    broken = pod("c", "new", crash)
    broken["status"]["containerStatuses"][0] |= {"restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}}
    cluster = Cluster("Deployment", broken, sets=SETS)
    with pytest.raises(RolloutError, match="exit code 1, 3 restarts; it said: one Error: no such table"):
        cluster.wait(20)
    assert "previous=true" in cluster.asked[0]


def test_a_pod_of_an_old_version_that_never_ran_makes_room() -> None:
    """A StatefulSet with its pods in order waits for it for good."""
    ran = pod("shop-1", "old", {"waiting": {"reason": "CrashLoopBackOff"}})
    cluster = Cluster("StatefulSet", pod("shop-0", "old", ABSENT), ran, pod("shop-2", "new", ABSENT), rolled_out_at=30)
    cluster.wait(60)
    assert cluster.deleted == ["shop-0"]


def test_a_deployment_replaces_its_pods_itself() -> None:
    cluster = Cluster("Deployment", pod("a", "old", ABSENT), sets=SETS, rolled_out_at=30)
    cluster.wait(60)
    assert cluster.deleted == []
