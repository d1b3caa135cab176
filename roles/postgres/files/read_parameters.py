"""The parameters that an instance runs with, and what its files say of them; run in its pod.

The arguments are the superuser and the names with commas between them. It prints a list of rows as JSON.
"""

import json
import sys

import psycopg2

QUERY = """
WITH files AS MATERIALIZED (
    SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting, applied AND error IS NULL AS applied
    FROM pg_catalog.pg_file_settings ORDER BY lower(name), seqno DESC
)
SELECT wanted.name, coalesce(s.setting, current_setting(wanted.name, true)), coalesce(s.source, 'configuration file'),
       coalesce(s.pending_restart, false), CASE WHEN f.applied THEN f.setting END
FROM unnest(%s) AS wanted (name)
LEFT JOIN pg_catalog.pg_settings s ON lower(s.name) = wanted.name
LEFT JOIN files f ON f.name = wanted.name
"""

COLUMNS = ("name", "setting", "source", "pending_restart", "file")
superuser, names = sys.argv[1:]
with psycopg2.connect(host="/var/run/postgresql", user=superuser, dbname="postgres", connect_timeout=5) as link:
    cursor = link.cursor()
    cursor.execute(QUERY, (names.split(","),))
    rows = cursor.fetchall()
print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows]))
