"""Declared databases, logins and extensions: what is refused of them, and what they mean for the rest of the stack."""

from __future__ import annotations

from typing import Any

import pytest
from test_postgres_validation import POOLER, SETTINGS

from stack.postgres import declared, parameters
from stack.validation import lines, postgres

LOGINS: list[Any] = ["shop", {"name": "reporting", "member_of": ["pg_read_all_data"], "password": "kept secret"}]
DATABASES: list[Any] = [{"name": "shop", "owner": "shop", "privileges": {"reporting": "read"}}, "orders-2"]
EXTENSIONS: list[Any] = ["vector", {"name": "pg_cron", "database": "shop"}, {"name": "hstore", "state": "absent"}]
CONNECTION = {"DB_HOST": "postgres", "DB_PORT": "5432", "DB_NAME": "app"}


def said(**changes: Any) -> str:
    given = {"postgres_logins": LOGINS, "postgres_databases": DATABASES, "postgres_extensions": EXTENSIONS}
    return "\n".join(lines(postgres.problems({**SETTINGS, **given, **changes})))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"postgres_databases": [*DATABASES, {"name": "app", "privileges": {"reporting": "write"}}]},
        {"postgres_databases": [*DATABASES, {"name": "old", "state": "absent", "owner": "gone"}]},
        {"postgres_packages": ["postgresql-17-mimeo=1.5.1-13"], "postgres_extensions": ["mimeo"]},
        {"postgres_extensions": [{"name": "hstore", "database": "postgres", "schema": "more", "version": "1.8"}]},
        {"postgres_extensions": [{"name": "unheard_of", "state": "absent"}]},
    ],
)
def test_what_can_be_made_is_taken(changes: dict[str, Any]) -> None:
    assert said(**changes) == ""


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"postgres_logins": [7]}, "postgres_logins (entry 1): it takes a name, or a mapping"),
        ({"postgres_logins": [{"password": "p"}]}, "postgres_logins (entry 1): name: it takes"),
        ({"postgres_logins": ["Robert"]}, "postgres_logins (entry 1): name: it takes"),
        ({"postgres_logins": ["pg_monitor"]}, "postgres_logins (entry 1): name: it takes"),
        ({"postgres_logins": ["ends_"]}, "postgres_logins (entry 1): name: it takes"),
        ({"postgres_logins": ["a" * 42]}, "postgres_logins (entry 1): name: it takes"),
        ({"postgres_logins": [{"name": "x", "superuser": True}]}, "postgres_logins (x): there is no superuser"),
        (
            {"postgres_logins": [{"name": "x", "state": "gone"}]},
            "postgres_logins (x): state: it takes present or absent",
        ),
        (
            {"postgres_logins": [{"name": "x", "connection_limit": "5"}]},
            "postgres_logins (x): connection_limit: it takes",
        ),
        (
            {"postgres_logins": [{"name": "x", "connection_limit": -2}]},
            "postgres_logins (x): connection_limit: it takes",
        ),
        ({"postgres_logins": [{"name": "x", "member_of": "y"}]}, "postgres_logins (x): member_of: it takes a list"),
        ({"postgres_logins": [*LOGINS, "flask_app"]}, "postgres_logins (flask_app): it is postgres_app_user"),
        (
            {"postgres_logins": [*LOGINS, "flask_app_2"]},
            "postgres_logins (flask_app_2): it is the service's second one",
        ),
        ({"postgres_logins": [*LOGINS, "standby"]}, "postgres_logins (standby): it is the stack's own"),
        ({"postgres_logins": [*LOGINS, "shop"]}, "postgres_logins (shop): it is there twice"),
        (
            {"postgres_logins": [*LOGINS, {"name": "x", "member_of": ["pg_execute_server_program"]}]},
            "postgres_logins (x): member_of has pg_execute_server_program",
        ),
        (
            {"postgres_logins": [*LOGINS, {"name": "x", "member_of": ["y"]}, {"name": "y", "member_of": ["x"]}]},
            "postgres_logins (x): it would be a member of itself: x in y in x",
        ),
        (
            {"postgres_logins": [{"name": "shop", "state": "absent"}, LOGINS[1]]},
            "postgres_logins (shop): it is absent, and a database of postgres_databases has it as owner",
        ),
        ({"postgres_databases": ["postgres"]}, "postgres_databases (entry 1): name: it takes"),
        ({"postgres_databases": ["template1"]}, "postgres_databases (entry 1): name: it takes"),
        ({"postgres_databases": [*DATABASES, "shop"]}, "postgres_databases (shop): it is there twice"),
        ({"postgres_databases": [{"name": "x", "owner": "nobody"}]}, "postgres_databases (x): owner is nobody"),
        ({"postgres_databases": [{"name": "app", "state": "absent"}]}, "postgres_databases (app): it is the service's"),
        ({"postgres_databases": [{"name": "app", "owner": "shop"}]}, "postgres_databases (app): it is the service's"),
        ({"postgres_databases": [{"name": "x", "privileges": {"shop": "all"}}]}, "postgres_databases (x): privileges:"),
        (
            {"postgres_databases": [{"name": "x", "privileges": {"y": "read"}}]},
            "postgres_databases (x): privileges has y",
        ),
        (
            {"postgres_databases": [{"name": "shop", "owner": "shop", "privileges": {"shop": "read"}}]},
            "postgres_databases (shop): privileges has shop, which owns the database",
        ),
        ({"postgres_databases": [{"name": "x", "pool_size": "many"}]}, "postgres_databases (x): pool_size: it takes"),
        ({"postgres_extensions": ["unheard_of"]}, "postgres_extensions (unheard_of): PostgreSQL does not have it"),
        ({"postgres_extensions": ["vector; DROP"]}, "postgres_extensions (entry 1): name: it takes"),
        ({"postgres_extensions": [{"name": "vector", "database": "x"}]}, "postgres_extensions (vector): database is x"),
        (
            {"postgres_extensions": ["vector", "vector"]},
            "postgres_extensions (vector of database app): it is there twice",
        ),
        (
            {"postgres_extensions": [{"name": "hstore", "version": 1.8}]},
            "postgres_extensions (hstore): version: it takes",
        ),
        (
            {"postgres_extensions": [{"name": "hstore", "schema": "pg_x"}]},
            "postgres_extensions (hstore): schema: it takes",
        ),
        (
            {"postgres_extensions": ["pg_cron", {"name": "pg_cron", "database": "shop"}]},
            "postgres_extensions (pg_cron): it works in one database alone",
        ),
        ({"postgres_packages": ["pgvector; reboot"]}, "postgres_packages is pgvector; reboot: it takes names"),
        ({"postgres_packages": ["--purge"]}, "postgres_packages is --purge: it takes names"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(changes: dict[str, Any], line: str) -> None:
    others: dict[str, Any] = (
        {"postgres_databases": []} if "postgres_logins" in changes and "absent" not in str(changes) else {}
    )
    found = said(**{"postgres_extensions": [], **others, **changes})
    assert found.startswith(line)
    assert "\n" not in found


def test_everything_is_said_at_once_and_no_password() -> None:
    found = said(
        postgres_logins=[{"name": "x", "password": "two\nlines"}, {"name": "Y", "password": "kept secret"}],
        postgres_databases=[{"name": "z", "state": "gone", "pool_size": -1}],
        postgres_packages=["UPPER"],
    )
    assert len(found.splitlines()) == 5
    assert not any(secret in found for secret in ("two", "kept"))


def test_packages_are_those_of_the_extensions_and_more() -> None:
    assert declared.packages([], []) == []
    assert declared.packages(["postgresql-17-pgtap"], [*EXTENSIONS, "postgis", "postgis_raster"]) == [
        "postgresql-17-cron",
        "postgresql-17-pgtap",
        "postgresql-17-pgvector",
        "postgresql-17-postgis-3",
    ]
    # It is dropped by the image that has it.
    assert declared.packages([], [{"name": "vector", "state": "absent"}]) == ["postgresql-17-pgvector"]
    assert declared.removed("postgresql-17-cron postgresql-17-pgvector", ["postgresql-17-cron"]) == [
        "postgresql-17-pgvector"
    ]
    assert declared.removed("", ["postgresql-17-cron"]) == []


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ({}, "pg_stat_statements, pg_cron"),
        ({"shared_preload_libraries": ""}, "pg_cron"),
        ({"shared_preload_libraries": "auto_explain, $libdir/pg_cron"}, "auto_explain, $libdir/pg_cron"),
    ],
)
def test_libraries_of_extensions_are_loaded_beside_others(given: dict[str, Any], listed: str) -> None:
    values = parameters.wanted(
        given, SETTINGS["default_parameters"], {}, "512Mi", "5Gi", loaded=declared.libraries(EXTENSIONS)
    )
    assert values["shared_preload_libraries"] == listed


