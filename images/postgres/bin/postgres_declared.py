"""Databases, logins and extensions that the settings of the stack declare, as `postgres-roles` makes them.

What is declared is made and changed, what is marked as absent is removed, and nothing else is touched. Each function
changes only what differs, and returns a line for each change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from psycopg2.extensions import connection, cursor
from psycopg2.sql import SQL, Composable, Identifier, Literal

Connect = Callable[[str], connection]
ApplyRole = Callable[[cursor, dict[str, Any]], list[str]]
Entry = dict[str, Any]

# What each of these may do with tables and sequences that it does not own; https://www.postgresql.org/docs/17/ddl-priv.html
LEVELS: dict[str, dict[str, set[str]]] = {
    "none": {},
    "connect": {},
    "read": {"SCHEMA": {"USAGE"}, "TABLE": {"SELECT"}, "SEQUENCE": {"SELECT"}},
    "write": {
        "SCHEMA": {"USAGE"},
        "TABLE": {"SELECT", "INSERT", "UPDATE", "DELETE"},
        "SEQUENCE": {"SELECT", "USAGE"},
    },
}
# What a database gives to everybody unless it is told otherwise.
OPEN = {"CONNECT", "TEMPORARY"}

# Of a database: its schemas, tables and sequences, but those of extensions and of PostgreSQL itself, each with its
# owner and with what one role has been granted.
GRANTS = """
WITH found AS (
  SELECT 'SCHEMA' AS kind, NULL::name AS schema, n.nspname AS name, n.nspowner AS owner, n.nspacl AS acl,
         'pg_namespace'::regclass AS class, n.oid
  FROM pg_namespace n WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  UNION ALL
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, c.relowner, c.relacl,
         'pg_class'::regclass, c.oid
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
)
SELECT kind, schema, name,
       ARRAY(SELECT privilege_type FROM aclexplode(acl) WHERE grantee = %(role)s::regrole)
FROM found
WHERE owner <> %(role)s::regrole
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = found.oid AND d.deptype = 'e')
ORDER BY kind, schema, name
"""
DEFAULTS = """
SELECT privilege_type FROM pg_default_acl, aclexplode(defaclacl)
WHERE defaclrole = %s::regrole AND defaclnamespace = 0 AND defaclobjtype = %s AND grantee = %s::regrole
"""
# The letters by which pg_default_acl names kinds of objects.
DEFAULT_KINDS = {"SCHEMA": "n", "TABLE": "r", "SEQUENCE": "S"}
# What a role owns in a database, as statements that give it to another one; parts of a table go with the table.
OWNED = """
SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(owner)s::text) FROM pg_namespace
WHERE nspowner = %(former)s::regrole
UNION ALL
SELECT format('ALTER %%s %%I.%%I OWNER TO %%I',
              CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                             WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
              n.nspname, c.relname, %(owner)s::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relowner = %(former)s::regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype IN ('e', 'a', 'i') AND c.relkind <> 'c')
UNION ALL
SELECT format('ALTER ROUTINE %%s OWNER TO %%I', p.oid::regprocedure, %(owner)s::text)
FROM pg_proc p WHERE p.proowner = %(former)s::regrole
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER %%s %%I.%%I OWNER TO %%I', CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
              n.nspname, t.typname, %(owner)s::text)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typowner = %(former)s::regrole AND t.typtype IN ('d', 'e', 'r')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
