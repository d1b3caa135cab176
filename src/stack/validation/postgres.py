"""Settings of the role ``postgres``, by the rules of PostgreSQL, Patroni and Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stack.postgres import connections, declared, parameters
from stack.quantity import mebibytes, quantity
from stack.validation import Problem, Settings, dns, kubernetes, postgres_declared
from stack.validation.rules import Rule, check, matches, number, optional

ALIASES = {
    "postgres_image_repository": "stack_image_repository",
    "postgres_storage_class": "stack_storage_class",
    "postgres_archiving_enabled": "postgres_backup_enabled",
    "postgres_archiving_resources": "postgres_backup_resources",
    "postgres_pooling_enabled": "postgres_pooler_enabled",
}
ALSO = connections.ALSO

LOGINS = ("postgres_user", "postgres_app_user", "postgres_console_user", "postgres_monitoring_user")
# What Patroni and the pooler log in as, beside the service's second login.
OWN_LOGINS = ("standby", "rewind", "pooler")
PASSWORDS = ("postgres_password", "postgres_app_password", "postgres_console_password", "postgres_monitoring_password")
MEMORY_MIN_MIB = 192
STORAGE_MIN_MIB = 512
# PostgreSQL's parameters that keep connections for some logins, with their defaults.
RESERVED_CONNECTIONS = {"superuser_reserved_connections": "3", "reserved_connections": "0"}

# PostgreSQL's names have 63 characters, and pg_ is its own.
LOGIN = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
DATABASE = re.compile(r"(?!template[01]$)[A-Za-z_][-A-Za-z0-9_]{0,62}")
PASSWORD = re.compile(r"[^\x00-\x1f\x7f]{0,256}")


def volume(value: Any) -> str | None:
    """The size of a volume that a new database fits into."""
    fits = kubernetes.storage(value) is None and mebibytes(value) >= STORAGE_MIN_MIB
    return None if fits else f"it takes a quantity such as 5Gi, {STORAGE_MIN_MIB}Mi or more"


def memory(resources: Any) -> str:
    """The limit of an instance's memory, as its user wrote it."""
    return str((resources.get("limits") or {}).get("memory", "512Mi"))


def instance(value: Any) -> str | None:
    """Requests and limits of an instance."""
    if wanted := kubernetes.resources(value):
        return wanted
    fits = mebibytes(memory(value)) >= MEMORY_MIN_MIB
    return None if fits else f"limits.memory takes a quantity such as 512Mi, {MEMORY_MIN_MIB}Mi or more"


