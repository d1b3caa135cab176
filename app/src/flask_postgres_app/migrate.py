"""Migrations of the database's schema."""

from __future__ import annotations

from functools import cache
from time import monotonic, sleep

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from .database import Connection, Database, DeadlineError, connect
from .settings import DatabaseSettings

# Any number will do, as long as nothing else takes an advisory lock under it in the same database.
LOCK_ID = 7_018_224_310
LOCK_TIMEOUT_S = 10
RETRY_INTERVAL_S = 0.5


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    return config


@cache
def head() -> str | None:
    """The newest revision that the code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def pending(database: Database) -> list[str]:
    """Return the revisions that the database lacks, oldest first.

    A revision in the database that the code does not know comes from a newer release, so nothing is pending.

    Raises:
        DatabaseUnavailableError: The database cannot answer now.
    """
    rows = database.execute("SELECT to_regclass('alembic_version') IS NOT NULL", safe=True)
    current = database.execute("SELECT version_num FROM alembic_version", safe=True) if rows[0][0] else []
    revision = current[0][0] if current else None
    if revision is not None and revision not in _known():
        return []
    script = ScriptDirectory.from_config(_config())
    return [step.revision for step in reversed(list(script.iterate_revisions(head(), revision or "base")))]


def upgrade(settings: DatabaseSettings, revision: str = "head", wait_s: float = 60.0) -> str | None:
    """Migrate the database; a second run at the same time waits for the first and then finds nothing to do.

    A database that a newer release has migrated stays as it is, unless an older revision of this one is asked for.

    Args:
        settings: Where the database is.
        revision: The revision to migrate to.
        wait_s: How long to wait for the database to accept connections, in seconds.

    Returns:
        The revision that the database has then; None without a schema.

    Raises:
        psycopg2.OperationalError: The database accepted no connection in time.
        DeadlineError: The database did not answer in time.
        sqlalchemy.exc.SQLAlchemyError: A migration failed; it was rolled back, those before it stay.
        alembic.util.CommandError: There is no such revision.
    """
    connection = _connect(settings, monotonic() + wait_s)
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connection, poolclass=NullPool)
    with engine.connect() as bound:
        # An index that is built beside writes waits for all transactions, and so for one that would wait for the lock.
        while not bound.scalar(text("SELECT pg_try_advisory_lock(:id)"), {"id": LOCK_ID}):
            bound.commit()
            sleep(RETRY_INTERVAL_S)
        # A migration that waits for a table's lock makes every later query of the table wait too.
        bound.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        current = MigrationContext.configure(bound).get_current_revision()
        bound.commit()
        if revision == "head" and current not in {None, *_known()}:
            return current
        config = _config()
        config.attributes["connection"] = bound
        command.upgrade(config, revision)
        return MigrationContext.configure(bound).get_current_revision()


def _connect(settings: DatabaseSettings, give_up_at: float) -> Connection:
    while True:
        try:
            connection = connect(settings, target_session_attrs="read-write")
        except (psycopg2.OperationalError, DeadlineError):
            if monotonic() >= give_up_at:
                raise
            sleep(RETRY_INTERVAL_S)
        else:
            connection.autocommit = False
            return connection
