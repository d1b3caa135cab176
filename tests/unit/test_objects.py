"""What a run asks the API server for: what is there as it is wanted needs no request, and all else does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stack.objects import drifted, merge_applied, merge_secrets

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec: {replicas: 2, template: {spec: {containers: [{name: shop, args: [serve]}]}}}
"""


@pytest.fixture
def live() -> dict[str, Any]:
    """What the cluster makes of it."""
    (applied,) = drifted(MANIFEST, {})
    found = copy.deepcopy(applied)
    found["status"] = {"readyReplicas": 2}
    found["spec"]["revisionHistoryLimit"] = 10
    found["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    return {"Deployment/shop": found}


def test_what_is_there_is_left_alone(live: dict[str, Any]) -> None:
    assert drifted(MANIFEST, live) == []


def test_a_number_that_an_autoscaler_has_set_is_no_change_where_it_is_wanted(live: dict[str, Any]) -> None:
    live["Deployment/shop"]["spec"]["replicas"] = 5
    assert drifted(MANIFEST.replace("replicas: 2", "replicas: 5"), live) == []


@pytest.mark.parametrize(
    ("this", "that"),
    [
        ("replicas: 2", "replicas: 3"),
        ("replicas: 2, ", ""),
        ("labels: {app: shop}", "labels: {}"),
        ("args: [serve]", "args: [serve, now]"),
        ("args: [serve]", "command: [serve]"),
        ("name: shop, labels", "name: other, labels"),
    ],
)
def test_another_manifest_is_applied(live: dict[str, Any], this: str, that: str) -> None:
    assert MANIFEST.replace(this, that) != MANIFEST
    assert len(drifted(MANIFEST.replace(this, that), live)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["spec"].update(replicas=1),
        lambda found: found["metadata"]["labels"].clear(),
        lambda found: found["spec"]["template"]["spec"]["containers"].append({"name": "by-hand"}),
        lambda found: found["metadata"]["annotations"].pop("flask-postgres-stack/applied"),
    ],
)
def test_what_somebody_has_changed_is_applied(live: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> None:
    change(live["Deployment/shop"])
    assert len(drifted(MANIFEST, live)) == 1


def test_what_was_applied_is_recorded_and_secrets_apart() -> None:
    service = {"kind": "Service", "metadata": {"name": "shop"}, "spec": {"ports": []}}
    secret = {"kind": "Secret", "metadata": {"name": "login"}, "data": {"password": "cMOkc3M="}}
    result = {"results": [{"result": service}, {"result": secret}]}
    before: dict[str, Any] = {"Service/shop": {}, "Service/other": {}}
    assert merge_applied(before, result) == {"Service/shop": service, "Service/other": {}}
    assert merge_secrets({"login": {"password": "old", "gone": ""}, "other": {}}, result) == {
        "login": {"password": "päss"},
        "other": {},
    }
    assert before == {"Service/shop": {}, "Service/other": {}}


def test_one_applied_object_comes_without_a_list() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "new"}}
    assert merge_applied({}, secret) == {}
    assert merge_secrets({}, secret) == {"login": {"password": "new"}}
    assert merge_secrets({}, {"kind": "Secret", "metadata": {"name": "empty"}, "data": None}) == {"empty": {}}
