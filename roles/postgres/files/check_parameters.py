"""Whether PostgreSQL would start with parameters, and with how much shared memory; run in its image.

It is asked by `postgres -C shared_memory_size`, which reads the configuration and loads the libraries as a start does,
in a folder of its own that has no more than what that needs. The argument is a mapping of parameters as JSON. It prints
complaints, and the shared memory in MiB.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# What it says that is not about a parameter.
ASIDE = re.compile(r'configuration file ".*" contains errors|skipping missing configuration file')
# The server may have been writing the file that was copied.
UNREADABLE = re.compile(r"control file|database files")
LINE = re.compile(r"(?:LOG|WARNING|ERROR|FATAL|PANIC): +(.*)")

# The pod's own, which no other user writes to.
folder = Path(tempfile.mkdtemp(dir="/tmp"))  # nosec B108
try:
    data = Path(os.environ.get("PGDATA", "/nonexistent"))
    if (data / "global" / "pg_control").exists():
        (folder / "global").mkdir()
        for name in ("PG_VERSION", "global/pg_control"):
            shutil.copyfile(data / name, folder / name)
    else:
        command = ["initdb", "-D", str(folder), "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (folder / "postgresql.auto.conf").touch()
    lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in json.loads(sys.argv[1]).items())
    (folder / "postgresql.conf").write_text("".join(lines))
    command = ["postgres", "-D", str(folder), "-C", "shared_memory_size"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
finally:
    shutil.rmtree(folder)
needed = 0
said = []
if result.returncode == 0:
    needed = int(result.stdout)
elif UNREADABLE.search(result.stderr):
    sys.exit(result.stderr)
else:
    said = [line for line in LINE.findall(result.stderr) if not ASIDE.search(line)]
    said = said or [result.stderr.strip() or f"postgres ends with {result.returncode}"]
print(json.dumps({"complaints": said, "shared_memory_mib": needed}))
