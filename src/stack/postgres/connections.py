"""Whether all that connects to PostgreSQL fits into ``max_connections``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stack.postgres import declared
from stack.validation import Problem

# The service that comes with the project, whose settings are known: app/src/flask_postgres_app/settings.py.
SERVICE = Path(__file__).parents[3] / "app"
DB_POOL_SIZE = 4
WEB_CONCURRENCY = 2
# What Patroni, the console, postgres_exporter, migrations and people are left, and the pooler's queries for passwords.
OTHERS = 10
# Over these each pod of the pooler asks for the verifiers of passwords, in the database `postgres`.
POOLER_AUTH_SIZE = 2
# What the service, the console and people are left of max_connections beside the pooler.
POOLER_SPARED = 30

# The settings that `problems` reads beside those of the role postgres.
ALSO = (
    "flask_app_autoscaling_enabled",
    "flask_app_autoscaling_max",
    "flask_app_environment",
    "flask_app_image",
    "flask_app_replicas",
    "flask_app_source",
    "postgres_pooler_enabled",
    "postgres_pooler_pool_size",
    "postgres_pooler_replicas",
)


def is_ours(settings: Mapping[str, Any]) -> bool:
    """Whether the service is the one that comes with the project: of another one nobody knows its pools."""
    source = settings.get("flask_app_source") or SERVICE
    return not settings.get("flask_app_image") and Path(str(source)).resolve() == SERVICE.resolve()


def _number(value: Any, default: int) -> int:
    with suppress(TypeError, ValueError):
        return int(value)
    return default


def service(settings: Mapping[str, Any]) -> tuple[int, str]:
    """The connections that the service opens at most, and how they come about, for people.

    Each worker of each pod has a pool. A rollout replaces pods one after the other, and those that are replaced keep
    their connections until they have ended, so that all pods may be there twice.
    """
    environment = settings.get("flask_app_environment") or {}
    pool = _number(environment.get("DB_POOL_SIZE"), DB_POOL_SIZE)
    workers = _number(environment.get("WEB_CONCURRENCY"), WEB_CONCURRENCY)
    pods = _number(settings.get("flask_app_replicas"), 2)
    if settings.get("flask_app_autoscaling_enabled"):
        pods = max(pods, _number(settings.get("flask_app_autoscaling_max"), pods))
    return 2 * pods * workers * pool, f"{pods} pods with {workers} workers, twice during a rollout"


def pooler(settings: Mapping[str, Any]) -> int:
    """The connections that PgBouncer opens at most."""
    if not settings.get("postgres_pooler_enabled"):
        return 0
    size = _number(settings.get("postgres_pooler_pool_size"), 0) + _beside(settings)
    return _number(settings.get("postgres_pooler_replicas"), 0) * size


def _beside(settings: Mapping[str, Any]) -> int:
    """The connections of each of the pooler's pods beside its pool of the service's database."""
    databases, own = settings.get("postgres_databases"), str(settings.get("postgres_database") or "")
    return POOLER_AUTH_SIZE + sum(declared.pools(databases, own).values())


def pooler_most(max_connections: int, replicas: int, beside: int = POOLER_AUTH_SIZE) -> int:
    """The largest pool of each of the pooler's pods that leaves `POOLER_SPARED` connections to others.

    Args:
        max_connections: PostgreSQL's parameter.
        replicas: The pods of the pooler.
        beside: The connections of each pod beside that pool.
    """
    return (max_connections - POOLER_SPARED) // max(replicas, 1) - beside


def pooler_problems(settings: Mapping[str, Any], max_connections: int) -> Iterator[Problem]:
    """What is wrong with the pooler's pools, where they leave nobody else a connection.

    Args:
        settings: Those of `ALSO` that are known, converted to their types.
        max_connections: PostgreSQL's parameter.
    """
    if not settings.get("postgres_pooler_enabled"):
        return
    size, replicas = (_number(settings.get(f"postgres_pooler_{name}"), 0) for name in ("pool_size", "replicas"))
    beside = _beside(settings)
    largest = pooler_most(max_connections, replicas, beside)
    if size > largest:
        wanted = (
            f"it takes 1 or more, and with postgres_pooler_replicas {replicas}"
            f"{' and the pools of postgres_databases' if beside > POOLER_AUTH_SIZE else ''} at most {largest}, so that"
            f" {POOLER_SPARED} of max_connections ({max_connections}, see postgres_parameters) are left to others"
        )
        yield Problem("postgres_pooler_pool_size", wanted, size)


def problems(settings: Mapping[str, Any], max_connections: int, reserved: int = 3) -> Iterator[Problem]:
    """What is wrong with the pools of the service, where PostgreSQL could not open all of their connections.

    Args:
        settings: Those of `ALSO` that are known, converted to their types.
        max_connections: PostgreSQL's parameter.
        reserved: PostgreSQL's ``superuser_reserved_connections`` and ``reserved_connections``.
    """
    if not is_ours(settings):
        return
    most, how = service(settings)
    beside = pooler(settings)
    left = max_connections - reserved - OTHERS - beside
    if most <= left:
        return
    pool = _number((settings.get("flask_app_environment") or {}).get("DB_POOL_SIZE"), DB_POOL_SIZE)
    fits = left // (most // max(pool, 1))
    taken = f"{OTHERS + reserved} for others" + (f" and {beside} of postgres_pooler_pool_size" if beside else "")
    wanted = f"it takes {fits} or less" if fits >= 1 else "it takes fewer pods or workers"
    yield Problem(
        "flask_app_environment (DB_POOL_SIZE)",
        f"the service opens up to {most} connections ({how}), and beside {taken} only {max(left, 0)} of max_connections"
        f" ({max_connections}) are left; {wanted}, or postgres_parameters with max_connections"
        f" {most + max_connections - left} or more",
        pool,
    )
