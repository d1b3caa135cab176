"""``python -m bench.rows``: how long the database takes to list records of a table of millions.

The statements are those of ``GET /api/data``, one after the other on one connection to a PostgreSQL server that is
started for this. Each name is a hash and a number below 1,000, so that some parts of names are rare and others common.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial

from tests.postgres import run_server

from flask_postgres_app import migrate
from flask_postgres_app.database import Row
from flask_postgres_app.records import Records
from flask_postgres_app.settings import DatabaseSettings

LIMIT = 101
ROUNDS = 9
MEDIAN_MS = 100.0
FILL = "INSERT INTO data (name) SELECT md5(i::text) || ' of ' || i %% 1000 FROM generate_series(1, %s) i"


def main() -> int:
    """Print the medians, and return 1 where one of them is longer than promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.rows", description="Time pages of a large table.")
    parser.add_argument("--rows", type=int, default=3_000_000, help="how many it has (default: 3,000,000)")
    rows: int = parser.parse_args().rows
    missed = 0
    with run_server() as server:
        settings = DatabaseSettings.from_environ(server.environ("postgres"))
        migrate.upgrade(settings)
        connection = server.connect("postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            began = time.monotonic()
            cursor.execute(FILL, (rows,))
            print(f"{rows:,} rows in {time.monotonic() - began:.0f} s, with their indexes", flush=True)
            cursor.execute("VACUUM ANALYZE data")

            class Asked:
                """The database of `Records`."""

                def execute(self, sql: str, parameters: list[object], **_: bool) -> list[Row]:
                    cursor.execute(sql, parameters)
                    return list(cursor.fetchall())

                read = execute

            page = partial(Records(Asked()).page, LIMIT)  # type: ignore[arg-type]
            for what, ask in {
                "the first page": page,
                "the last page": partial(page, descending=True),
                "a page in the middle": partial(page, after=rows // 2),
                "name=": partial(page, name="c4ca4238a0b923820dcc509a6f75849b of 1"),
                "contains= of nine characters, one row": partial(page, contains="A6F75849B"),
                "contains= of one row in 1,000": partial(page, contains="of 777"),
                "contains= of one row in 120": partial(page, contains="c4c"),
                "contains= of a third of all rows": partial(page, contains="f 7"),
                "contains= of three characters, no row": partial(page, contains="xyz"),
                "contains= of two characters, no row": partial(page, contains="xy"),
            }.items():
                taken = []
                for _ in range(ROUNDS):
                    began = time.monotonic()
                    found = ask()
                    taken.append(1000 * (time.monotonic() - began))
                median = statistics.median(taken)
                missed += median > MEDIAN_MS
                verdict = "reached" if median <= MEDIAN_MS else "MISSED"
                print(f"{what:<40} {median:>8.1f} ms {len(found):>4} rows  {verdict}", flush=True)
        connection.close()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
