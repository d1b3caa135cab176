"""Parameters of PostgreSQL: what it would not take is refused, and all else is in force on every instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Run, Stack

pytestmark = pytest.mark.second

# Each by what the message has to say of it. The first ones PostgreSQL alone knows.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "zone": ({"timezone": "Europe/Berlinn"}, 'invalid value for parameter "TimeZone": "Europe/Berlinn"'),
    "library": ({"shared_preload_libraries": "pg_stat_statement"}, 'could not access file "pg_stat_statement"'),
    "tables": ({"max_connections": 20000}, "MiB: more than limits.memory"),
    "unit": ({"work_mem": "8mb"}, "work_mem is 8mb: valid units are"),
    "range": ({"work_mem": "32kB"}, "work_mem is 32kB: it takes 64kB to"),
    "memory": ({"shared_buffers": "100GB"}, "shared_buffers 100GB"),
    "module": ({"pg_stat_statements.maximum": 1}, "pg_stat_statements of PostgreSQL 17 has no such parameter"),
}
# Each in a spelling that somebody may use, with what the server then shows.
WANTED: dict[str, tuple[Any, str]] = {
    "TimeZone": ("Europe/Berlin", "Europe/Berlin"),
    "INTERVALSTYLE": ("ISO_8601", "iso_8601"),
    "work_mem": (" 8 MB", "8MB"),
    "maintenance_work_mem": ("0x8000", "32MB"),
    "checkpoint_timeout": ("0.1h", "6min"),
    "log_temp_files": ("1.5MB", "1536kB"),
    "log_min_messages": ("debug", "debug2"),
    "jit": ("f", "off"),
    "pg_stat_statements.max": (10000, "10000"),
    "max_locks_per_transaction": (128, "128"),
}


def test_what_postgresql_would_not_take_is_refused(
    refuse: Callable[..., dict[str, list[str]]],
) -> None:
    machines = {name: {"postgres_parameters": given, "minikube_managed": False} for name, (given, _) in REFUSED.items()}
    found = refuse(machines)
    wrong = {name: found.get(name) for name, (_, says) in REFUSED.items() if says not in " ".join(found.get(name, []))}
    assert wrong == {}


@pytest.mark.disruptive
def test_what_is_wanted_is_in_force_on_every_instance(
    site: Callable[..., Run], sql: Callable[..., str], stack: Stack
) -> None:
    pods = [pod.metadata.name for pod in stack.pods("postgres")]

    def shown() -> dict[str, list[str]]:
        return {name: [sql(f"SHOW {name}", pod) for pod in pods] for name in WANTED}

    try:
        run = site("--tags", "postgres", postgres_parameters={name: value for name, (value, _) in WANTED.items()})
        run.succeeded()
        assert shown() == {name: [says] * len(pods) for name, (_, says) in WANTED.items()}
    finally:
        back = site("--tags", "postgres").succeeded()
    assert back.changed > 0
    assert shown()["pg_stat_statements.max"] == ["5000"] * len(pods)
    assert stack.answers()


@pytest.mark.disruptive
def test_a_value_that_something_else_overrides_ends_the_run(site: Callable[..., Run], sql: Callable[..., str]) -> None:
    sql("ALTER SYSTEM SET work_mem = '3MB'", database="postgres")
    try:
        run = site("--tags", "postgres", postgres_parameters={"work_mem": "9MB"})
    finally:
        sql("ALTER SYSTEM RESET work_mem", database="postgres")
        site("--tags", "postgres").succeeded()
    assert run.code == 2
    assert "work_mem is to be 9MB and is 3072" in run.output
