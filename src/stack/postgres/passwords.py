"""The database's logins: which password each one has, and whether whoever uses a login runs with its present Secret.

A password that its user sets wins, then the one that the cluster has; what nobody has is generated.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from typing import Any

Secret = Mapping[str, str]

ALPHABET = string.ascii_letters + string.digits
LENGTH = 32
# Of postgres-secret; a user sets the first one alone.
OWN_PASSWORDS = ("POSTGRES_PASSWORD", "REPLICATION_PASSWORD", "REWIND_PASSWORD", "RESTAPI_PASSWORD", "SALT")
# On a workload: a hash of the login's Secret that its pods were rolled out with.
NOTE_ANNOTATION = "flask-postgres-stack/database-login"


def generated() -> str:
    """A new password: 32 letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def login_note(secrets_found: Mapping[str, Secret], name: str) -> str:
    """A hash of the Secret of a login, for NOTE_ANNOTATION; nothing where there is no such Secret.

    The stack's salt keeps a weak password from being guessed.
    """
    if not secrets_found.get(name):
        return ""
    salt = (secrets_found.get("postgres-secret") or {}).get("SALT", "")
    return hashlib.sha256(json.dumps([salt, dict(secrets_found[name])], sort_keys=True).encode()).hexdigest()[:16]


def database_secret(
    found: Secret, connection: Secret, password: str = "", fresh: Collection[str] = ()
) -> dict[str, str]:
    """The Secret of the database itself.

    Args:
        found: The Secret as it is; empty before the first run.
        connection: The names of the database and of its superuser, by their keys.
        password: The superuser's, if its user sets one.
        fresh: The keys that a rotation replaces.
    """
    kept = {key: value for key, value in found.items() if key not in fresh}
    given = {"POSTGRES_PASSWORD": str(password)}
    return {**connection, **{key: given.get(key) or kept.get(key) or generated() for key in OWN_PASSWORDS}}


def login_secret(
    found: Secret, connection: Secret, password: str = "", certificate: str = "", *, rotate: bool = False
) -> dict[str, str]:
    """The Secret of a login that has one name for good, such as the console's.

    Args:
        found: The Secret as it is; empty before the first run.
        connection: Where the database is, and the name of the login, by their keys.
        password: The login's, if its user sets one.
        certificate: The Secret with the login's certificate, or nothing where none is asked for.
        rotate: Whether to replace a password that nobody sets.
    """
    known = "" if rotate else found.get("DB_PASSWORD", "")
    return {
        **connection,
        "DB_PASSWORD": str(password) or known or generated(),
        # Without certificates the key is there only where an earlier run had them.
        **({"DB_CLIENT_SECRET": certificate} if certificate or "DB_CLIENT_SECRET" in found else {}),
    }


def service_login(
    found: Secret,
    connection: Secret,
    users: Sequence[str],
    former: Secret,
    password: str = "",
    certificates: Sequence[str] = (),
    *,
    rotate: bool = False,
) -> dict[str, Any]:
    """The Secret of the service's login, and all of its logins that may get in.

    The service has two. Another password comes with the other login, so that pods of before and after work side by
    side: the former login keeps its password until the service has been rolled out. While a former login is still to
    be ended there is no third, and the present login gets the password.

    Args:
        found: The Secret as it is; empty before the first run.
        connection: Where the database is, by the keys of the Secret.
        users: The names of both.
        former: The password of a login that pods may still use beside the one of the Secret, by the login's name.
        password: The service's, if its user sets one.
        certificates: The Secrets with the certificates of both, or nothing where none is asked for.
        rotate: Whether to replace a password that nobody sets.

    Returns:
        ``secret``, and ``passwords`` by login.
    """
    known = found.get("DB_PASSWORD", "")
    number = users.index(found["DB_USER"]) if found.get("DB_USER") in users else 0
    kept = dict(former)
    if (rotate or (known and str(password) not in ("", known))) and not former:
        kept = {found["DB_USER"]: known} if known else {}
        number, known = 1 - number, ""
    secret = login_secret(
        {**found, "DB_PASSWORD": known} if found else {},
        {**connection, "DB_USER": users[number]},
        password,
        certificates[number] if certificates else "",
    )
    return {"secret": secret, "passwords": {**kept, secret["DB_USER"]: secret["DB_PASSWORD"]}}
