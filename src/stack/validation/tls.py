"""Settings of the role ``tls``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stack.certificates import COMMON_NAME_MAX
from stack.validation import Problem, Settings, dns
from stack.validation.rules import Rule, check, number, one_line, optional

# A thousand years: what is said of a certificate's end has four digits for the year (RFC 5280, 4.1.2.5).
DAYS_MAX = 365_000
# The second login of the service, for rotations, ends in it.
SECOND_LOGIN = "_2"
# The longest name of a server within the stack, before the namespace.
LONGEST_SERVER = "*.postgres-pods"


def hosts(value: Any) -> str | None:
    """The names on the ingress's certificate."""
    if not isinstance(value, list) or not value:
        return "it takes a list of host names, such as [app.example.com, '*.apps.example.com']"
    return next((f"{name!r}: {wanted}" for name in value if (wanted := dns.host_or_wildcard(name))), None)


ALIASES = {"tls_hosts": "stack_app_host, stack_pgadmin_host"}
RULES: dict[str, Rule] = {
    "tls_hosts": hosts,
    "tls_issuer": optional(dns.subdomain),
    "tls_issuer_timeout": number(1, wanted="it takes seconds, 1 or more"),
    "tls_ca_common_name": one_line(COMMON_NAME_MAX, least=1),
    "tls_certificate_days": number(1, DAYS_MAX),
    "tls_ca_days": number(1, DAYS_MAX),
    "tls_renew_days": number(0, DAYS_MAX),
    "tls_cluster_domain": dns.host,
    "tls_clients_app_user": one_line(COMMON_NAME_MAX - len(SECOND_LOGIN), least=1),
    "tls_clients_console_user": one_line(COMMON_NAME_MAX, least=1),
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings."""
    found = list(check(settings, RULES, ALIASES))
    return found or [*lifetimes(settings), *server_names(settings)]


def lifetimes(settings: Settings) -> Iterator[Problem]:
    """What lasts too short for what depends on it."""
    certificate, renew = settings["tls_certificate_days"], settings["tls_renew_days"]
    if renew >= certificate:
        yield Problem("tls_renew_days", f"it takes fewer days than tls_certificate_days ({certificate})", renew)
    if settings["tls_ca_days"] <= certificate + renew:
        wanted = f"it takes more than tls_certificate_days and tls_renew_days together ({certificate + renew})"
        yield Problem("tls_ca_days", wanted, settings["tls_ca_days"])


def server_names(settings: Settings) -> Iterator[Problem]:
    """Names within the cluster that no resolver takes."""
    longest = f"{LONGEST_SERVER}.{settings['tls_namespace']}.svc.{settings['tls_cluster_domain']}"
    if len(longest) > dns.NAME_MAX:
        wanted = f"{longest} has {len(longest)} characters, and names have {dns.NAME_MAX} at most"
        yield Problem("tls_cluster_domain", wanted, settings["tls_cluster_domain"])
