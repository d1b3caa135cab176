"""Access to PostgreSQL: a pool of connections, a deadline for every call, and errors sorted by what they mean.

libpq waits for the server in C for as long as TCP keeps the connection open, which is for ever when the server is
frozen. So a thread watches the calls under way, and shuts down the connection of one that is past its deadline, which
ends the wait: a deadline holds from the client's side whatever the server does, and a call in time costs nothing more.
"""

from __future__ import annotations

import math
import os
import re
import select
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from queue import Empty
from time import monotonic
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import errorcodes, extensions

from . import comments
from .metrics import DATABASE_ERRORS, REPLICA_READS
from .pool import Pool
from .resolver import Resolver, UnresolvedError
from .settings import DatabaseSettings, Settings

Row = tuple[Any, ...]

# A connection used this recently is taken to be open, which saves a system call; a read that finds it closed is
# repeated.
FRESH_S = 1.0
# The shortest that libpq keeps to.
LIBPQ_TIMEOUT_S = 2
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
# Where there is no primary, or none that answers; see `DatabaseUnavailableError`.
_NO_PRIMARY = {"unreachable", "deadline", "cooldown"}
_NOT_MIGRATED = {errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_COLUMN}
_BUSY_CLASSES = {errorcodes.CLASS_INSUFFICIENT_RESOURCES, errorcodes.CLASS_TRANSACTION_ROLLBACK}


_resolver = Resolver()


class DatabaseUnavailableError(Exception):
    """The database cannot answer now.

    Attributes:
        reason: ``unreachable``, ``deadline``, ``cooldown``, ``busy`` or ``not_migrated``; of a replica also ``stale``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeadlineError(Exception):
    """A call of the database met its deadline."""

    def __init__(self, message: str = "the server did not answer in time") -> None:
        super().__init__(message)


class _Watchdog:
    """Ends calls that are past their deadline. All methods may be called from any thread."""

    def __init__(self) -> None:
        # The deadline and the connection of each call under way. Whoever takes a call out, itself or the watchdog,
        # has ended it: each operation on the set is a single one of the interpreter.
        self._calls: set[tuple[float, Connection]] = set()
        self._wakes_at = math.inf
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Begin to watch in this process, if that is not so yet: a thread does not survive the fork of a worker."""
        with self._starting:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()

    def begin(self, call: tuple[float, Connection]) -> None:
        """Watch a call, whose deadline is on the clock of `time.monotonic`."""
        self._calls.add(call)
        if call[0] < self._wakes_at:
            self._wake.set()

    def end(self, call: tuple[float, Connection]) -> bool:
        """Return whether a call ends here, and has not been ended before."""
        try:
            self._calls.remove(call)
        except KeyError:
            return False
        return True

    def _run(self) -> None:
        while True:
            self._wake.clear()
            # A call that begins from here on is either seen below or sets the event.
            self._wakes_at = math.inf
            calls = self._calls.copy()
            self._wakes_at = min((deadline for deadline, _ in calls), default=math.inf)
            now = monotonic()
            for call in calls:
                if call[0] <= now and self.end(call):
                    call[1].expire()
            if self._wakes_at > now:
                self._wake.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


_watchdog = _Watchdog()


class Statement(NamedTuple):
    """What a connection executes.

    Attributes:
        sql: With ``%s`` for each parameter.
        parameters: Their values.
        comment: What stands behind the statement, and is another one each time.
        prepare: Whether one plan does for all values of the parameters: it is then prepared at its first use on a
            connection, if PostgreSQL can prepare it. Otherwise it is planned each time.
    """

    sql: str
    parameters: Sequence[object] = ()
    comment: str = ""
    prepare: bool = True


