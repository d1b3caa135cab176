"""Access to PostgreSQL: a pool of connections, a deadline for every call, and errors sorted by what they mean.

psycopg2 waits for the server in C for as long as TCP keeps the connection open, which is for ever when the server is
frozen. A wait callback (https://www.psycopg.org/docs/advanced.html#support-for-coroutine-libraries) does the waiting
here instead, so that a deadline holds from the client's side whatever the server does.
"""

from __future__ import annotations

import math
import re
import select
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

import psycopg2
from psycopg2 import errorcodes, extensions
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import Pool, PoolProxiedConnection, QueuePool

from . import comments
from .metrics import DATABASE_ERRORS
from .resolver import Resolver, UnresolvedError
from .settings import DatabaseSettings, Settings

Row = tuple[Any, ...]

# A connection used this recently is taken to be open, which saves a system call; a read that finds it closed is
# repeated.
FRESH_S = 1.0
# How long calls fail at once after one has met its deadline, before a single one tries the server again.
COOLDOWN_S = 0.1
# How long that one waits for a connection. While a primary is replaced packets go nowhere, and a first packet that is
# lost is sent again only after a second. Each further one waits longer, up to the usual time, and then they start over:
# a server that is slow gets its chance, too.
PROBE_S = 0.2
PROBE_GROWTH = 1.5

# Codes are in https://www.postgresql.org/docs/current/errcodes-appendix.html.
_DISCONNECTED = {
    errorcodes.ADMIN_SHUTDOWN,
    errorcodes.CRASH_SHUTDOWN,
    errorcodes.CANNOT_CONNECT_NOW,
    errorcodes.DATABASE_DROPPED,
    errorcodes.IDLE_SESSION_TIMEOUT,
}
# The statement had no effect, and may have one on a new connection.
_STALE = {
    # The server was the primary when the connection was opened, and has been demoted since.
    errorcodes.READ_ONLY_SQL_TRANSACTION,
    # A migration has changed what a prepared statement returns.
    errorcodes.FEATURE_NOT_SUPPORTED,
    errorcodes.INVALID_SQL_STATEMENT_NAME,
}
_BUSY = {errorcodes.QUERY_CANCELED, errorcodes.LOCK_NOT_AVAILABLE}
_NOT_MIGRATED = {errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_COLUMN}
_BUSY_CLASSES = {errorcodes.CLASS_INSUFFICIENT_RESOURCES, errorcodes.CLASS_TRANSACTION_ROLLBACK}


_resolver = Resolver()


