"""A database of an older major version, dumped and loaded into the stack as docs/upgrade.md says."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import until

Kubectl = Callable[..., str]

OLDER = sorted(path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) < 17)
pytestmark = pytest.mark.skipif(not OLDER, reason="this machine has no PostgreSQL that is older than the stack's")

ROWS = """
CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, noted jsonb, seal bytea);
CREATE TABLE purchase (id serial PRIMARY KEY, customer bigint REFERENCES customer, at timestamptz, sum numeric(12, 2));
CREATE INDEX ON purchase (at);
CREATE VIEW turnover AS SELECT customer, sum(sum) FROM purchase GROUP BY customer;
INSERT INTO customer (name, noted, seal)
  SELECT 'Zoë ' || i, jsonb_build_object('quote', '"''\\'), sha256(i::text::bytea) FROM generate_series(1, 500) i;
INSERT INTO purchase (customer, at, sum)
  SELECT i % 500 + 1, timestamptz '2020-01-01 UTC' + i * interval '7 hours', i / 7.0 FROM generate_series(1, 5000) i;
"""
CHECKSUM = """SET timezone = 'UTC';
SELECT (SELECT md5(string_agg(customer::text, ';' ORDER BY id)) FROM customer),
       (SELECT md5(string_agg(purchase::text, ';' ORDER BY id)) FROM purchase),
       (SELECT md5(string_agg(turnover::text, ';' ORDER BY customer)) FROM turnover)"""


@pytest.fixture
def old_database() -> Iterator[Callable[..., str]]:
    """Run a client of an older version on a server of its own."""
    binaries = OLDER[-1]
    # PostgreSQL refuses to run as root.
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    folder = Path(tempfile.mkdtemp(prefix="older-"))
    os.chown(folder, user.pw_uid, -1)

    def run(program: str, *arguments: str | Path) -> str:
        command = [binaries / program, *arguments]
        return subprocess.run(
            command, user=user.pw_uid, check=True, capture_output=True, text=True, env={"PGHOST": str(folder)}
        ).stdout

    try:
        run("initdb", "--no-sync", "-A", "trust", "-E", "UTF8", "-U", "postgres", "-D", folder / "data")
        settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={folder}"]
        options = [word for setting in settings for word in ("-c", setting)]
        with subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *options], user=user.pw_uid, stderr=subprocess.DEVNULL
        ) as server:
            try:
                until(lambda: (folder / ".s.PGSQL.5432").exists(), 20)
                until(
                    lambda: subprocess.run([binaries / "pg_isready", "-q", "-h", folder], check=False).returncode == 0
                )
                yield run
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder)


def test_a_dump_of_an_older_version_is_loaded(kubectl: Kubectl, old_database: Callable[..., str]) -> None:
    psql = "exec -i service/postgres -- psql -X -q -U postgres -d app -v ON_ERROR_STOP=1 "
    old_database("psql", "-q", "-U", "postgres", "-c", ROWS)
    wanted = old_database("psql", "-qAt", "-U", "postgres", "-c", CHECKSUM)
    dump = old_database("pg_dump", "-U", "postgres", "--no-owner", "--no-privileges", "postgres")
    try:
        kubectl(psql + "--single-transaction -c 'SET ROLE flask_app' -f -", stdin=dump)
        assert kubectl(psql + f"-At -c {shlex.quote(CHECKSUM)}") == wanted
        owners = (
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname ~ '^(customer|purchase|turnover)'"
        )
        assert kubectl(psql + f"-At -c {shlex.quote(owners)}").split() == ["flask_app"]
        insert = "INSERT INTO customer (name) VALUES ('next') RETURNING id"
        assert kubectl(psql + f"-At -c {shlex.quote(insert)}").strip() == "501"
    finally:
        kubectl(psql + "-c 'DROP TABLE IF EXISTS customer, purchase CASCADE'")