class Connection(extensions.connection):
    """A connection whose calls end at a deadline.

    Attributes:
        is_expired: Whether a call met its deadline; nothing can be done with the connection then.
        last_used: When the last call ended, on the clock of `time.monotonic`, in seconds.
    """

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        self.is_expired = False
        self._prepared: dict[str, str] = {}
        super().__init__(dsn, **kwargs)
        # A descriptor of its own: the number of libpq's may be another connection's by the time that it is used.
        self._socket = socket.socket(fileno=os.dup(self.fileno()))
        self._closing = threading.Lock()
        self.last_used = monotonic()

    def run(self, statement: Statement, deadline: float) -> list[Row]:
        """Execute a statement; see `Database.execute`.

        Raises:
            DeadlineError: The server has not answered by the deadline, on the clock of `time.monotonic`.
            psycopg2.Error: See `Database.execute`.
        """
        call = deadline, self
        _watchdog.begin(call)
        try:
            rows = self._run(statement)
        except psycopg2.Error as error:
            if self.is_expired:
                raise DeadlineError from error
            raise
        finally:
            # An answer that has come is taken even late, for it may be this process that was slow.
            if not _watchdog.end(call):
                self.close()
        self.last_used = monotonic()
        return rows

    def expire(self) -> None:
        """End the call under way, from another thread."""
        self.is_expired = True
        # It is closed if the call has ended meanwhile.
        with self._closing, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        with self._closing:
            self._socket.close()
        super().close()

    def _run(self, statement: Statement) -> list[Row]:
        sql, parameters, comment, prepare = statement
        with self.cursor() as cursor:
            execute = self._prepared.get(sql) if prepare else sql
            if execute is None:
                # psycopg2 cannot prepare through the protocol, but SQL can: planning costs more than executing.
                name = f"s{len(self._prepared)}"
                numbers = count(1)
                cursor.execute(f"PREPARE {name} AS " + re.sub("%s", lambda _: f"${next(numbers)}", sql))
                execute = f"EXECUTE {name}" + (f" ({', '.join(['%s'] * len(parameters))})" if parameters else "")
                self._prepared[sql] = execute
            cursor.execute(execute + comment.replace("%", "%%"), parameters)
            return cursor.fetchall() if cursor.description else []


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
    _watchdog.start()
    opened: Future[Connection] = Future()

    def run() -> None:
        try:
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
                connect_timeout=max(LIBPQ_TIMEOUT_S, math.ceil(timeout_s)),
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                connection_factory=Connection,
                **parameters,
            )
        except BaseException as error:  # noqa: BLE001, whoever waits for it has to know
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
        else:
            connection.autocommit = True
            if opened.set_running_or_notify_cancel():
                opened.set_result(connection)
            else:
                connection.close()

    # There is no descriptor to shut down before libpq has connected. So it does that in a thread, which is left alone
    # where it takes too long, and ends by libpq's own timeout.
    threading.Thread(target=run, name="connect", daemon=True).start()
    try:
        return opened.result(max(0.0, deadline - monotonic()))
    except TimeoutError:
        if opened.cancel():
            raise DeadlineError from None
        return opened.result()


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


