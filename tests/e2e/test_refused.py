"""Wrong settings end a run before anything is touched, and the message names the setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Run

# What a machine of the inventory sets wrongly; the setting is the name up to the dot. The rules have tables of cases in
# tests/unit; here is one of each way in which a run looks at settings.
WRONG: dict[str, dict[str, Any]] = {
    "minikube_memory_mb": {"minikube_memory_mb": 100_000_000},
    "stack_namespace": {"stack_namespace": "kube-stack"},
    "stack_namespace.number": {"stack_namespace": 4711},
    "vault_url": {"vault_url": "https://127.0.0.1:1"},
    "stack_app_host": {"stack_app_host": "203.0.113.7"},
    "stack_pgadmin_host": {"stack_pgadmin_host": "{{ stack_app_host }}"},
    "postgres_instances": {"postgres_instances": 0},
    "postgres_backup_s3_endpoint": {
        "postgres_backup_repository": "s3",
        "postgres_backup_s3_endpoint": "127.0.0.1:1",
        "postgres_backup_s3_bucket": "backups",
        "postgres_backup_s3_region": "here",
        "postgres_backup_s3_key": "someone",
        "postgres_backup_s3_key_secret": "something",
    },
    "postgres_password": {"postgres_password": "two\nlines"},
    "pgadmin_storage_size": {"pgadmin_storage_size": "1 GB"},
    "flask_app_replicas": {"flask_app_replicas": "two"},
    "flask_app_source": {"flask_app_source": "/nonexistent"},
    "flask_app_api_token": {"flask_app_api_token": "too short"},
    "monitoring_alerts": {"monitoring_alerts": {"NoSuchAlert": {"for": "1m"}}},
}
# What a stack that is there cannot become. Minikube's storage class lets no volume grow.
FIXED: dict[str, Any] = {
    "postgres_user": "admin",
    "postgres_backup_storage_size": "6Gi",
    "postgres_backup_encrypted": True,
    "pgadmin_storage_class": "another",
    "monitoring_storage_size": "3Gi",
}


@pytest.fixture(scope="module")
def refusals(refuse: Callable[..., dict[str, list[str]]]) -> dict[str, list[str]]:
    """The messages of one run over as many machines as there are wrong settings, by machine."""
    return refuse(WRONG)


@pytest.mark.parametrize("machine", WRONG)
def test_refused_by_name(refusals: dict[str, list[str]], machine: str) -> None:
    assert machine in refusals, "it was not refused"
    assert machine.split(".")[0] in " ".join(refusals[machine])


def test_what_is_there_cannot_become_is_refused(refuse: Callable[..., dict[str, list[str]]]) -> None:
    """By a run of all roles, of which those before have something to do."""
    others = {"minikube_managed": False, "postgres_password": "another-1", "stack_app_host": "other.example.com"}
    machines = {name: {name: value, **others} for name, value in FIXED.items()}
    # A second stack without hosts of its own.
    second = {"stack_namespace": "elsewhere", "minikube_managed": False}
    machines["stack_app_host"] = machines["stack_pgadmin_host"] = second
    found = refuse(machines)
    assert {name: name in " ".join(found.get(name, [])) for name in machines} == dict.fromkeys(machines, True), found


def test_secret_values_are_not_repeated(refusals: dict[str, list[str]]) -> None:
    for name in ("postgres_password", "flask_app_api_token"):
        (value,) = WRONG[name].values()
        assert value not in " ".join(refusals[name])


def test_as_typed(site: Callable[..., Run]) -> None:
    """The way a person meets it: what is wrong with all roles, in one run."""
    run = site("-e", "flask_app_replicas=0", "-e", "postgres_instances=0", "-e", "postgres_backup_retention=0")
    assert run.code == 2
    for name in ("flask_app_replicas", "postgres_instances", "postgres_backup_retention"):
        assert f"{name} is 0" in run.output