def test_pg_cron_works_in_its_database() -> None:
    assert declared.parameters(EXTENSIONS, "app")["cron.database_name"] == "shop"
    assert declared.parameters(["pg_cron"], "app")["cron.database_name"] == "app"
    assert declared.parameters([{"name": "pg_cron", "state": "absent"}], "app") == {}
    assert declared.libraries([{"name": "pg_cron", "state": "absent"}]) == []


def test_each_login_has_a_secret_that_is_kept_and_rotated() -> None:
    first = declared.login_secrets({}, ["shop", "more_than"], DATABASES, CONNECTION)
    assert list(first) == ["postgres-login-shop", "postgres-login-more-than"]
    assert first["postgres-login-shop"]["DB_NAME"] == "shop"
    assert first["postgres-login-more-than"]["DB_NAME"] == "app"
    assert declared.login_secrets(first, ["shop", "more_than"], DATABASES, CONNECTION) == first
    rotated = declared.login_secrets(first, ["shop", "more_than"], DATABASES, CONNECTION, rotate=True)
    assert all(rotated[name]["DB_PASSWORD"] != first[name]["DB_PASSWORD"] for name in first)
    set_one = declared.login_secrets(first, LOGINS, DATABASES, CONNECTION)["postgres-login-reporting"]
    assert (set_one["DB_NAME"], set_one["DB_PASSWORD"]) == ("shop", "kept secret")
    assert declared.with_password(LOGINS) == ["reporting"]
    gone = [{"name": "shop", "state": "absent"}, {"name": "never_was", "state": "absent"}]
    assert declared.login_secrets(first, gone, [], CONNECTION) == {}
    assert declared.stale_secrets(first, gone) == ["postgres-login-shop"]


def test_the_pooler_leads_to_declared_databases() -> None:
    databases: list[Any] = ["a", {"name": "b", "pool_size": 0}, {"name": "c", "pool_size": 9}, {"name": "app"}]
    assert declared.pools([*databases, {"name": "d", "state": "absent"}], "app") == {"a": 5, "c": 9}
    assert "and the pools of postgres_databases" not in said(**POOLER, postgres_databases=[])
    # Two pods, each with 20 connections to the service's database, 2 for passwords and 14 to these.
    found = said(**POOLER, postgres_databases=[*databases, "shop"], postgres_logins=[])
    assert "and the pools of postgres_databases at most 14," in found


def test_an_image_without_an_extension_is_said() -> None:
    listed = "/usr/share/postgresql/17/extension/vector.control\n/usr/share/postgresql/17/extension/hstore.control\n"
    assert declared.unavailable(listed, ["vector", {"name": "postgis", "state": "absent"}]) == []
    (line,) = declared.unavailable(listed, ["postgis"])
    assert line.startswith("postgres_extensions: postgis is not in the image")
    assert declared.unavailable("", ["postgis"]) == []