class DatabaseUnavailableError(Exception):
    """The database cannot answer now.

    Attributes:
        reason: ``unreachable``, ``deadline``, ``cooldown``, ``busy`` or ``not_migrated``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeadlineError(Exception):
    """A call of the database met its deadline."""

    def __init__(self, message: str = "the server did not answer in time") -> None:
        super().__init__(message)


class Connection(extensions.connection):
    """A connection whose calls end at a deadline.

    Attributes:
        deadline: When the call under way fails, on the clock of `time.monotonic`, in seconds.
        last_used: When the last call ended, on the same clock.
    """

    deadline = math.inf

    def __init__(self, dsn: str, deadline: float = math.inf, **kwargs: Any) -> None:
        self.deadline = deadline
        self._prepared: dict[str, str] = {}
        super().__init__(dsn, **kwargs)
        self.last_used = monotonic()

    def run(self, sql: str, parameters: Sequence[object], comment: str = "") -> list[Row]:
        """Execute a statement, prepared at its first use on this connection; see `Database.execute`."""
        with self.cursor() as cursor:
            execute = self._prepared.get(sql)
            if execute is None:
                # psycopg2 cannot prepare through the protocol, but SQL can: planning costs more than executing.
                name = f"s{len(self._prepared)}"
                numbers = count(1)
                cursor.execute(f"PREPARE {name} AS " + re.sub("%s", lambda _: f"${next(numbers)}", sql))
                execute = f"EXECUTE {name}" + (f" ({', '.join(['%s'] * len(parameters))})" if parameters else "")
                self._prepared[sql] = execute
            cursor.execute(execute + comment.replace("%", "%%"), parameters)
            rows = cursor.fetchall() if cursor.description else []
        self.last_used = monotonic()
        return rows


def wait(connection: extensions.connection) -> None:
    """Wait until a connection has the answer of the server.

    Raises:
        DeadlineError: The connection's deadline has passed; psycopg2 closes the connection.
    """
    deadline = getattr(connection, "deadline", math.inf)
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        remaining_ms = None if deadline == math.inf else max(0.0, (deadline - monotonic()) * 1000)
        # An answer that is already there is taken even late, for it may be this process that was slow.
        if not poller.poll(remaining_ms):
            raise DeadlineError


def connect(settings: DatabaseSettings, timeout_s: float | None = None, **parameters: Any) -> Connection:
    """Open a connection in autocommit mode.

    Args:
        settings: Where the database is.
        timeout_s: The time in which it must be open, in seconds, if not `DatabaseSettings.db_connect_timeout_s`.
        parameters: Further parameters of libpq.

    Raises:
        DeadlineError: The server did not answer in time.
        psycopg2.OperationalError: The server refused.
    """
    timeout_s = timeout_s or settings.db_connect_timeout_s
    deadline = monotonic() + timeout_s
    hosts, addresses = _resolve(settings.db_host, timeout_s)

    def factory(dsn: str, **kwargs: Any) -> Connection:
        return Connection(dsn, deadline, **kwargs)

    connection: Connection = psycopg2.connect(
        # The names are for the certificates alone.
        host=hosts,
        hostaddr=addresses,
        port=settings.db_port,
        dbname=settings.db_name,
        user=settings.db_user,
        password=settings.db_password,
        sslmode=settings.db_sslmode,
        sslrootcert=settings.db_sslrootcert,
        sslcert=settings.db_sslcert,
        sslkey=settings.db_sslkey,
        application_name="flask-postgres-app",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        connection_factory=factory,
        **parameters,
    )
    connection.autocommit = True
    connection.deadline = math.inf
    return connection


def _resolve(db_host: str, timeout_s: float) -> tuple[str, str]:
    """Return ``host`` and ``hostaddr`` of libpq, which looks up no name then.

    Raises:
        DeadlineError: No name server answers in time.
        psycopg2.OperationalError: The names have no address.
    """
    # libpq takes folders of Unix sockets as well, and nothing for its own default of one.
    if not db_host or db_host.startswith(("/", "@")):
        return db_host, ""
    try:
        found = _resolver.resolve(db_host.split(","), timeout_s)
    except UnresolvedError as error:
        if error.in_time:
            raise psycopg2.OperationalError(str(error)) from error
        raise DeadlineError(str(error)) from error
    return ",".join(name for name, _ in found), ",".join(address for _, address in found)


extensions.set_wait_callback(wait)


class Database:
    """The database as the service uses it: single statements, each its own transaction.

    Connections are opened at first use or by `fill`, so after the fork of a worker process. All methods may be called
    from any thread.
    """

    def __init__(self, settings: Settings, poolclass: type[Pool] = QueuePool) -> None:
        """Prepare the pool; nothing is opened yet.

        Args:
            settings: Settings of the service.
            poolclass: `sqlalchemy.pool.QueuePool`, or `sqlalchemy.pool.NullPool` to compare it with.
        """
        self._has_comments = settings.db_comments
        self._pool_size = settings.db_pool_size
        self._deadline_s = settings.db_deadline_ms / 1000
        self._connect_timeout_s = settings.db_connect_timeout_s
        self._patience_s: float = settings.db_connect_timeout_s
        self._answered_at = 0.0
        self._resume_at = 0.0
        self._probe = threading.Lock()

        def creator() -> Any:
            return connect(
                settings,
                self._patience_s,
                target_session_attrs="read-write",
                tcp_user_timeout=settings.db_deadline_ms,
                options=(
                    f"-c statement_timeout={settings.db_statement_timeout_ms} "
                    f"-c lock_timeout={settings.db_lock_timeout_ms} -c timezone=UTC"
                ),
            )

        bounds: dict[str, Any] = {}
        if issubclass(poolclass, QueuePool):
            bounds = {
                "pool_size": settings.db_pool_size,
                "max_overflow": 0,
                "timeout": settings.db_pool_timeout_ms / 1000,
                "use_lifo": True,
            }
        # Every statement commits itself, so there is nothing to reset.
        self._pool = poolclass(creator, reset_on_return=None, **bounds)

    def execute(self, sql: str, parameters: Sequence[object] = (), *, safe: bool = False) -> list[Row]:
        """Execute one statement.

        Args:
            sql: A statement that PostgreSQL can prepare, with ``%s`` for each parameter.
            parameters: Values of the parameters.
            safe: The statement changes nothing (RFC 9110, section 9.2.1), so it is repeated once on a new connection
                if the first one turns out to be lost.

        Returns:
            The rows.

        Raises:
            DatabaseUnavailableError: The database cannot answer now.
            psycopg2.Error: The statement is wrong.
        """
        comment = ""
        if self._has_comments:
            prepared, comment = comments.of_request()
            sql += prepared
        now = monotonic()
        probing = self._resume_at != 0.0 and self._start_probe(now)
        deadline = now + self._deadline_s
        try:
            try:
                return self._execute(sql, parameters, comment, deadline, fresh_s=FRESH_S if safe else 0.0)
            except psycopg2.Error as error:
                reason = _reason(error)
                repeatable = safe or error.pgcode in _STALE
                in_time = monotonic() + self._connect_timeout_s <= deadline
                if reason != "unreachable" or not repeatable or not in_time:
                    raise
                return self._execute(sql, parameters, comment, deadline, fresh_s=0.0)
        except DeadlineError as error:
            # A server that has answered others meanwhile is slow, but there.
            if self._answered_at < now:
                self._resume_at = monotonic() + COOLDOWN_S
                goes_on = probing and self._patience_s < self._connect_timeout_s
                patience_s = self._patience_s * PROBE_GROWTH if goes_on else PROBE_S
                self._patience_s = min(patience_s, self._connect_timeout_s)
            raise self._unavailable("deadline") from error
        except PoolTimeoutError as error:
            raise self._unavailable("busy") from error
        except psycopg2.Error as error:
            if (reason := _reason(error)) is None:
                raise
            raise self._unavailable(reason) from error
        finally:
            if probing:
                self._end_probe()

    def fill(self) -> None:
        """Open the pool's connections, as far as the server takes them now.

        A process that is new has little time for handshakes once requests arrive.
        """
        opened: list[PoolProxiedConnection] = []
        with suppress(psycopg2.Error, DeadlineError):
            while len(opened) < self._pool_size:
                opened.append(self._pool.connect())
        for pooled in opened:
            pooled.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.dispose()

    def _execute(
        self, sql: str, parameters: Sequence[object], comment: str, deadline: float, fresh_s: float
    ) -> list[Row]:
        pooled, connection = self._checkout(deadline, fresh_s)
        try:
            connection.deadline = deadline
            rows = connection.run(sql, parameters, comment)
            self._answered_at = connection.last_used
            self._patience_s = self._connect_timeout_s
        except BaseException as error:
            if connection.closed or not isinstance(error, psycopg2.Error) or _reason(error) == "unreachable":
                pooled.invalidate()
            raise
        finally:
            pooled.close()
        return rows

    def _checkout(self, deadline: float, fresh_s: float) -> tuple[PoolProxiedConnection, Connection]:
        while True:
            pooled = self._pool.connect()
            connection: Connection = pooled.dbapi_connection  # type: ignore[assignment]
            now = monotonic()
            if now - connection.last_used < fresh_s or not _has_input(connection):
                return pooled, connection
            # An idle connection has something to read only when the server has ended it.
            pooled.invalidate()
            pooled.close()
            if now >= deadline:
                raise DeadlineError

    def _start_probe(self, now: float) -> bool:
        """While the server answers nothing, let a single call try it and fail the others at once."""
        if now < self._resume_at or not self._probe.acquire(blocking=False):
            raise self._unavailable("cooldown")
        return True

    def _end_probe(self) -> None:
        if self._resume_at <= monotonic():
            self._resume_at = 0.0
        self._probe.release()

    @staticmethod
    def _unavailable(reason: str) -> DatabaseUnavailableError:
        DATABASE_ERRORS.labels(reason).inc()
        return DatabaseUnavailableError(reason)


def _has_input(connection: Connection) -> bool:
    if connection.closed:
        return True
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _reason(error: psycopg2.Error) -> str | None:
    """Why an error is not the statement's fault, if so; the words are those of `DatabaseUnavailableError`."""
    code = error.pgcode
    if code is None:
        return "unreachable" if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) else None
    if code in _DISCONNECTED or code in _STALE or code.startswith(errorcodes.CLASS_CONNECTION_EXCEPTION):
        return "unreachable"
    if code in _NOT_MIGRATED:
        return "not_migrated"
    if code in _BUSY or code[:2] in _BUSY_CLASSES:
        return "busy"
    return None
