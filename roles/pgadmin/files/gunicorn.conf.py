"""gunicorn's settings, and what pgAdmin takes from the mounted Secrets whenever it starts.

The image's entrypoint does the latter on the first start alone, so that a changed password would never arrive, and
loads pgAdmin several times over for it. Names are gunicorn's settings (https://gunicorn.org/reference/settings/).
"""

import os
from pathlib import Path
from typing import Any

ACCOUNT = Path("/run/secrets/pgadmin")
DATABASE = Path("/run/secrets/pgadmin-db")
# Mounted where PostgreSQL asks for it.
CERTIFICATE = Path("/etc/ssl/client")
SERVICE_FILE = Path(os.environ["PGSERVICEFILE"])
SERVER = "postgres"

wsgi_app = "run_pgadmin:app"
# Where this file and the modules that it imports are.
pythonpath = "/etc/pgadmin"
bind = "0.0.0.0:8080"
# pgAdmin keeps its sessions' connections in the process.
workers = 1
threads = 25
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
# The worker answers its first heartbeat once pgAdmin is loaded, which migrates its database after an upgrade.
timeout = 300
graceful_timeout = 5
accesslog = "-"
# An address that the ingress names counts, since nobody else reaches the pod.
forwarded_allow_ips = "*"


def read(folder: Path, key: str) -> str:
    """The value of a Secret's key."""
    return (folder / key).read_text()


def post_fork(_: Any, __: Any) -> None:
    """Name the account that pgAdmin creates with its database, and what PostgreSQL asks for.

    libpq reads the service file anew for each connection, and no password file would be enough: pgAdmin looks for
    those and for CA certificates in the account's own storage only.
    """
    os.environ["PGADMIN_SETUP_EMAIL"] = read(ACCOUNT, "PGADMIN_DEFAULT_EMAIL")
    os.environ["PGADMIN_SETUP_PASSWORD"] = read(ACCOUNT, "PGADMIN_DEFAULT_PASSWORD")
    lines = [f"[{SERVER}]", f"password={read(DATABASE, 'DB_PASSWORD')}"]
    lines += ["sslmode=verify-full", "sslrootcert=/etc/ssl/stack/ca.crt"]
    if CERTIFICATE.exists():
        lines += [f"sslcert={CERTIFICATE}/tls.crt", f"sslkey={CERTIFICATE}/tls.key"]
    SERVICE_FILE.touch(0o600)
    SERVICE_FILE.write_text("\n".join([*lines, ""]))


def post_worker_init(worker: Any) -> None:
    """Limit the memory, and bring accounts and the managed server to what the Secrets say."""
    import console_accounts
    import console_memory

    del os.environ["PGADMIN_SETUP_EMAIL"], os.environ["PGADMIN_SETUP_PASSWORD"]
    console_memory.limit_memory(worker.wsgi, int(os.environ["MEMORY_LIMIT"]))
    console_accounts.apply_secrets(worker.wsgi, SERVER)
