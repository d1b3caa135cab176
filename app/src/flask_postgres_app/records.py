"""Records: the rows of the table ``data``."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from .database import Database, Row

MAX_ID = 2**63 - 1
MAX_NAME_LENGTH = 200
INITIAL_ID = 1
INITIAL_NAME = "Initial Record"

# The columns are those of Record.
_SELECT = "SELECT id, name, created_at AT TIME ZONE 'UTC', version FROM data"
_INSERT = "INSERT INTO data (name) VALUES (%s) RETURNING id, name, created_at AT TIME ZONE 'UTC', version"
_UPDATE = (
    "UPDATE data SET name = %s, version = version + 1 WHERE id = %s AND version = coalesce(%s, version) "
    "RETURNING id, name, created_at AT TIME ZONE 'UTC', version"
)

# What stands for other characters in a pattern of LIKE, and what takes it for itself.
_SPECIAL = re.compile(r"[\\%_]")
_ESCAPED = r"\\\g<0>"


class Record(NamedTuple):
    """A record.

    Attributes:
        created_at: When it was created, in UTC and without an offset, in whole seconds.
        version: A number that grows with every change.
    """

    id: int
    name: str
    created_at: datetime
    version: int

    @property
    def etag(self) -> str:
        """The entity tag (RFC 9110, section 8.8.3), without its quotes."""
        # A record deleted and set up again starts at version 1 too, so the version alone would not do.
        return f"{self.version}-{self.created_at:%Y%m%d%H%M%S}"

    def to_dict(self) -> dict[str, Any]:
        """The record as it is in JSON."""
        return {"id": self.id, "name": self.name, "created_at": self.created_at}


class Records:
    """The records in the database. Every method may raise what `Database.execute` raises."""

    def __init__(self, database: Database) -> None:
        self._execute = database.execute
        self._read = database.read

    def page(
        self,
        limit: int,
        *,
        after: int | None = None,
        descending: bool = False,
        name: str | None = None,
        contains: str | None = None,
    ) -> list[dict[str, Any]]:
        """List records in the order of their ids, as they are in JSON.

        Args:
            limit: How many at most.
            after: Only those that follow this id.
            descending: From the highest id down.
            name: Only those of exactly this name.
            contains: Only those whose name contains this text, whatever its case.

        Without a primary a replica answers; see `Database.read`.
        """
        conditions: list[str] = []
        parameters: list[object] = []
        if after is not None:
            conditions.append(f"id {'<' if descending else '>'} %s")
            parameters.append(after)
        if name is not None:
            conditions.append("name = %s")
            parameters.append(name)
        if contains is not None:
            conditions.append("lower(name) LIKE lower(%s)")
            parameters.append(f"%{_SPECIAL.sub(_ESCAPED, contains)}%")
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        parameters.append(limit)
        rows = self._read(
            f"{_SELECT} {where}ORDER BY id{' DESC' if descending else ''} LIMIT %s",
            parameters,
            # Of a part of a name, the plan depends on how rare it is.
            prepare=contains is None,
        )
        # A record for each row would take as long as the rest of the view.
        return [{"id": row_id, "name": row_name, "created_at": created_at} for row_id, row_name, created_at, _ in rows]

    def get(self, record_id: int) -> Record | None:
        """Return a record, or None if there is none of this id."""
        return _first(self._execute(f"{_SELECT} WHERE id = %s", (record_id,), safe=True))

    def look_up(self, record_id: int) -> Record | None:
        """Do the same, by a replica where no primary answers; see `Database.read`."""
        return _first(self._read(f"{_SELECT} WHERE id = %s", (record_id,)))

    def create(self, name: str) -> Record:
        """Create a record."""
        return Record._make(self._execute(_INSERT, (name,))[0])

    def create_initial(self) -> None:
        """Create the initial record if it is missing.

        Its id is outside the sequence, so repeating this, even concurrently, changes nothing in the database.
        """
        self._execute(
            "INSERT INTO data (id, name) OVERRIDING SYSTEM VALUE VALUES (%s, %s) ON CONFLICT (id) DO NOTHING",
            (INITIAL_ID, INITIAL_NAME),
        )

    def update(self, record_id: int, name: str, version: int | None = None) -> Record | None:
        """Rename a record.

        Args:
            record_id: Its id.
            name: Its new name.
            version: Only if it still has this version.

        Returns:
            The record as it is now, or None if there is none of this id and version.
        """
        return _first(self._execute(_UPDATE, (name, record_id, version)))

    def delete(self, record_id: int, version: int | None = None) -> bool:
        """Delete a record.

        Args:
            record_id: Its id.
            version: Only if it still has this version.

        Returns:
            Whether there was one of this id and version.
        """
        return bool(
            self._execute(
                "DELETE FROM data WHERE id = %s AND version = coalesce(%s, version) RETURNING id", (record_id, version)
            )
        )


def _first(rows: list[Row]) -> Record | None:
    return Record._make(rows[0]) if rows else None
