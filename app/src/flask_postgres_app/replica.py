"""Reads while no primary answers: by a replica, as long as it is known how old its data may be.

A replica cannot tell what it has not received. It can tell when it was last sent something, for the primary sends a
sign of life at least as often as ``wal_receiver_timeout``, and when what it replayed last was committed.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

import psycopg2
from flask import g, has_app_context

from .database import Connection, Database, DatabaseUnavailableError, Row, Statement
from .settings import Settings

# How often each process looks how far its replica is. The connection stays open for the first read that needs it.
WATCH_S = 2.0
# After so long without a read the connections that reads have opened are closed.
IDLE_S = 10.0

_STATE = """
SELECT host(inet_server_addr()), pg_is_in_recovery(),
  EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(),
  extract(epoch FROM current_setting('wal_receiver_timeout')::interval)::float,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float
"""


class State(NamedTuple):
    """How far an instance is.

    Attributes:
        address: Its address; None on a Unix socket.
        is_replica: Whether it replays what another one sends.
        is_streaming: Whether it is connected to that one, and has replayed all that it was sent.
        silence_s: The longest time that a connection to that one outlasts its silence, in seconds; 0 for ever.
        replayed_s: How long ago, in seconds, that was committed which it has replayed last; None for nothing.
    """

    address: str | None
    is_replica: bool
    is_streaming: bool | None
    silence_s: float
    replayed_s: float | None


class Ages:
    """How old the data of instances may be at most, by what was seen of them. It may be used by any thread."""

    def __init__(self) -> None:
        self._streaming: dict[str | None, float] = {}

    def of(self, state: State, now: float) -> float:
        """The age in seconds; infinite where nothing is known.

        Args:
            state: How far the instance was at that time, or later.
            now: The time, on the clock of `time.monotonic`.
        """
        if not state.is_replica:
            return 0.0
        if state.is_streaming:
            self._streaming[state.address] = now
        ages = [math.inf if state.replayed_s is None else max(0.0, state.replayed_s)]
        if state.silence_s and state.address in self._streaming:
            ages.append(now - self._streaming[state.address] + state.silence_s)
        return min(ages)


class Replica(Database):
    """Replicas, for single statements that change nothing."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is opened yet.

        Args:
            settings: Settings of the service, with ``db_read_host``.
        """
        place = replace(
            settings, db_host=settings.db_read_host or "", db_port=settings.db_read_port or settings.db_port
        )
        super().__init__(place, session="any")
        self._max_age_s = settings.db_read_max_age_s
        self._ages = Ages()
        self._read_at = 0.0
        self._closed = threading.Event()

    def fill(self) -> None:
        """Open a connection, and watch from now on how far the replica is."""
        threading.Thread(target=self._watch, name="replica", daemon=True).start()

    def close(self) -> None:
        """Close the connections, and no longer watch."""
        self._closed.set()
        super().close()

    def look(self) -> None:
        """Look how far the replica is.

        Raises:
            DatabaseUnavailableError: It does not answer now.
        """
        state = State._make(self.execute(_STATE, safe=True)[0])
        self._ages.of(state, monotonic())
        if not state.is_replica:
            # It was promoted, and is not to keep the connections of this pool beside those of the other.
            self._empty()

    def _run(self, connection: Connection, statement: Statement, deadline: float) -> list[Row]:
        if statement.sql.startswith(_STATE):
            return super()._run(connection, statement, deadline)
        now = monotonic()
        state = State._make(connection.run(Statement(_STATE), deadline)[0])
        age = self._ages.of(state, now)
        if age > self._max_age_s:
            raise self._unavailable("stale")
        rows = super()._run(connection, statement, deadline)
        self._read_at = monotonic()
        if state.is_replica and has_app_context():
            g.data_age = math.ceil(age)
        return rows

    def _watch(self) -> None:
        while True:
            with suppress(DatabaseUnavailableError, psycopg2.Error):
                self.look()
            if self._read_at and monotonic() - self._read_at > IDLE_S:
                self._read_at = 0.0
                self._empty()
            if self._closed.wait(WATCH_S):
                return
