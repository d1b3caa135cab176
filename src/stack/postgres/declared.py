"""Databases, logins and extensions that the settings declare beside the service's own.

``postgres_databases``, ``postgres_logins`` and ``postgres_extensions`` are lists of names, or of mappings with a name.
What is wrong with them `stack.validation.postgres_declared` says; the functions here pass over what is no such entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stack.postgres import passwords
from stack.postgres.parameters import VERSION

Entry = dict[str, Any]
Secrets = Mapping[str, Mapping[str, str]]

# The label of Secrets of logins, by which `make secrets` finds them.
SECRET_LABEL = "flask-postgres-stack/login"
# What PostgreSQL itself brings, as pg_available_extensions of the official image lists it.
CONTRIB = frozenset({
    "amcheck", "autoinc", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dblink", "dict_int", "dict_xsyn",
    "earthdistance", "file_fdw", "fuzzystrmatch", "hstore", "insert_username", "intagg", "intarray", "isn", "lo",
    "ltree", "moddatetime", "pageinspect", "pg_buffercache", "pg_freespacemap", "pg_prewarm", "pg_stat_statements",
    "pg_surgery", "pg_trgm", "pg_visibility", "pg_walinspect", "pgcrypto", "pgrowlocks", "pgstattuple", "plpgsql",
    "postgres_fdw", "refint", "seg", "sslinfo", "tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent",
    "uuid-ossp", "xml2",
})  # fmt: skip
# Extensions of Debian's packages, by what follows `postgresql-17-` in the name of the package.
PACKAGES = {
    "age": "age",
    "credcheck": "credcheck",
    "extra_window_functions": "extra-window-functions",
    "first_last_agg": "first-last-agg",
    "h3": "h3",
    "hll": "hll",
    "http": "http",
    "hypopg": "hypopg",
    "ip4r": "ip4r",
    "jsquery": "jsquery",
    "mysql_fdw": "mysql-fdw",
    "numeral": "numeral",
    "ogr_fdw": "ogr-fdw",
    "orafce": "orafce",
    "pg_cron": "cron",
    "pg_hint_plan": "pg-hint-plan",
    "pg_partman": "partman",
    "pg_qualstats": "pg-qualstats",
    "pg_rational": "rational",
    "pg_repack": "repack",
    "pg_similarity": "similarity",
    "pg_squeeze": "squeeze",
    "pg_stat_kcache": "pg-stat-kcache",
    "pg_wait_sampling": "pg-wait-sampling",
    "pgaudit": "pgaudit",
    "pglogical": "pglogical",
    "pgmp": "pgmp",
    "pgq": "pgq3",
    "pgrouting": "pgrouting",
    "pgtap": "pgtap",
    "plpgsql_check": "plpgsql-check",
    "plproxy": "plproxy",
    "postgis": "postgis-3",
    "postgis_raster": "postgis-3",
    "postgis_tiger_geocoder": "postgis-3",
    "postgis_topology": "postgis-3",
    "powa": "powa",
    "prefix": "prefix",
    "q3c": "q3c",
    "roaringbitmap": "roaringbitmap",
    "rum": "rum",
    "semver": "semver",
    "set_user": "set-user",
    "tdigest": "tdigest",
    "tds_fdw": "tds-fdw",
    "timescaledb": "timescaledb",
    "unit": "unit",
    "vector": "pgvector",
}
# The libraries that the server has to load at its start for an extension to work.
LIBRARIES = {
    "credcheck": "credcheck",
    "pg_cron": "pg_cron",
    "pg_qualstats": "pg_qualstats",
    "pg_squeeze": "pg_squeeze",
    "pg_stat_kcache": "pg_stat_kcache",
    "pg_stat_statements": "pg_stat_statements",
    "pg_wait_sampling": "pg_wait_sampling",
    "pgaudit": "pgaudit",
    "pglogical": "pglogical",
    "powa": "powa",
    "set_user": "set_user",
    "timescaledb": "timescaledb",
}
LEVELS = ("connect", "read", "write")
# Roles of PostgreSQL that a login may have; the others lead out of the database.
GROUPS = frozenset({
    "pg_checkpoint", "pg_create_subscription", "pg_maintain", "pg_monitor", "pg_read_all_data", "pg_read_all_settings",
    "pg_read_all_stats", "pg_signal_backend", "pg_stat_scan_tables", "pg_use_reserved_connections", "pg_write_all_data",
})  # fmt: skip
POOL_SIZE = 5
UNPRIVILEGED = {
    "login": True,
    "superuser": False,
    "createdb": False,
    "createrole": False,
    "replication": False,
    "bypassrls": False,
}


def entries(given: Any) -> list[Entry]:
    """The entries of a setting, each as a mapping with a name."""
    listed = given if isinstance(given, list) else []
    named = [{"name": entry} if isinstance(entry, str) else entry for entry in listed]
    return [entry for entry in named if isinstance(entry, dict) and isinstance(entry.get("name"), str)]


def is_present(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("state", "present") != "absent")


def present(given: Any) -> list[Entry]:
    """The entries that are not marked as absent."""
    return [entry for entry in entries(given) if is_present(entry)]


def database_of(extension: Mapping[str, Any], default: str) -> str:
    return str(extension.get("database") or default)


def packages(given: Any, extensions: Any) -> list[str]:
    """Debian's packages that the image of the database has beside its own, each once.

    Those of an extension that is to be dropped are among them: without its library some could not be.

    Args:
        given: ``postgres_packages``.
        extensions: ``postgres_extensions``.
    """
    needed = [
        f"postgresql-{VERSION}-{PACKAGES[name]}" for entry in entries(extensions) if (name := entry["name"]) in PACKAGES
    ]
    listed = [str(name) for name in given] if isinstance(given, list) else []
    return sorted({*listed, *needed})


def libraries(extensions: Any) -> list[str]:
    """What the server has to load for the extensions at its start, in the order in which they are listed."""
    names = [entry["name"] for entry in present(extensions)]
    return list(dict.fromkeys(LIBRARIES[name] for name in names if name in LIBRARIES))


def parameters(extensions: Any, database: str) -> dict[str, str]:
    """PostgreSQL's parameters without which an extension does not work in this stack.

    Args:
        extensions: ``postgres_extensions``.
        database: That of an extension which names none.
    """
    found = {entry["name"]: database_of(entry, database) for entry in present(extensions)}
    if "pg_cron" not in found:
        return {}
    # Its jobs would connect over the network, with a password that it does not have.
    return {"cron.database_name": found["pg_cron"], "cron.use_background_workers": "on"}


def secret_name(login: str) -> str:
    """The Secret of a login; what names of logins and of Secrets have in common is too little for the underscore."""
    return f"postgres-login-{login.replace('_', '-')}"


def login_secrets(
    found: Secrets, logins: Any, databases: Any, connection: Mapping[str, str], *, rotate: bool = False
) -> dict[str, dict[str, str]]:
    """The Secrets of the logins by name, with a database that each may use: its own before others.

    Args:
        found: The namespace's Secrets by name, decoded.
        logins: ``postgres_logins``.
        databases: ``postgres_databases``.
        connection: Where the service's database is, by the keys of a Secret.
        rotate: Whether to replace passwords that nobody sets.
    """
    usable = present(databases)
    made = {}
    for login in present(logins):
        name = login["name"]
        own = [database["name"] for database in usable if database.get("owner") == name]
        used = [database["name"] for database in usable if name in (database.get("privileges") or {})]
        made[secret_name(name)] = passwords.login_secret(
            found.get(secret_name(name), {}),
            {**connection, "DB_NAME": [*own, *used, connection["DB_NAME"]][0], "DB_USER": name},
            str(login.get("password") or ""),
            rotate=rotate,
        )
    return made


def stale_secrets(found: Secrets, logins: Any) -> list[str]:
    """The Secrets of logins that are dropped."""
    names = [secret_name(entry["name"]) for entry in entries(logins) if not is_present(entry)]
    return [name for name in names if name in found]


def with_password(logins: Any) -> list[str]:
    """The logins whose password the settings have, so that a rotation cannot replace it."""
    return [entry["name"] for entry in present(logins) if entry.get("password")]


def wanted(
    logins: Any,
    databases: Any,
    extensions: Any,
    *,
    secrets: Secrets,
    database: str,
    owner: str,
    readers: Iterable[str] = (),
) -> dict[str, list[Entry]]:
    """What is declared, as ``images/postgres/bin/postgres_declared.py`` reads it.

    Args:
        logins: ``postgres_logins``.
        databases: ``postgres_databases``.
        extensions: ``postgres_extensions``.
        secrets: Those of `login_secrets`.
        database: The service's, which stays open to everybody with a login, as it is without a declaration.
        owner: The service's login, which owns what names no owner.
        readers: Logins of the stack that may connect to every database.
    """
    return {
        "logins": [
            {
                "name": entry["name"],
                "state": "present",
                "password": secrets[secret_name(entry["name"])]["DB_PASSWORD"],
                "options": UNPRIVILEGED,
                "member_of": list(entry.get("member_of") or []),
                "connection_limit": entry.get("connection_limit", -1),
            }
            if is_present(entry)
            else {"name": entry["name"], "state": "absent"}
            for entry in entries(logins)
        ],
        "databases": [
            {
                "name": entry["name"],
                "state": "present",
                "owner": entry.get("owner") or owner,
                "connection_limit": entry.get("connection_limit", -1),
                "privileges": dict(entry.get("privileges") or {}),
                "open": entry["name"] == database,
                "readers": list(readers),
            }
            if is_present(entry)
            else {"name": entry["name"], "state": "absent"}
            for entry in entries(databases)
        ],
        "extensions": [
            {
                "name": entry["name"],
                "state": "present" if is_present(entry) else "absent",
                "database": database_of(entry, database),
                "schema": entry.get("schema") or "",
                "version": str(entry.get("version") or ""),
            }
            for entry in entries(extensions)
        ],
    }


def pools(databases: Any, database: str) -> dict[str, int]:
    """The declared databases that the pooler leads to beside the service's, with the connections that it opens to each.

    Args:
        databases: ``postgres_databases``.
        database: The service's.
    """
    sizes = {entry["name"]: entry.get("pool_size", POOL_SIZE) for entry in present(databases)}
    return {name: size for name, size in sizes.items() if name != database and isinstance(size, int) and size > 0}


def unavailable(listed: str, extensions: Any) -> list[str]:
    """The extensions that an image does not have, as lines for people.

    Args:
        listed: The names of the control files in the image; empty where nobody could be asked.
        extensions: ``postgres_extensions``.
    """
    available = {
        line.strip().rpartition("/")[2].removesuffix(".control") for line in listed.splitlines() if line.strip()
    }
    names = dict.fromkeys(entry["name"] for entry in present(extensions))
    return [
        f"postgres_extensions: {name} is not in the image: postgres_packages takes the package that has it"
        for name in names
        if available and name not in available
    ]


def removed(found: str, wanted_packages: Iterable[str]) -> list[str]:
    """The packages that the running image has and the next one has not.

    Args:
        found: The note of the packages on the StatefulSet.
        wanted_packages: Those of the next image.
    """
    return sorted(set(found.split()) - set(wanted_packages))
