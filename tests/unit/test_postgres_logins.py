"""Which logins stay valid, and which clients have a certificate."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from stack.postgres import logins

USERS = ["flask_app", "flask_app_2"]
SECRETS = {
    "flask-app-db": {"DB_USER": "flask_app_2"},
    "postgres-patroni": {
        "roles.json": json.dumps(
            {
                "roles": [
                    {"name": "postgres", "password": "p"},
                    {"name": "flask_app", "password": "former"},
                    {"name": "flask_app_2", "password": "current"},
                ]
            }
        )
    },
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"generation": 3, "annotations": {logins.LOGIN_ANNOTATION: "flask_app_2"}},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 3, "updatedReplicas": 2, "replicas": 2},
}


def former(**status: Any) -> dict[str, str]:
    deployment = copy.deepcopy(DEPLOYMENT)
    deployment["status"].update(status)
    return logins.former(SECRETS, {"Deployment/flask-app": deployment}, USERS)


def test_a_login_that_no_pod_uses_is_not_kept() -> None:
    assert former() == {}


@pytest.mark.parametrize("status", [{"observedGeneration": 2}, {"updatedReplicas": 1}, {"replicas": 3}])
def test_the_former_login_is_kept_while_a_pod_may_use_it(status: dict[str, int]) -> None:
    assert former(**status) == {"flask_app": "former"}


def test_the_former_login_is_kept_until_a_rollout_with_the_other() -> None:
    deployment = copy.deepcopy(DEPLOYMENT)
    deployment["metadata"]["annotations"][logins.LOGIN_ANNOTATION] = "flask_app"
    assert logins.former(SECRETS, {"Deployment/flask-app": deployment}, USERS) == {"flask_app": "former"}


def test_the_former_login_is_kept_while_a_worker_may_use_it() -> None:
    worker = copy.deepcopy(DEPLOYMENT)
    objects = {"Deployment/flask-app": DEPLOYMENT, "Deployment/flask-app-worker-mail": worker}
    assert logins.former(SECRETS, objects, USERS) == {}
    worker["status"]["updatedReplicas"] = 1
    assert logins.former(SECRETS, objects, USERS) == {"flask_app": "former"}
    assert logins.former(SECRETS, {"Deployment/flask-app": DEPLOYMENT, "Deployment/flask-apps": worker}, USERS) == {}


def test_nobody_has_noted_a_login() -> None:
    deployment = {**DEPLOYMENT, "metadata": {"generation": 3}}
    assert logins.former(SECRETS, {"Deployment/flask-app": deployment}, USERS) == {}
    assert logins.former(SECRETS, {}, USERS) == {}
    assert logins.former({}, {"Deployment/flask-app": DEPLOYMENT}, USERS) == {}


def test_clients_that_hold_up_a_change() -> None:
    has = {"spec": {"volumes": [{"name": "client-certificate"}]}}
    lacks: dict[str, Any] = {"spec": {}}
    assert logins.without_certificate([has, lacks], wanted=True) == [lacks]
    assert logins.without_certificate([has, lacks], wanted=False) == [has]
