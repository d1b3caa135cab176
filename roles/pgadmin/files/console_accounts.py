"""Brings pgAdmin's accounts and the stack's server to what the mounted Secrets say; what people added stays."""

import uuid
from pathlib import Path
from typing import Any

ACCOUNT = Path("/run/secrets/pgadmin")
DATABASE = Path("/run/secrets/pgadmin-db")
# Mounted where there are other users.
USERS = Path("/run/secrets/pgadmin-users/users")
# Mounted where people log in elsewhere, or did.
SHARED_KEY = Path("/run/secrets/pgadmin-oauth2/key")


def apply_secrets(app: Any, service: str) -> None:
    """Bring every account to what the Secrets say, and give each the server.

    Args:
        app: pgAdmin, which has not served yet.
        service: The name of the server, and of its entry in the service file.
    """
    from flask_login import user_logged_in
    from pgadmin.model import User

    with app.app_context():
        update_account()
        for line in USERS.read_text().splitlines() if USERS.exists() else []:
            update_user(*line.split(" ", 3))
        for user in User.query.all():
            forget_other_keys(user)
            register_server(user, service)
    # Who is known elsewhere gets an account here with the first login.
    user_logged_in.connect(lambda _, user: register_server(user, service), app, weak=False)


def read(folder: Path, key: str) -> str:
    """The value of a Secret's key."""
    return (folder / key).read_text()


def update_account() -> None:
    """Give the account its address and password."""
    import config
    from pgadmin.model import User
    from pgadmin.utils.paths import preprocess_username

    email = read(ACCOUNT, "PGADMIN_DEFAULT_EMAIL")
    user = User.query.filter_by(username=email, auth_source="internal").first() or User.query.order_by(User.id).first()
    if user.username != email:
        storage = Path(config.STORAGE_DIR)
        before, after = storage / preprocess_username(user.username), storage / preprocess_username(email)
        if before.is_dir() and not after.exists():
            before.rename(after)
        user.username = user.email = email
    let_in(user, read(ACCOUNT, "PGADMIN_DEFAULT_PASSWORD"))


def update_user(email: str, role: str, state: str, password: str) -> None:
    """Make a user, or bring one to what the Secret says; one that is disabled keeps all but the way in."""
    from pgadmin.model import Role, User, db
    from pgadmin.tools.user_management import create_user

    find = User.query.filter_by(username=email, auth_source="internal")
    user, role = find.first(), Role.query.filter_by(name=role).one()
    if state != "enabled":
        if user is not None and user.active:
            user.active, user.fs_uniquifier = False, uuid.uuid4().hex
            db.session.commit()
        return
    if user is None:
        passwords = {"newPassword": password, "confirmPassword": password}
        made, message = create_user({"email": email, "role": role.id, "active": True, **passwords})
        if not made:
            raise RuntimeError(f"pgAdmin takes no user {email}: {message}")
        user = find.one()
    user.roles = [role]
    let_in(user, password)


def let_in(user: Any, password: str) -> None:
    """Give a user a password, unlock it, and end its logins where the password is another."""
    from flask import current_app
    from flask_security.utils import hash_password, verify_password
    from pgadmin.browser.server_groups.servers.utils import remove_saved_passwords
    from pgadmin.model import db

    # As the login form does it, for letters that have more than one encoding.
    password = current_app.extensions["security"].password_util.normalize(password)
    if not verify_password(password, user.password):
        user.password = hash_password(password)
        user.fs_uniquifier = uuid.uuid4().hex
        # Those of servers added by hand were encrypted with the login's password; pgAdmin asks for them again.
        user.masterpass_check = None
        remove_saved_passwords(user.id)
    user.active, user.locked, user.login_attempts = True, False, 0
    db.session.commit()


def forget_other_keys(user: Any) -> None:
    """Have pgAdmin ask again for passwords that were encrypted with another key.

    Where people log in elsewhere all users share one, and otherwise it is the login's password.
    """
    import config
    from pgadmin.browser.server_groups.servers.utils import remove_saved_passwords
    from pgadmin.model import db

    if SHARED_KEY.exists() and is_encrypted_with(SHARED_KEY.read_text(), user) != bool(config.MASTER_PASSWORD_HOOK):
        user.masterpass_check = None
        db.session.commit()
        remove_saved_passwords(user.id)


def is_encrypted_with(key: str, user: Any) -> bool:
    """Whether pgAdmin encrypts a user's saved passwords with this key."""
    from pgadmin.utils.crypto import decrypt
    from pgadmin.utils.master_password import MASTERPASS_CHECK_TEXT

    if user.masterpass_check is None:
        return False
    try:
        return bool(decrypt(user.masterpass_check, key) == MASTERPASS_CHECK_TEXT.encode())
    except ValueError:
        return False


def register_server(user: Any, service: str) -> None:
    """Put the stack's server into a user's tree, or bring it to what the Secret says."""
    from pgadmin.model import Server, ServerGroup, db

    server = Server.query.filter_by(user_id=user.id, service=service).first()
    if server is None:
        group = ServerGroup.query.filter_by(user_id=user.id).order_by(ServerGroup.id).first()
        if group is None:
            group = ServerGroup(user_id=user.id, name="Servers")
            db.session.add(group)
            db.session.flush()
        server = Server(
            user_id=user.id,
            servergroup_id=group.id,
            name=service,
            service=service,
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
