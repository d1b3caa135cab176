"""What the settings ask of every object and pod."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stack.objects import drifted, placed_all
from stack.placement import placed

PLACEMENT: dict[str, Any] = {
    "labels": {"team": "shop", "app": "theirs"},
    "annotations": {"example.com/cost": "4711"},
    "image_pull_secrets": ["registry"],
    "node_selector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "priority_class": "high",
    "ip_family_policy": "PreferDualStack",
}
POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "ours"}},
    "spec": {
        "containers": [{"name": "shop", "image": "shop:1"}],
        "nodeSelector": {"disk": "own", "zone": "a"},
        "tolerations": [{"key": "own"}],
    },
}
METADATA = {"name": "shop", "labels": {"app": "ours"}}
# Where each kind has its pods.
KINDS: dict[str, Any] = {
    "Deployment": lambda pod: {"template": pod},
    "StatefulSet": lambda pod: {"template": pod, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
    "DaemonSet": lambda pod: {"template": pod},
    "Job": lambda pod: {"template": pod},
    "CronJob": lambda pod: {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod}}},
}


def workload(kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object, and what is its pods' after it was placed."""
    found = placed({"kind": kind, "metadata": METADATA, "spec": KINDS[kind](copy.deepcopy(POD))}, PLACEMENT)
    spec = found["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else found["spec"]
    return found, spec["template"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pod_is_placed_beside_what_it_has(kind: str) -> None:
    found, pod = workload(kind)
    assert pod["spec"] == {
        "containers": POD["spec"]["containers"],
        "nodeSelector": {"disk": "own", "zone": "a"},
        "tolerations": [{"key": "own"}, {"key": "dedicated", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "high",
    }
    for metadata in (found["metadata"], pod["metadata"]):
        assert metadata["labels"] == {"team": "shop", "app": "ours"}
        assert metadata["annotations"] == {"example.com/cost": "4711"}
    assert placed(found, PLACEMENT) == found


def test_the_jobs_of_a_cronjob_have_the_labels_too() -> None:
    assert workload("CronJob")[0]["spec"]["jobTemplate"]["metadata"]["labels"]["team"] == "shop"


def test_a_claim_that_cannot_be_changed_is_left_alone() -> None:
    assert workload("StatefulSet")[0]["spec"]["volumeClaimTemplates"] == [{"metadata": {"name": "data"}}]


def test_a_pod_itself() -> None:
    found = placed({"kind": "Pod", "metadata": METADATA, "spec": POD["spec"]}, PLACEMENT)
    assert found["spec"]["priorityClassName"] == "high"
    assert found["metadata"]["labels"] == {"team": "shop", "app": "ours"}


def test_an_object_without_pods() -> None:
    assert placed({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}}, PLACEMENT) == {
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": PLACEMENT["labels"], "annotations": PLACEMENT["annotations"]},
        "data": {},
    }
    service = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"selector": {"app": "a"}}}
    assert placed(service, PLACEMENT)["spec"] == {"selector": {"app": "a"}, "ipFamilyPolicy": "PreferDualStack"}


@pytest.mark.parametrize("placement", [{}, {"labels": {}, "tolerations": [], "priority_class": ""}])
def test_without_settings_nothing_changes(placement: dict[str, Any]) -> None:
    definition = {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": POD}}
    assert placed(definition, placement) == definition


def test_an_object_that_has_not_what_is_asked_is_due() -> None:
    manifests = "kind: ConfigMap\nmetadata: {name: a}\n"
    (there,) = drifted(manifests, {}, {"labels": {"team": "shop"}})
    assert there["metadata"]["labels"] == {"team": "shop"}
    live = {"ConfigMap/a": there}
    assert drifted(manifests, live, {"labels": {"team": "shop"}}) == []
    # Another value, one more, and none any more.
    for labels in ({"team": "other"}, {"team": "shop", "cost": "1"}, {}):
        assert len(drifted(manifests, live, {"labels": labels})) == 1


def test_definitions_of_a_list_and_of_a_text() -> None:
    text = "kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n"
    found = placed_all(text, {"labels": {"team": "shop"}})
    assert [each["metadata"]["labels"] for each in found] == [{"team": "shop"}] * 2
    assert placed_all(found, {"labels": {"team": "shop"}}) == found
