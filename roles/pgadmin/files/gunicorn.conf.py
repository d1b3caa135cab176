"""gunicorn's settings, and what pgAdmin takes from the mounted Secrets whenever it starts.

The image's entrypoint does the latter on the first start alone, so that a changed password would never arrive, and
loads pgAdmin several times over for it. Names are gunicorn's settings (https://gunicorn.org/reference/settings/).
"""

import os
import uuid
from pathlib import Path
from typing import Any

ACCOUNT = Path("/run/secrets/pgadmin")
DATABASE = Path("/run/secrets/pgadmin-db")
# Mounted where PostgreSQL asks for it.
CERTIFICATE = Path("/etc/ssl/client")
SERVICE_FILE = Path(os.environ["PGSERVICEFILE"])
SERVER = "postgres"

wsgi_app = "run_pgadmin:app"
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
    """Bring the account and the managed server to what the Secrets say; what people added stays as it is."""
    del os.environ["PGADMIN_SETUP_EMAIL"], os.environ["PGADMIN_SETUP_PASSWORD"]
    with worker.wsgi.app_context():
        register_server(update_account())


def update_account() -> Any:
    """Give the account its address and password, unlock it, and end its logins where the password is another."""
    import config
    from flask import current_app
    from flask_security.utils import hash_password, verify_password
    from pgadmin.browser.server_groups.servers.utils import remove_saved_passwords
    from pgadmin.model import User, db
    from pgadmin.utils.paths import preprocess_username

    email = read(ACCOUNT, "PGADMIN_DEFAULT_EMAIL")
    # As the login form does it, for letters that have more than one encoding.
    password = current_app.extensions["security"].password_util.normalize(read(ACCOUNT, "PGADMIN_DEFAULT_PASSWORD"))

    user = User.query.filter_by(username=email, auth_source="internal").first() or User.query.order_by(User.id).first()
    if user.username != email:
        storage = Path(config.STORAGE_DIR)
        before, after = storage / preprocess_username(user.username), storage / preprocess_username(email)
        if before.is_dir() and not after.exists():
            before.rename(after)
        user.username = user.email = email
    if not verify_password(password, user.password):
        user.password = hash_password(password)
        user.fs_uniquifier = uuid.uuid4().hex
        # Those of servers added by hand were encrypted with the login's password; pgAdmin asks for them again.
        user.masterpass_check = None
        remove_saved_passwords(user.id)
    user.active, user.locked, user.login_attempts = True, False, 0
    db.session.commit()
    return user


def register_server(user: Any) -> None:
    """Put the stack's server into the account's tree, or bring it to what the Secret says."""
    from pgadmin.model import Server, ServerGroup, db

    server = Server.query.filter_by(user_id=user.id, service=SERVER).first()
    if server is None:
        group = ServerGroup.query.filter_by(user_id=user.id).order_by(ServerGroup.id).first()
        server = Server(
            user_id=user.id,
            servergroup_id=group.id,
            name=SERVER,
            service=SERVER,
            save_password=0,
            use_ssh_tunnel=0,
            tunnel_authentication=0,
            tunnel_prompt_password=0,
            shared=False,
        )
        db.session.add(server)
    server.host = read(DATABASE, "DB_HOST")
    server.port = int(read(DATABASE, "DB_PORT"))
    server.maintenance_db = read(DATABASE, "DB_NAME")
    server.username = read(DATABASE, "DB_USER")
    server.connection_params = {"sslmode": "verify-full", "connect_timeout": 10}
    db.session.commit()
