"""What the role postgres refuses of its settings, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from role_settings import rendered

from stack.postgres import connections
from stack.validation import Problem, lines, postgres
from stack.validation.specs import role_options

ROOT = Path(__file__).parents[2]
DEFAULTS = yaml.safe_load((ROOT / "roles" / "postgres" / "defaults" / "main.yml").read_text())
# Those whose default is a template.
SETTINGS: dict[str, Any] = {
    **{name: DEFAULTS[name] for name in role_options("postgres")},
    "postgres_namespace": "flask-postgres",
    "postgres_base_image": "docker.io/library/postgres:17-trixie",
    "postgres_image_repository": "",
    "postgres_resources": rendered(DEFAULTS["postgres_resources"]),
    "postgres_storage_class": "standard",
    "postgres_archiving_enabled": True,
    "postgres_archiving_resources": {"limits": {"memory": "256Mi"}},
    "postgres_pooling_enabled": False,
    "postgres_metrics_enabled": True,
    "default_parameters": {"max_connections": 100, "shared_preload_libraries": "pg_stat_statements"},
    "own_parameters": {"ssl": "on"},
}
POOLER = {"postgres_pooler_enabled": True, "postgres_pooler_pool_size": 20, "postgres_pooler_replicas": 2}


def names(**changes: Any) -> list[str]:
    return [problem.name.split(" ")[0] for problem in postgres.problems({**SETTINGS, **changes})]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        POOLER,
        {"postgres_parameters": {"TimeZone": "Europe/Berlin", "shared_buffers": "256MB"}},
        {"postgres_resources": {"requests": {"cpu": "100m"}}},
        {"flask_app_environment": {"DB_POOL_SIZE": "10"}},
        {"flask_app_image": "registry.example.com/shop:1", "flask_app_environment": {"DB_POOL_SIZE": 90}},
        {"flask_app_source": "/srv/shop", "flask_app_environment": {"DB_POOL_SIZE": 90}},
        {"flask_app_environment": {"DB_POOL_SIZE": 30}, "postgres_parameters": {"max_connections": 300}},
    ],
)
def test_what_works_is_taken(changes: dict[str, Any]) -> None:
    assert names(**changes) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("postgres_instances", {"postgres_instances": 6}),
        ("postgres_database", {"postgres_database": "template1"}),
        ("postgres_database", {"postgres_database": "a" * 64}),
        ("postgres_user", {"postgres_user": "Robert"}),
        ("postgres_user", {"postgres_user": "pg_monitor"}),
        ("postgres_console_user", {"postgres_console_user": "standby"}),
        ("postgres_monitoring_user", {"postgres_monitoring_user": "flask_app_2"}),
        ("postgres_app_user", {"postgres_app_user": "a" * 62}),
        ("postgres_password", {"postgres_password": "two\nlines"}),
        ("postgres_resources", {"postgres_resources": {"limits": {"memory": "64Mi"}}}),
        ("postgres_resources", {"postgres_resources": {"limits": {"memory": "a lot"}}}),
        ("postgres_storage_size", {"postgres_storage_size": "five"}),
        ("postgres_storage_size", {"postgres_storage_size": "100Mi"}),
        ("postgres_parameters", {"postgres_parameters": {"work_memory": "8MB"}}),
        ("postgres_parameters", {"postgres_parameters": {"work_mem": "8mb"}}),
        ("postgres_parameters", {"postgres_parameters": {"shared_buffers": "100GB"}}),
        ("postgres_parameters", {"postgres_parameters": {"shared_buffers": "480MB"}}),
        ("postgres_parameters", {"postgres_parameters": {"wal_buffers": "400MB"}}),
        ("postgres_archiving_resources", {"postgres_archiving_resources": {"limits": {"memory": "a lot"}}}),
        ("flask_app_environment", {"flask_app_environment": {"DB_POOL_SIZE": 30}}),
        ("flask_app_environment", {"flask_app_environment": {"WEB_CONCURRENCY": "16"}}),
        ("flask_app_environment", {"flask_app_autoscaling_enabled": True, "flask_app_autoscaling_max": 20}),
        ("flask_app_environment", {"flask_app_replicas": 12}),
        ("flask_app_environment", {"postgres_parameters": {"max_connections": 30}}),
        ("flask_app_environment", {"postgres_parameters": {"superuser_reserved_connections": 90}}),
    ],
)
def test_what_cannot_work_is_refused_by_name(name: str, changes: dict[str, Any]) -> None:
    assert names(**changes) == [name]


@pytest.mark.parametrize(("size", "replicas", "largest"), [(40, 2, 33), (34, 2, 33), (22, 3, 21)])
def test_a_pool_that_leaves_nobody_a_connection_is_refused(size: int, replicas: int, largest: int) -> None:
    settings = {**SETTINGS, **POOLER, "postgres_pooler_pool_size": size, "postgres_pooler_replicas": replicas}
    found = {problem.name: str(problem) for problem in postgres.problems(settings)}
    assert f"at most {largest}," in found["postgres_pooler_pool_size"]
    assert "postgres_pooler_pool_size" not in names(**{**settings, "postgres_pooler_pool_size": largest})


def test_everything_is_said_at_once() -> None:
    found = names(postgres_instances=0, postgres_database="template0", postgres_user="pg_root")
    assert found == ["postgres_instances", "postgres_database", "postgres_user"]


def test_no_line_has_a_secret() -> None:
    found = " ".join(lines(postgres.problems({**SETTINGS, "postgres_password": "two\nlines"})))
    assert "postgres_password" in found
    assert "two" not in found


def test_the_message_of_a_pool_says_what_would_fit() -> None:
    (problem,) = postgres.problems({**SETTINGS, "flask_app_environment": {"DB_POOL_SIZE": 30}})
    assert "it takes 10 or less" in str(problem)
    assert "max_connections 253 or more" in str(problem)
    assert not list(connections.problems({"flask_app_environment": {"DB_POOL_SIZE": 10}}, 100))
    assert list(connections.problems({"flask_app_environment": {"DB_POOL_SIZE": 11}}, 100))
    assert not list(connections.problems({"flask_app_environment": {"DB_POOL_SIZE": 30}}, 253))
    assert list(connections.problems({"flask_app_environment": {"DB_POOL_SIZE": 30}}, 252))


def test_the_pools_are_those_of_the_service() -> None:
    source = (ROOT / "app" / "src" / "flask_postgres_app" / "settings.py").read_text()
    assert f'"DB_POOL_SIZE", {connections.DB_POOL_SIZE},' in source
    assert f'"WEB_CONCURRENCY", {connections.WEB_CONCURRENCY},' in source


CLAIM = {"resources": {"requests": {"storage": "5Gi"}}, "storageClassName": "standard"}
RUNNING: dict[str, Any] = {
    **SETTINGS,
    "found_logins": {
        "postgres_user": "postgres",
        "postgres_app_user": "flask_app_2",
        "postgres_console_user": "pgadmin",
    },
    "found_claim": CLAIM,
    "restoring": "",
}


def changed(changes: dict[str, Any]) -> list[Problem]:
    return postgres.running_problems({**RUNNING, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"found_logins": {}, "found_claim": {}},
        {"postgres_storage_size": "5120Mi"},
    ],
)
def test_what_fits_the_running_database_is_taken(changes: dict[str, Any]) -> None:
    assert changed(changes) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("postgres_user", {"postgres_user": "admin"}),
        ("postgres_app_user", {"postgres_app_user": "other"}),
        ("postgres_console_user", {"postgres_console_user": "other"}),
        ("postgres_storage_size", {"postgres_storage_size": "6Gi"}),
        ("postgres_storage_class", {"postgres_storage_class": "fast"}),
        ("postgres_namespace", {"restoring": "2026-03-01T18:00:00Z"}),
    ],
)
def test_what_is_there_and_cannot_change_is_refused_by_name(name: str, changes: dict[str, Any]) -> None:
    (problem,) = changed(changes)
    assert problem.name == name