RULES: dict[str, Rule] = {
    "postgres_base_image": kubernetes.image,
    "postgres_image_repository": optional(kubernetes.repository),
    "postgres_instances": number(1, 5),
    "postgres_database": matches(DATABASE, "it takes letters, digits, _ and -, 63 at most, and no template"),
    "postgres_resources": instance,
    "postgres_storage_size": volume,
    "postgres_storage_class": optional(dns.subdomain),
    "postgres_rollout_timeout": number(1, wanted="it takes seconds, 1 or more"),
}
ARCHIVING_RULES: dict[str, Rule] = {"postgres_archiving_resources": kubernetes.resources}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings, and with what the service and the pooler open of connections.

    Beside them it reads ``default_parameters`` and ``own_parameters`` of PostgreSQL: what the role sets where its user
    does not, and what nobody else may set.
    """
    found = [
        *check(settings, RULES, ALIASES),
        *logins(settings),
        *passwords(settings),
        *postgres_declared.problems(settings, OWN_LOGINS),
    ]
    if settings["postgres_archiving_enabled"]:
        found += check(settings, ARCHIVING_RULES, ALIASES)
    # What follows the size of an instance needs one.
    if not any(problem.name in {"postgres_resources", "postgres_storage_size"} for problem in found):
        found += wanted_parameters(settings)
    return found


def logins(settings: Settings) -> Iterator[Problem]:
    second = f"{settings['postgres_app_user']}_2"
    taken = [second, *OWN_LOGINS]
    wanted = (
        "it takes small letters, digits and _, does not begin with pg_, and is another than the other logins,"
        f" {', '.join(taken[:-1])} and {taken[-1]}"
    )
    for name in LOGINS:
        others = [*taken, *(settings[other] for other in LOGINS if other != name)]
        longest = second if name == "postgres_app_user" else settings[name]
        if not LOGIN.fullmatch(longest) or not LOGIN.fullmatch(settings[name]) or settings[name] in others:
            yield Problem(name, wanted, settings[name])


def passwords(settings: Settings) -> Iterator[Problem]:
    """What is wrong with values that no message shows."""
    for name in PASSWORDS:
        if not PASSWORD.fullmatch(settings[name]):
            yield Problem(name, "it takes at most 256 characters, none of them a control character")


def wanted_parameters(settings: Settings) -> Iterator[Problem]:
    """What PostgreSQL does not take, or cannot start with in its container."""
    given, own = settings["postgres_parameters"], settings["own_parameters"]
    limit = memory(settings["postgres_resources"])
    values = parameters.wanted(
        given,
        settings["default_parameters"],
        own,
        limit,
        settings["postgres_storage_size"],
        loaded=declared.libraries(settings["postgres_extensions"]),
    )
    found = [
        Problem("postgres_parameters", f"{name} is {parameters.text(given[name])}: {complaint}")
        for name, complaint in parameters.complaints(given, own, values)
    ]
    yield from found
    if found:
        return
    needed = parameters.shared_memory_mib(values)
    for line in parameters.too_much_memory(values["shared_buffers"], needed, mebibytes(limit)):
        yield Problem("postgres_parameters", line)
    reserved = sum(parameters.parse_integer(values.get(name, unset)) for name, unset in RESERVED_CONNECTIONS.items())
    yield from connections.pooler_problems(settings, parameters.parse_integer(values["max_connections"]))
    yield from connections.problems(settings, parameters.parse_integer(values["max_connections"]), reserved)


def running_problems(settings: Settings) -> list[Problem]:
    """What a database that is there cannot become.

    Beside the settings it reads what the role has found:
        ``found_logins``: The logins of those who use the database, by the setting that names them; '' for none.
        ``found_claim``: The spec of the claims of the instances, or nothing.
        ``restoring``: When a restore began that was interrupted, or nothing.
    """
    return [*login_changes(settings), *claim_changes(settings), *unfinished_restore(settings)]


# Why each login stays as it is.
KEPT = {
    "postgres_user": "the database was made with {found}, and a superuser cannot be renamed",
    "postgres_app_user": "the service's login was {found}, and what the service has made belongs to it",
    "postgres_console_user": "the console's login was {found}, which would keep its password",
    "postgres_monitoring_user": "Prometheus' login was {found}, which would keep its password",
}


def login_changes(settings: Settings) -> Iterator[Problem]:
    for name, wanted in KEPT.items():
        found = settings["found_logins"].get(name, "")
        # A rotation changes from one login of the service to the other.
        own = {settings[name], f"{settings[name]}_2"} if name == "postgres_app_user" else {settings[name]}
        if found and found not in own:
            yield Problem(name, wanted.format(found=found), settings[name])


def claim_changes(settings: Settings) -> Iterator[Problem]:
    if claim := settings["found_claim"]:
        size, given = claim["resources"]["requests"]["storage"], settings["postgres_storage_size"]
        if quantity(given) != quantity(size):
            wanted = f"the volumes were made with {size}, and those of a StatefulSet keep their size"
            yield Problem("postgres_storage_size", wanted, given)
        found, given = claim.get("storageClassName", ""), settings["postgres_storage_class"]
        if given != found:
            wanted = f"the volumes were made with '{found}', and a volume keeps its class"
            yield Problem("postgres_storage_class", wanted, given)


def unfinished_restore(settings: Settings) -> Iterator[Problem]:
    if settings["restoring"]:
        wanted = (
            f"a restore began at {settings['restoring']} and was broken off; run it again (make restore with its ARGS;"
            " without a time it brings back the latest)"
        )
        yield Problem("postgres_namespace", wanted, settings["postgres_namespace"])
