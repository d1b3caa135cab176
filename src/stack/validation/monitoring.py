"""Settings of the role ``monitoring``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stack.quantity import quantity
from stack.validation import Problem, Settings, alert_receivers, dns, kubernetes
from stack.validation.rules import Rule, check, number

# Prometheus looks back five minutes for a sample, and the alerts two.
INTERVAL_MAX = 120
# How far back Prometheus' own type for durations reaches is 292 years.
RETENTION_MAX = 36_500
# The volume, of which four fifths are handed to Prometheus in whole GiB.
SIZE = re.compile(r"[1-9][0-9]*(Gi|Ti)")
# Scrape jobs of templates/_prometheus.yml.j2.
JOBS = (
    *(
        "prometheus",
        "alertmanager",
        "flask-app",
        "patroni",
        "postgres",
        "pgbouncer",
        "stack",
        "containers",
        "cronjobs",
        "ingress",
    ),
    "nodes",
)


def size(value: Any) -> str | None:
    return None if SIZE.fullmatch(value) else "it takes a size in Gi or Ti, such as 2Gi"


def storage_class(value: Any) -> str | None:
    return dns.subdomain(value) if value else None


def ingress_targets(value: Any) -> str | None:
    wanted = (
        "it takes a list of host:port, each an address or a Service, "
        "such as [ingress-nginx-controller-metrics.ingress-nginx.svc:10254]"
    )
    return None if all(map(is_ingress_target, value)) else wanted


def is_ingress_target(value: str) -> bool:
    """An IPv4 address or a Service with its namespace, for which there is a network policy, and a port."""
    host, _, port = value.rpartition(":")
    is_service = dns.host(host) is None and re.fullmatch(r"[^.]+\.[^.]+\.svc(\..+)?", host)
    return is_port(port) and bool(is_ipv4(host) or is_service)


def is_ipv4(value: str) -> bool:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return True


def is_port(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", value)) and kubernetes.port(int(value)) is None


def nodes(value: Any) -> str | None:
    wanted = "it takes a list of ranges of addresses, such as [203.0.113.0/24]"
    return None if all(kubernetes.network(range_) is not None for range_ in value) else wanted


def alertmanagers(value: Any) -> str | None:
    wanted = "it takes a list of host:port, such as [alertmanager.monitoring.svc:9093]"
    return None if all(is_target(target) for target in value) else wanted


def is_target(value: str) -> bool:
    host, _, port = value.rpartition(":")
    return is_port(port) and (is_ipv4(host) or dns.host(host.lower()) is None)


def rule_groups(value: Any) -> str | None:
    """Groups of rules, each name once."""
    names = [group.get("name") for group in value]
    if all(names) and len(set(names)) == len(names) and all(isinstance(group.get("rules"), list) for group in value):
        return None
    return "it takes groups of rules as Prometheus does, each with a name of its own and rules"


RULES: dict[str, Rule] = {
    "monitoring_prometheus_image": kubernetes.image,
    "monitoring_exporter_image": kubernetes.image,
    "monitoring_alertmanager_image": kubernetes.image,
    "monitoring_interval": number(
        1, INTERVAL_MAX, wanted=f"it takes 1 to {INTERVAL_MAX} seconds; alerts look two minutes back"
    ),
    "monitoring_retention_days": number(1, RETENTION_MAX, wanted=f"it takes a number of days, 1 to {RETENTION_MAX}"),
    "monitoring_storage_size": size,
    "monitoring_storage_class": storage_class,
    "monitoring_resources": kubernetes.resources,
    "monitoring_exporter_resources": kubernetes.resources,
    "monitoring_alertmanager_resources": kubernetes.resources,
    "monitoring_ingress_targets": ingress_targets,
    "monitoring_nodes": nodes,
    "monitoring_rule_groups": rule_groups,
    "monitoring_alertmanagers": alertmanagers,
    "monitoring_dashboards_labels": kubernetes.labels,
    "monitoring_rollout_timeout": number(1, wanted="it takes 1 second or more"),
}
ALIASES = {"monitoring_storage_class": "stack_storage_class"}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings.

    Beside them it reads ``monitoring_alert_names``: the names of the alerts that there are.
    """
    return [
        *check(settings, RULES, ALIASES),
        *alerts(settings),
        *alert_receivers.problems(settings),
        *scrape_jobs(settings),
    ]


def alerts(settings: Settings) -> Iterator[Problem]:
    names, changes = settings.get("monitoring_alert_names", []), settings.get("monitoring_alerts", {})
    if not all(name in names and (change is False or isinstance(change, Mapping)) for name, change in changes.items()):
        wanted = (
            "it takes, by the name of an alert, fields of it such as {for: 10m}, or false to leave it out; "
            f"there are {', '.join(names)}"
        )
        yield Problem("monitoring_alerts", wanted, changes)


def scrape_jobs(settings: Settings) -> Iterator[Problem]:
    """What is wrong with scrape configurations, which may hold a password."""
    jobs = [config.get("job_name") for config in settings.get("monitoring_scrape_configs", [])]
    if not all(jobs) or len({*JOBS, *jobs}) < len(JOBS) + len(jobs):
        wanted = f"each takes a job_name of its own, none of {', '.join(JOBS)}"
        yield Problem("monitoring_scrape_configs", wanted)


def running_problems(settings: Settings) -> list[Problem]:
    """What the volume that is there cannot become.

    Beside the settings it reads ``monitoring_claim``: the spec of the StatefulSet's claim, or nothing.
    """
    claim = settings["monitoring_claim"]
    return list(claim_problems(settings, claim)) if claim else []


def claim_problems(settings: Settings, claim: dict[str, Any]) -> Iterator[Problem]:
    found_size, found_class = claim["resources"]["requests"]["storage"], claim.get("storageClassName", "")
    wanted_size, wanted_class = settings["monitoring_storage_size"], settings["monitoring_storage_class"]
    if quantity(wanted_size) != quantity(found_size):
        wanted = f"the volume was made with {found_size}, and that of a StatefulSet keeps its size"
        yield Problem("monitoring_storage_size", wanted, wanted_size)
    if wanted_class != found_class:
        yield Problem(
            "monitoring_storage_class",
            f"the volume was made with '{found_class}', and a volume keeps its class",
            wanted_class,
        )