"""


class RefusedError(Exception):
    """What is declared cannot be made of what is there."""


def is_present(entry: Entry) -> bool:
    return bool(entry["state"] == "present")


def apply(connect: Connect, declared: dict[str, Any], apply_role: ApplyRole) -> list[str]:
    """Make databases, logins and extensions what is declared.

    Args:
        connect: Connects the superuser to a database.
        declared: What `stack.postgres.declared.wanted` returns.
        apply_role: Makes a role, as `postgres-roles` has it.

    Raises:
        RefusedError: Something declared cannot be made of what is there.
    """
    done: list[str] = []
    logins, databases = declared["logins"], declared["databases"]
    with closing(connect("postgres")) as link, link.cursor() as at:
        for login in filter(is_present, logins):
            done += apply_role(at, login)
            done += apply_connection_limit(at, "ROLE", login)
            done += revoke_memberships(at, login)
        for database in filter(is_present, databases):
            done += create_database(at, database)
        for database in databases:
            if not is_present(database):
                done += drop_database(at, database["name"])
    for database in filter(is_present, databases):
        with closing(connect(database["name"])) as link, link.cursor() as at:
            done += apply_owner(at, database)
            done += apply_connection_limit(at, "DATABASE", database)
            done += apply_access(at, database, [login["name"] for login in filter(is_present, logins)])
    for name in dict.fromkeys(extension["database"] for extension in declared["extensions"]):
        with closing(connect(name)) as link, link.cursor() as at:
            for extension in declared["extensions"]:
                if extension["database"] == name:
                    done += apply_extension(at, extension)
    for login in logins:
        if not is_present(login):
            done += drop_login(connect, login["name"])
    return done


def apply_connection_limit(at: cursor, kind: str, entry: Entry) -> list[str]:
    query = {
        "ROLE": "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s",
        "DATABASE": "SELECT datconnlimit FROM pg_database WHERE datname = %s",
    }[kind]
    at.execute(query, (entry["name"],))
    limit = entry["connection_limit"]
    if first(at) == limit:
        return []
    at.execute(SQL("ALTER {} {} CONNECTION LIMIT {}").format(SQL(kind), Identifier(entry["name"]), Literal(limit)))
    return [f"set the connection limit of {entry['name']}"]


def revoke_memberships(at: cursor, login: Entry) -> list[str]:
    """Take the login out of the roles that it is not declared to be a member of."""
    at.execute(
        "SELECT roleid::regrole::text, pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = %s::regrole",
        (quoted(at, login["name"]),),
    )
    stale = [name for _, name in at.fetchall() if name not in login["member_of"]]
    for name in stale:
        at.execute(SQL("REVOKE {} FROM {}").format(Identifier(name), Identifier(login["name"])))
    return [f"took {name} from {login['name']}" for name in stale]


def create_database(at: cursor, database: Entry) -> list[str]:
    at.execute("SELECT FROM pg_database WHERE datname = %s", (database["name"],))
    if at.rowcount:
        return []
    at.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(database["name"]), Identifier(database["owner"])))
    return [f"created database {database['name']}"]


def drop_database(at: cursor, name: str) -> list[str]:
    at.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
    if not at.rowcount:
        return []
    at.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
    return [f"dropped database {name}"]


def apply_owner(at: cursor, database: Entry) -> list[str]:
    """Give the database, and what its former owner has in it, to the owner that is declared.

    The database comes last: broken off before that, this begins anew.
    """
    at.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    former = first(at)
    if former == database["owner"]:
        return []
    at.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (former,))
    # What a superuser has in it may be PostgreSQL's own.
    if not first(at):
        give(at, former, database["owner"])
    at.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database["name"]), Identifier(database["owner"])))
    return [f"gave database {database['name']} to {database['owner']}"]


def give(at: cursor, former: str, owner: str) -> int:
    """Give everything that a role has in this database to another one, and return how much that was."""
    at.execute(OWNED, {"former": quoted(at, former), "owner": owner})
    statements = [row[0] for row in at.fetchall()]
    for statement in statements:
        at.execute(statement)
    return len(statements)


def apply_access(at: cursor, database: Entry, logins: list[str]) -> list[str]:
    """Who may connect to the database, and what the declared logins may do in it.

    Logins that are not declared keep what they have been granted.
    """
    name, levels = database["name"], database["privileges"]
    done = []
    if not database["open"]:
        at.execute(
            "SELECT privilege_type FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))"
            " WHERE datname = current_database() AND grantee = 0"
        )
        if column(at):
            at.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)))
            done.append(f"closed database {name} to others")
        for reader in database["readers"]:
            at.execute("SELECT has_database_privilege(%s, current_database(), 'CONNECT')", (reader,))
            if not first(at):
                at.execute(SQL("GRANT CONNECT ON DATABASE {} TO {}").format(Identifier(name), Identifier(reader)))
                done.append(f"let {reader} into database {name}")
    for login in logins:
        if login != database["owner"]:
            level = levels.get(login, "none")
            if statements := [*access(at, database, login, level)]:
                for statement in statements:
                    at.execute(statement)
                done.append(f"set the privileges of {login} in database {name} to {level}")
    return done


def access(at: cursor, database: Entry, login: str, level: str) -> Iterator[Composable]:
    """The statements that a login lacks for its level of access."""
    role = Identifier(login)
    at.execute(
        "SELECT privilege_type FROM pg_database, aclexplode(datacl)"
        " WHERE datname = current_database() AND grantee = %s::regrole",
        (quoted(at, login),),
    )
    wanted = set() if level == "none" else OPEN
    yield from changes(SQL("DATABASE {}").format(Identifier(database["name"])), role, wanted, set(column(at)))
    at.execute(GRANTS, {"role": quoted(at, login)})
    for kind, schema, name, granted in at.fetchall():
        target = SQL("{} {}").format(SQL(kind), Identifier(*([schema] if schema else []), name))
        yield from changes(target, role, LEVELS[level].get(kind, set()), set(granted))
    # What the owner makes from now on.
    for kind, letter in DEFAULT_KINDS.items():
        at.execute(DEFAULTS, (quoted(at, database["owner"]), letter, quoted(at, login)))
        before = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} ").format(Identifier(database["owner"]))
        target, given = SQL(f"{kind}S"), set(column(at))
        for statement in changes(target, role, LEVELS[level].get(kind, set()), given):
            yield before + statement


def changes(target: Composable, role: Composable, wanted: set[str], found: set[str]) -> Iterator[Composable]:
    if missing := sorted(wanted - found):
        yield SQL("GRANT {} ON {} TO {}").format(SQL(", ".join(missing)), target, role)
    if stale := sorted(found - wanted):
        yield SQL("REVOKE {} ON {} FROM {}").format(SQL(", ".join(stale)), target, role)


def apply_extension(at: cursor, extension: Entry) -> list[str]:
    """Create an extension, move it to another schema or version, or drop it where nothing depends on it."""
    name, database = extension["name"], extension["database"]
    at.execute(
        "SELECT extversion, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = %s",
        (name,),
    )
    found = at.fetchone()
    if not is_present(extension):
        if not found:
            return []
        at.execute(SQL("DROP EXTENSION {}").format(Identifier(name)))
        return [f"dropped extension {name} of database {database}"]
    at.execute("SELECT default_version FROM pg_available_extensions WHERE name = %s", (name,))
    available = at.fetchone()
    if not available:
        raise RefusedError(f"extension {name} is not in the image: postgres_packages takes the package that has it")
    version = available[0] if extension["version"] == "latest" else extension["version"]
    done = []
    if not found:
        create_extension(at, extension, version)
        done.append(f"created extension {name} in database {database}")
    else:
        if extension["schema"] and extension["schema"] != found[1]:
            create_schema(at, extension["schema"])
            at.execute(SQL("ALTER EXTENSION {} SET SCHEMA {}").format(*map(Identifier, (name, extension["schema"]))))
            done.append(f"moved extension {name} of database {database} to schema {extension['schema']}")
        if version and version != found[0]:
            at.execute(SQL("ALTER EXTENSION {} UPDATE TO {}").format(Identifier(name), Literal(version)))
            done.append(f"updated extension {name} of database {database} to {version}")
    return done + let_owner_in(at, extension)


def create_extension(at: cursor, extension: Entry, version: str) -> None:
    """Create it where it is declared, where its own file says, or in the schema public."""
    at.execute(
        "SELECT schema FROM pg_available_extension_versions v JOIN pg_available_extensions e USING (name)"
        " WHERE name = %s AND version = coalesce(nullif(%s, ''), default_version)",
        (extension["name"], version),
    )
    row = at.fetchone()
    schema = extension["schema"] or ("" if row and row[0] else "public")
    statement = SQL("CREATE EXTENSION {}").format(Identifier(extension["name"]))
    if schema:
        create_schema(at, schema)
        statement += SQL(" SCHEMA {}").format(Identifier(schema))
    if version:
        statement += SQL(" VERSION {}").format(Literal(version))
    at.execute(statement + SQL(" CASCADE"))


def create_schema(at: cursor, name: str) -> None:
    """Make the schema, as the owner of the database; one that is there stays as it is."""
    at.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    at.execute(SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(Identifier(name), Identifier(first(at))))


def let_owner_in(at: cursor, extension: Entry) -> list[str]:
    """Let the owner of the database use the schemas that the extension has made for itself, such as that of pg_cron."""
    at.execute(
        """
        SELECT n.nspname, pg_get_userbyid(b.datdba)
        FROM pg_extension e
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
        JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
        JOIN pg_database b ON b.datname = current_database()
        WHERE e.extname = %s AND NOT has_schema_privilege(b.datdba, n.oid, 'USAGE')
        """,
        (extension["name"],),
    )
    done = []
    for schema, owner in at.fetchall():
        at.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(owner)))
        done.append(f"let {owner} use schema {schema}")
    return done


def drop_login(connect: Connect, name: str) -> list[str]:
    """Drop a login. What it has made goes to the owner of the database that it is in.

    Raises:
        RefusedError: A database is the login's.
    """
    with closing(connect("postgres")) as link, link.cursor() as at:
        at.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
        if not at.rowcount:
            return []
        at.execute("SELECT datname FROM pg_database WHERE datdba = %s::regrole ORDER BY datname", (quoted(at, name),))
        if owned := column(at):
            raise RefusedError(
                f"login {name} owns database {', '.join(owned)}: postgres_databases takes another owner for it"
            )
        at.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(name)))
        at.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,))
        at.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname")
        databases = column(at)
    for database in databases:
        with closing(connect(database)) as link, link.cursor() as at:
            at.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
            owner = first(at)
            at.execute(SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(name), Identifier(owner)))
            # Nothing is left that it owns: this takes what it has been granted.
            at.execute(SQL("DROP OWNED BY {}").format(Identifier(name)))
    with closing(connect("postgres")) as link, link.cursor() as at:
        at.execute(SQL("DROP ROLE {}").format(Identifier(name)))
    return [f"dropped login {name}"]


def needing(connect: Connect, removed: Iterable[str]) -> list[str]:
    """The extensions of any database that would not work without some files, as `extension of database`.

    Args:
        connect: Connects the superuser to a database.
        removed: The names of extensions that the next image has no more.
    """
    names = list(removed)
    with closing(connect("postgres")) as link, link.cursor() as at:
        at.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname")
        databases = column(at)
    found = []
    for database in databases:
        with closing(connect(database)) as link, link.cursor() as at:
            at.execute("SELECT extname FROM pg_extension WHERE extname = ANY (%s) ORDER BY extname", (names,))
            found += [f"{name} of database {database}" for name in column(at)]
    return found


def first(at: cursor) -> Any:
    """The only value of a query that has a row."""
    row = at.fetchone()
    assert row is not None
    return row[0]


def column(at: cursor) -> list[Any]:
    return [row[0] for row in at.fetchall()]


def quoted(at: cursor, role: str) -> str:
    """The name of a role as `regrole` reads it."""
    return str(Identifier(role).as_string(at))
