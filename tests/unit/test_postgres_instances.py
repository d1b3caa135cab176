"""What the roles of the database read of what is there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.postgres import backups, instances, logins


def state(leader: str, synchronous: bool, standby: str = "") -> list[dict[str, Any]]:
    """Patroni's ConfigMaps of the database ``db``."""
    annotations = {
        "db-leader": {"leader": leader},
        "db-config": {"config": json.dumps({"synchronous_mode": synchronous})},
        "db-sync": {"sync_standby": standby},
        "db-failover": None,
    }
    return [{"metadata": {"name": name, "annotations": found}} for name, found in annotations.items()]


@pytest.mark.parametrize(
    ("configmaps", "count", "may"),
    [
        # Another one is the primary.
        (state("db-0", True, "db-1"), 3, True),
        (state("db-1", True, "db-2"), 3, True),
        # The last one is, and hands over.
        (state("db-2", True, "db-0"), 3, True),
        (state("db-2", True, "db-0,db-1"), 3, True),
        (state("db-1", True, "db-0"), 2, True),
        (state("db-1", False), 2, True),
        # Nobody can take over what was acknowledged.
        (state("db-2", True), 3, False),
        (state("db-1", True, "db-2"), 2, False),
        # There is no primary, or one that is to leave before.
        (state("", True, "db-0"), 2, False),
        (state("db-4", True, "db-0"), 3, False),
        ([], 2, False),
    ],
)
def test_the_last_instance_leaves_when_the_others_have_every_commit(
    configmaps: list[dict[str, Any]], count: int, may: bool
) -> None:
    assert instances.last_may_leave(configmaps, "db", count) is may


def test_a_state_without_the_synchronous_replica_keeps_the_last_instance() -> None:
    found = [configmap for configmap in state("db-1", True) if configmap["metadata"]["name"] != "db-sync"]
    assert not instances.last_may_leave(found, "db", 2)


def claims(**nodes: str | None) -> dict[str, Any]:
    """Claims of instances, each with the node that its volume was made for."""
    return {
        f"PersistentVolumeClaim/data-{name}": {
            "metadata": {"annotations": node and {"volume.kubernetes.io/selected-node": node}}
        }
        for name, node in nodes.items()
    }


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        ({}, "DoNotSchedule"),
        # Volumes that any node can mount, or that were made on nodes of their own.
        (claims(a=None, b=None), "DoNotSchedule"),
        (claims(a="one", b="two"), "DoNotSchedule"),
        (claims(a="one"), "DoNotSchedule"),
        # Those of another workload count for nothing.
        (claims(a="one", other="one"), "DoNotSchedule"),
        (claims(a="one", b="one"), "ScheduleAnyway"),
    ],
)
def test_an_instance_waits_for_a_node_of_its_own_unless_its_volume_is_on_another_ones(
    objects: dict[str, Any], wanted: str
) -> None:
    assert instances.spread(objects, ["a", "b"]) == wanted


def test_the_claim_of_a_new_database_is_empty() -> None:
    assert instances.claim({}) == {}
    spec = {"storageClassName": "standard"}
    assert instances.claim({"spec": {"volumeClaimTemplates": [{"spec": spec}]}}) == spec


def test_logins_are_found_by_the_setting_that_names_them() -> None:
    secrets = {
        "postgres-secret": {"POSTGRES_USER": "root"},
        "flask-app-db": {"DB_USER": "flask_app_2"},
        "pgadmin-db": {},
    }
    assert logins.found(secrets) == {
        "postgres_user": "root",
        "postgres_app_user": "flask_app_2",
        "postgres_console_user": "",
        "postgres_monitoring_user": "",
    }
    assert set(logins.found({}).values()) == {""}


@pytest.mark.parametrize(
    ("size", "storage", "mib"),
    [("", "5Gi", 1024), ("", "1Gi", 204), ("", "100Mi", 64), ("1Gi", "5Gi", 1024), ("32Mi", "5Gi", 32)],
)
def test_the_queue_is_a_fifth_of_the_volume_unless_it_is_set(size: str, storage: str, mib: int) -> None:
    assert backups.queue_mib(size, storage) == mib


@pytest.mark.parametrize(
    ("endpoint", "outside"),
    [
        ("s3.eu-west-1.amazonaws.com", True),
        ("127.0.0.1:1", True),
        ("minio.svc-storage.example.com:9000", True),
        ("minio", False),
        ("minio:9000", False),
        ("minio.storage.svc", False),
        ("minio.storage.svc:9000", False),
        ("minio.storage.svc.cluster.local:9000", False),
    ],
)
def test_a_service_of_a_cluster_cannot_be_looked_up_from_outside(endpoint: str, outside: bool) -> None:
    assert backups.is_outside_cluster(endpoint) is outside


@pytest.mark.parametrize(
    ("database", "noted"),
    [
        ({}, ("", "")),
        ({"metadata": {}}, ("", "")),
        ({"metadata": {"annotations": {"repository": "0123 aes-256-cbc"}}}, ("0123", "aes-256-cbc")),
        ({"metadata": {"annotations": {"other": "0123 none"}}}, ("", "")),
    ],
)
def test_the_repository_of_a_first_backup_is_noted(database: dict[str, Any], noted: tuple[str, str]) -> None:
    assert tuple(backups.noted_repository(database, "repository").values()) == noted
