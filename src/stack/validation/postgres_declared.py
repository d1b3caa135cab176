"""What is wrong with ``postgres_databases``, ``postgres_logins`` and ``postgres_extensions``.

No message shows the value of an entry: that of a login may have a password.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stack.postgres import declared, parameters
from stack.validation import Problem, Settings

# Also the name of a Secret, with - for the underscore, so that it ends with a letter or a digit.
LOGIN = re.compile(r"(?!pg_)[a-z]([a-z0-9_]{0,39}[a-z0-9])?")
DATABASE = re.compile(r"(?!(?:template[01]|postgres)$)[A-Za-z_][-A-Za-z0-9_]{0,62}")
NAME = re.compile(r"[A-Za-z_][-A-Za-z0-9_]{0,62}")
SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
VERSION = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._+]{0,63}")
# https://www.debian.org/doc/debian-policy/ch-controlfields.html#source, with a version where one is wanted
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")
PASSWORD = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
LIMIT_MAX = 262_143
STATES = ("present", "absent")
FIELDS = {
    "postgres_databases": ("name", "state", "owner", "privileges", "connection_limit", "pool_size"),
    "postgres_logins": ("name", "state", "password", "member_of", "connection_limit"),
    "postgres_extensions": ("name", "state", "database", "schema", "version"),
}
# The logins of the stack itself, by settings.
STACK_LOGINS = ("postgres_user", "postgres_app_user", "postgres_console_user", "postgres_monitoring_user")
NAME_WANTED = {
    "postgres_databases": "it takes letters, digits, _ and -, 63 at most, and neither postgres nor a template",
    "postgres_logins": "it takes up to 41 small letters, digits and _, begins with a letter (not pg_), ends with no _",
    "postgres_extensions": "it takes the name of an extension, such as vector",
}
NAMES = {"postgres_databases": DATABASE, "postgres_logins": LOGIN, "postgres_extensions": NAME}


def problems(settings: Settings, own_logins: Iterable[str]) -> Iterator[Problem]:
    """Everything that is wrong with what is declared.

    Args:
        settings: The settings of the role ``postgres``.
        own_logins: What Patroni and the pooler log in as.
    """
    found: list[Problem] = []
    for setting in FIELDS:
        found += shapes(setting, settings[setting])
    yield from found
    yield from packages(settings["postgres_packages"])
    # What refers to something else needs that to be readable.
    if not found:
        yield from logins(settings, own_logins)
        yield from databases(settings)
        yield from extensions(settings)


def said(setting: str, name: str, wanted: str) -> Problem:
    return Problem(f"{setting} ({name})" if name else setting, wanted)


def shapes(setting: str, given: list[Any]) -> Iterator[Problem]:
    """What is wrong with entries by themselves."""
    fields = FIELDS[setting]
    for number, entry in enumerate(given, 1):
        place = f"entry {number}"
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping):
            yield said(setting, place, f"it takes a name, or a mapping with {', '.join(fields)}")
            continue
        name = entry.get("name")
        if not isinstance(name, str) or not NAMES[setting].fullmatch(name):
            yield said(setting, place, f"name: {NAME_WANTED[setting]}")
            continue
        for field in entry:
            if field not in fields:
                yield said(setting, name, f"there is no {field}: it takes {', '.join(fields)}")
        for field, rule in CHECKS.items():
            if field in entry and field in fields and (wanted := rule(entry[field])):
                yield said(setting, name, f"{field}: {wanted}")


def state(value: Any) -> str | None:
    return None if value in STATES else f"it takes {' or '.join(STATES)}"


def limit(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= LIMIT_MAX
    return None if fits else f"it takes a number of connections, 0 to {LIMIT_MAX}, or -1 for no limit"


def pool_size(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LIMIT_MAX
    return None if fits else "it takes connections of each pod of the pooler to the database, 0 for none through it"


def password(value: Any) -> str | None:
    fits = isinstance(value, str) and PASSWORD.fullmatch(value)
    return (
        None if fits else "it takes text of at most 256 characters, none of them a control character; put it in quotes"
    )


def member_of(value: Any) -> str | None:
    fits = isinstance(value, list) and all(isinstance(group, str) for group in value)
    return None if fits else "it takes a list of roles, such as [pg_read_all_data]"


def privileges(value: Any) -> str | None:
    fits = isinstance(value, Mapping) and all(
        isinstance(login, str) and level in declared.LEVELS for login, level in value.items()
    )
    return None if fits else f"it takes a level by login, such as {{reporting: read}}: {', '.join(declared.LEVELS)}"


def text(pattern: re.Pattern[str], wanted: str) -> Any:
    """A field that may be left out or empty."""
    return lambda value: None if value == "" or (isinstance(value, str) and pattern.fullmatch(value)) else wanted


CHECKS: dict[str, Any] = {
    "state": state,
    "connection_limit": limit,
    "pool_size": pool_size,
    "password": password,
    "member_of": member_of,
    "privileges": privileges,
    "owner": text(NAME, "it takes the name of a login"),
    "database": text(NAME, "it takes the name of a database"),
    "schema": text(SCHEMA, "it takes small letters, digits and _, and does not begin with pg_"),
    "version": text(VERSION, 'it takes a version in quotes, such as "0.8.0", or latest'),
}


def packages(given: list[Any]) -> Iterator[Problem]:
    for package in given:
        if not isinstance(package, str) or not PACKAGE.fullmatch(package):
            wanted = f"it takes names of Debian's packages, such as postgresql-{parameters.VERSION}-pgvector"
            yield Problem("postgres_packages", wanted, package)


def twice(setting: str, names: Iterable[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield said(setting, name, "it is there twice")


def logins(settings: Settings, own_logins: Iterable[str]) -> Iterator[Problem]:
    setting = "postgres_logins"
    taken = {
        **dict.fromkeys(own_logins, "the stack's own"),
        **{settings[name]: name for name in STACK_LOGINS},
        f"{settings['postgres_app_user']}_2": "the service's second one",
    }
    entries = declared.entries(settings[setting])
    there = {login["name"] for login in declared.present(settings[setting])}
    groups = {*there, settings["postgres_app_user"], *declared.GROUPS}
    yield from twice(setting, (login["name"] for login in entries))
    owners = {database.get("owner") for database in declared.present(settings["postgres_databases"])}
    for login in entries:
        name = login["name"]
        if name in taken:
            yield said(setting, name, f"it is {taken[name]}")
        for group in login.get("member_of") or []:
            if group == name or group not in groups:
                listed = ", ".join(sorted(declared.GROUPS))
                yield said(
                    setting, name, f"member_of has {group}: it takes other logins of postgres_logins, and {listed}"
                )
        if not declared.is_present(login) and name in owners:
            yield said(setting, name, "it is absent, and a database of postgres_databases has it as owner")
    if cycle := circle(declared.present(settings[setting])):
        yield said(setting, cycle[0], f"it would be a member of itself: {' in '.join(cycle)}")


def circle(entries: list[declared.Entry]) -> list[str]:
    """Logins that are members of each other in a circle, or nothing."""
    groups = {entry["name"]: entry.get("member_of") or [] for entry in entries}

    def walk(path: list[str]) -> list[str]:
        for group in groups.get(path[-1], []):
            if group == path[0]:
                return [*path, group]
            if group in groups and group not in path and (found := walk([*path, group])):
                return found
        return []

    return next((found for name in groups if (found := walk([name]))), [])


def databases(settings: Settings) -> Iterator[Problem]:
    setting, own = "postgres_databases", settings["postgres_database"]
    there = {login["name"] for login in declared.present(settings["postgres_logins"])}
    # An owner that is absent is said with the logins.
    owners = {
        settings["postgres_app_user"],
        *(login["name"] for login in declared.entries(settings["postgres_logins"])),
    }
    entries = declared.entries(settings[setting])
    yield from twice(setting, (database["name"] for database in entries))
    for database in entries:
        name, owner = database["name"], database.get("owner") or settings["postgres_app_user"]
        if name == own and not declared.is_present(database):
            yield said(setting, name, "it is the service's (postgres_database), which is not dropped")
        if name == own and owner != settings["postgres_app_user"]:
            yield said(setting, name, "it is the service's (postgres_database), whose owner is postgres_app_user")
        elif owner not in owners and declared.is_present(database):
            yield said(
                setting,
                name,
                f"owner is {owner}: it takes a login of postgres_logins, or {settings['postgres_app_user']}",
            )
        for login in database.get("privileges") or {}:
            if login not in there:
                yield said(
                    setting, name, f"privileges has {login}: it takes logins of postgres_logins that are not absent"
                )
            elif login == owner:
                yield said(
                    setting, name, f"privileges has {login}, which owns the database and may do everything in it"
                )


def extensions(settings: Settings) -> Iterator[Problem]:
    setting, own = "postgres_extensions", settings["postgres_database"]
    there = {own, "postgres", *(database["name"] for database in declared.present(settings["postgres_databases"]))}
    entries = declared.entries(settings[setting])
    places = [(entry["name"], declared.database_of(entry, own)) for entry in entries]
    yield from twice(setting, (f"{name} of database {database}" for name, database in places))
    for entry, (name, database) in zip(entries, places, strict=True):
        if database not in there:
            yield said(setting, name, f"database is {database}: it takes one of postgres_databases, {own} or postgres")
        known = name in declared.CONTRIB or name in declared.PACKAGES
        if not known and not settings["postgres_packages"] and declared.is_present(entry):
            yield said(
                setting,
                name,
                "PostgreSQL does not have it, nor a package that is known: postgres_packages takes its package",
            )
    if sum(name == "pg_cron" for name in (entry["name"] for entry in declared.present(settings[setting]))) > 1:
        yield said(setting, "pg_cron", "it works in one database alone")
