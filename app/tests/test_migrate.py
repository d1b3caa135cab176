"""Migrations."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result

from conftest import fresh_database, run_app, settings_of
from flask_postgres_app import cli, migrate
from postgres import Server, free_port, run_server

REVISIONS = [
    script.revision for script in ScriptDirectory(str(Path(migrate.__file__).parent / "migrations")).walk_revisions()
]


def run(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["migrate", *arguments], env=environ)


def schema(server: Server, environ: dict[str, str]) -> list[tuple[object, ...]]:
    return server.execute(
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2",
        environ["DB_NAME"],
    )


def test_from_nothing_and_again(server: Server, empty_environ: dict[str, str]) -> None:
    first = run(empty_environ)
    assert (first.exit_code, first.output) == (0, f"The schema is at revision {migrate.head()}.\n")
    before = schema(server, empty_environ)
    assert run(empty_environ).exit_code == 0
    assert schema(server, empty_environ) == before


def test_what_a_newer_release_has_migrated_stays(server: Server, environ: dict[str, str]) -> None:
    server.execute("UPDATE alembic_version SET version_num = 'newer'", environ["DB_NAME"])
    before = schema(server, environ)
    result = run(environ)
    assert (result.exit_code, result.output) == (0, "The schema is at revision newer.\n")
    assert schema(server, environ) == before


def test_every_revision_reverts(server: Server, environ: dict[str, str]) -> None:
    before = schema(server, environ)
    config = Config()
    config.set_main_option("script_location", "flask_postgres_app:migrations")
    engine = sa.create_engine("postgresql+psycopg2://", creator=lambda: server.connect(environ["DB_NAME"]))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    assert {row[0] for row in schema(server, environ)} == {"alembic_version"}
    assert run(environ).exit_code == 0
    assert schema(server, environ) == before


def test_two_at_once(server: Server, empty_environ: dict[str, str]) -> None:
    def start(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from flask_postgres_app.cli import main; main(['migrate'])"],
            env={**os.environ, **empty_environ},
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(start, range(3)))
    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3
    assert server.execute("SELECT version_num FROM alembic_version", empty_environ["DB_NAME"]) == [(migrate.head(),)]


def test_it_waits_for_the_database() -> None:
    """The server starts only after the migration has been refused."""
    with ThreadPoolExecutor(1) as pool:
        port = free_port()
        environ = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(port),
            "DB_NAME": "postgres",
            "DB_USER": "postgres",
            "DB_PASSWORD": "password",
        }
        waiting = pool.submit(run, environ, "--wait", "60")
        with run_server(port, "password"):
            result = waiting.result()
    assert (result.exit_code, result.output) == (0, f"The schema is at revision {migrate.head()}.\n")


def test_it_gives_up_in_one_line() -> None:
    environ = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_NAME": "a", "DB_USER": "b", "DB_PASSWORD": "c"}
    result = run(environ, "--wait", "0")
    assert result.exit_code == 1
    assert result.output.startswith("Error: migration of 127.0.0.1:1 failed: ")
    assert "Connection refused" in result.output
    assert result.output.count("\n") == 1


def test_it_gives_up_on_a_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        environ = {"DB_HOST": "127.0.0.1", "DB_PORT": port, "DB_NAME": "a", "DB_USER": "b", "DB_PASSWORD": "c"}
        result = run(environ, "--wait", "0")
    assert result.exit_code == 1
    assert result.output == f"Error: migration of 127.0.0.1:{port} failed: the server did not answer in time\n"


def test_a_wrong_password_fails_in_one_line(environ: dict[str, str]) -> None:
    result = run({**environ, "DB_PASSWORD": "wrong"}, "--wait", "0")
    assert result.exit_code == 1
    assert "password authentication failed" in result.output
    assert result.output.count("\n") == 1


def test_an_unknown_revision_fails_in_one_line(environ: dict[str, str]) -> None:
    result = run(environ, "--revision", "nonsense")
    assert result.exit_code == 1
    assert "nonsense" in result.output
    assert result.output.count("\n") == 1


def test_a_failing_migration_changes_nothing(server: Server, empty_environ: dict[str, str]) -> None:
    server.execute("CREATE VIEW data AS SELECT 1", empty_environ["DB_NAME"])
    before = schema(server, empty_environ)
    result = run(empty_environ)
    assert result.exit_code == 1
    assert "already exists" in result.output
    assert result.output.count("\n") == 1
    assert [row for row in schema(server, empty_environ) if row[0] != "alembic_version"] == before


def test_the_flask_command_is_the_same(empty_environ: dict[str, str]) -> None:
    with run_app(settings_of(empty_environ)) as app:
        result = app.test_cli_runner().invoke(args=["migrate"], env=empty_environ)
    assert result.exit_code == 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_revisions_are_pending_until_applied(server: Server, revision: str) -> None:
    with fresh_database(server, "template0") as environ, run_app(settings_of(environ)) as app:
        database = app.extensions["database"]
        assert migrate.pending(database)[0] == "0001"
        assert run(environ, "--revision", revision).exit_code == 0
        assert revision not in migrate.pending(database)
