"""Write numbered rows while the command in the arguments runs, over a new connection whenever one is lost.

It runs in a pod; libpq's parameters come from the environment. What it prints are the rows that were acknowledged and
are not there, the servers that took rows, and the longest time in seconds in which none was acknowledged.
"""

import json
import subprocess
import sys
import time
from itertools import count

import psycopg2

ROWS = 50
GIVE_UP_S = 180

acknowledged = []
servers = []
longest = 0.0
command = None
connection = None
began = last = time.monotonic()
for number in count():
    try:
        if connection is None:
            connection = psycopg2.connect(connect_timeout=3)
            connection.autocommit = True
            connection.cursor().execute("CREATE TABLE IF NOT EXISTS pooled (number int)")
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO pooled VALUES (%s) RETURNING host(inet_server_addr())", (number,))
            server = cursor.fetchone()[0]
    except psycopg2.Error:
        connection = None
        server = None
    now = time.monotonic()
    if server:
        acknowledged.append(number)
        longest, last = max(longest, now - last), now
        if server not in servers:
            servers.append(server)
            since = len(acknowledged)
        if command is None and len(acknowledged) == ROWS:
            command = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
        if command and command.poll() is not None and len(servers) > 1 and len(acknowledged) > since + ROWS:
            break
    if now > began + GIVE_UP_S:
        break

with psycopg2.connect("") as connection, connection.cursor() as cursor:
    cursor.execute("SELECT number FROM pooled")
    found = {row[0] for row in cursor.fetchall()}
print(json.dumps({"lost": sorted(set(acknowledged) - found), "servers": servers, "longest": longest}))
