"""Settings of the role ``pgadmin``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stack.quantity import quantity
from stack.validation import Problem, Settings, dns, kubernetes, pgadmin_access, routes
from stack.validation.rules import CONTROL_CHARACTERS, Rule, check, number, optional

ALIASES = {
    "pgadmin_host": "stack_pgadmin_host",
    "pgadmin_gateway": "stack_gateway",
    "pgadmin_ingress_class": "stack_ingress_class",
    "pgadmin_storage_class": "stack_storage_class",
}
ALSO = (
    *("flask_app_namespace", "flask_app_gateway", "flask_app_ingress_class", "flask_app_host"),
    *("flask_app_paths", "flask_app_other_paths"),
)

LOCAL_PART = re.compile(r"[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*")
EMAIL_MAX = 64
# RFC 5891, 4.2.3.1: reserved for forms such as xn--.
RESERVED = re.compile(r"(?:^|\.)(?!xn)[^.]{2}--")
PASSWORD_MAX = 128
# What pgAdmin itself needs, with room for a result; see roles/pgadmin/files/console_memory.py.
MEMORY_MIN_MIB = 256
# Of config.py: what the image fixes.
FIXED = ("DATA_DIR", "SERVER_MODE", "SQLITE_PATH", "STORAGE_DIR")
PATH = re.compile(r"/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?")


def email(value: Any) -> str | None:
    """An address that pgAdmin creates its account with and finds it by."""
    # pgAdmin compares addresses as they are, but looks them up with the domain in lower case.
    local, _, domain = str(value).rpartition("@")
    if (
        len(value) <= EMAIL_MAX
        and LOCAL_PART.fullmatch(local)
        and "." in domain
        and dns.host(domain) is None
        and not RESERVED.search(domain)
    ):
        return None
    return f"it takes an address of at most {EMAIL_MAX} characters, its domain in lower case, such as admin@example.com"


def path(value: Any) -> str | None:
    """The path below which pgAdmin answers, which gunicorn takes off (SCRIPT_NAME)."""
    if PATH.fullmatch(value) and kubernetes.path(value) is None:
        return None
    return "it takes a path that begins with /, such as /pgadmin, of letters, digits, - . _ ~ and single slashes"


def resources(value: Any) -> str | None:
    """Requests and limits of the pod."""
    if wanted := kubernetes.resources(value):
        return wanted
    limit = (value.get("limits") or {}).get("memory")
    fits = limit is None or quantity(limit) >= MEMORY_MIN_MIB << 20
    return None if fits else f"limits.memory takes a quantity such as 512Mi, {MEMORY_MIN_MIB}Mi or more"


RULES: dict[str, Rule] = {
    "pgadmin_image": kubernetes.image,
    "pgadmin_host": dns.host,
    "pgadmin_path": path,
    "pgadmin_ingress_class": optional(dns.subdomain),
    "pgadmin_gateway": kubernetes.gateway,
    "pgadmin_tls_secret": dns.subdomain,
    "pgadmin_upload_limit_mb": number(1, wanted="it takes 1 or more, in MiB"),
    "pgadmin_email": email,
    "pgadmin_resources": resources,
    "pgadmin_storage_class": optional(dns.subdomain),
    "pgadmin_storage_size": kubernetes.storage,
    "pgadmin_login_attempts": number(0, wanted="it takes a number of attempts, or 0 for no limit"),
    "pgadmin_session_days": number(1, wanted="it takes 1 or more, in days"),
    "pgadmin_inactivity_minutes": number(0, wanted="it takes minutes, or 0 for no limit"),
    "pgadmin_rollout_timeout": number(1, wanted="it takes 1 or more, in seconds"),
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings."""
    return [
        *check(settings, RULES, ALIASES),
        *secrets(settings),
        *pgadmin_access.problems(settings, email),
        *routes.hidden(settings),
    ]


def secrets(settings: Settings) -> Iterator[Problem]:
    """What is wrong with values that no message shows."""
    password = settings.get("pgadmin_password", "")
    if len(password) > PASSWORD_MAX or CONTROL_CHARACTERS.search(password):
        wanted = f"it takes at most {PASSWORD_MAX} characters, none of them a control character; empty generates one"
        yield Problem("pgadmin_password", wanted)
    for name in settings.get("pgadmin_config", {}):
        if name in FIXED or not isinstance(name, str) or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            wanted = f"{name}: it takes names of pgAdmin's config.py, but not {', '.join(FIXED)}, which the image fixes"
            yield Problem("pgadmin_config", wanted)


def running_problems(settings: Settings) -> list[Problem]:
    """What the volume that is there cannot become, and a host that is taken.

    Beside the settings it reads ``pgadmin_claim``, the spec of the claim or nothing; ``pgadmin_volume_grows``: whether
    its storage class lets volumes grow; and what `stack.validation.routes.taken` does.
    """
    claim, paths = settings["pgadmin_claim"], [settings["pgadmin_path"]]
    found = list(claim_problems(settings, claim)) if claim else []
    return [*found, *routes.taken(settings, "pgadmin", "stack_pgadmin_host", paths)]


def claim_problems(settings: Settings, claim: dict[str, Any]) -> Iterator[Problem]:
    size, wanted_size = claim["resources"]["requests"]["storage"], settings["pgadmin_storage_size"]
    wanted_class, found_class = settings["pgadmin_storage_class"], claim.get("storageClassName", "")
    grows = quantity(wanted_size) > quantity(size) and settings["pgadmin_volume_grows"]
    if quantity(wanted_size) != quantity(size) and not grows:
        wanted = f"the volume has {size}, and gets larger only where its storage class allows that, never smaller"
        yield Problem("pgadmin_storage_size", wanted, wanted_size)
    if wanted_class not in ("", found_class):
        yield Problem(
            "pgadmin_storage_class",
            f"the volume was made with '{found_class}', and a volume keeps its class",
            wanted_class,
        )