class Database:
    """The database as the service uses it: single statements, each its own transaction.

    Connections are opened at first use or by `fill`, so after the fork of a worker process. All methods may be called
    from any thread.
    """

    def __init__(self, settings: Settings, session: str = "read-write") -> None:
        """Prepare; nothing is opened yet.

        Args:
            settings: Settings of the service.
            session: Which servers are taken, as libpq's ``target_session_attrs`` has it.
        """
        self.replica: Database | None = None
        self._has_comments = settings.db_comments
        self._pool_size = settings.db_pool_size
        self._deadline_s = settings.db_deadline_ms / 1000
        self._connect_timeout_s = settings.db_connect_timeout_s
        self._patience_s: float = settings.db_connect_timeout_s
        self._answered_at = 0.0
        self._resume_at = 0.0
        self._probe = threading.Lock()
        self._connect = partial(
            connect,
            settings,
            target_session_attrs=session,
            tcp_user_timeout=settings.db_deadline_ms,
            options=(
                f"-c statement_timeout={settings.db_statement_timeout_ms} "
                f"-c lock_timeout={settings.db_lock_timeout_ms} -c timezone=UTC"
            ),
        )
        self._pool_timeout_s = settings.db_pool_timeout_ms / 1000
        # None is for a connection that has yet to be opened.
        self._pool: Pool[Connection | None] = Pool()
        for _ in range(self._pool_size):
            self._pool.put(None)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, safe: bool = False, prepare: bool = True
    ) -> list[Row]:
        """Execute one statement.

        Args:
            sql: See `Statement`.
            parameters: Values of the parameters.
            safe: The statement changes nothing (RFC 9110, section 9.2.1), so it is repeated once on a new connection
                if the first one turns out to be lost.
            prepare: See `Statement`.

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
        statement = Statement(sql, parameters, comment, prepare)
        try:
            try:
                return self._execute(statement, deadline, fresh_s=FRESH_S if safe else 0.0)
            except psycopg2.Error as error:
                reason = _reason(error)
                repeatable = safe or error.pgcode in _STALE
                in_time = monotonic() + self._connect_timeout_s <= deadline
                if reason != "unreachable" or not repeatable or not in_time:
                    raise
                return self._execute(statement, deadline, fresh_s=0.0)
        except DeadlineError as error:
            # A server that has answered others meanwhile is slow, but there.
            if self._answered_at < now:
                self._resume_at = monotonic() + COOLDOWN_S
                goes_on = probing and self._patience_s < self._connect_timeout_s
                patience_s = self._patience_s * PROBE_GROWTH if goes_on else PROBE_S
                self._patience_s = min(patience_s, self._connect_timeout_s)
            raise self._unavailable("deadline") from error
        except Empty as error:
            raise self._unavailable("busy") from error
        except psycopg2.Error as error:
            if (reason := _reason(error)) is None:
                raise
            raise self._unavailable(reason) from error
        finally:
            if probing:
                self._end_probe()

    def read(self, sql: str, parameters: Sequence[object] = (), *, prepare: bool = True) -> list[Row]:
        """Execute one statement that changes nothing; where no primary answers, by a replica.

        Its data may be older; ``flask.g.data_age`` then has how old it may be at most, in seconds. The arguments are
        those of `execute`.

        Raises:
            DatabaseUnavailableError: Neither can answer now; the reason is the primary's.
            psycopg2.Error: The statement is wrong.
        """
        try:
            return self.execute(sql, parameters, safe=True, prepare=prepare)
        except DatabaseUnavailableError as error:
            if self.replica is None or error.reason not in _NO_PRIMARY:
                raise
            with suppress(DatabaseUnavailableError):
                rows = self.replica.execute(sql, parameters, safe=True, prepare=prepare)
                REPLICA_READS.labels(error.reason).inc()
                return rows
            raise

    def fill(self) -> None:
        """Open the pool's connections, as far as the server takes them now.

        A process that is new has little time for handshakes once requests arrive.
        """
        with suppress(psycopg2.Error, DeadlineError, Empty):
            for _ in range(self._pool_size):
                self._pool.put(self._take(FRESH_S))

        if self.replica is not None:
            self.replica.fill()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._empty()
        if self.replica is not None:
            self.replica.close()

    def _empty(self) -> None:
        with suppress(Empty):
            for _ in range(self._pool_size):
                if connection := self._pool.get():
                    connection.close()
                self._pool.put(None)

    def _execute(self, statement: Statement, deadline: float, fresh_s: float) -> list[Row]:
        connection = self._take(fresh_s)
        try:
            rows = self._run(connection, statement, deadline)
            self._answered_at = monotonic()
            self._patience_s = self._connect_timeout_s
        except psycopg2.Error as error:
            if connection.closed or _reason(error) == "unreachable":
                connection.close()
            raise
        finally:
            self._pool.put(None if connection.closed else connection)
        return rows

    def _run(self, connection: Connection, statement: Statement, deadline: float) -> list[Row]:
        return connection.run(statement, deadline)

    def _take(self, fresh_s: float) -> Connection:
        """Take a connection out of the pool, and open it if it is not.

        Args:
            fresh_s: One that was used in the last so many seconds is taken to be open.
        """
        connection = self._pool.get(self._pool_timeout_s)
        try:
            # An idle connection has something to read only when the server has ended it.
            if connection and monotonic() - connection.last_used >= fresh_s and _has_input(connection):
                connection.close()
                connection = None
            return connection or self._connect(self._patience_s)
        except BaseException:
            self._pool.put(None)
            raise

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
