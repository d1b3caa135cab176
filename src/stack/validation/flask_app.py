"""Settings of the role ``flask_app``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stack.validation import Problem, Settings, dns, kubernetes, routes, workloads
from stack.validation.rules import INT32_MAX, Rule, check, number, optional

ALIASES = {
    "flask_app_host": "stack_app_host",
    "flask_app_gateway": "stack_gateway",
    "flask_app_ingress_class": "stack_ingress_class",
    "flask_app_image_repository": "stack_image_repository",
}
ALSO = (
    *("namespace_flows", "namespace_policies"),
    *("pgadmin_namespace", "pgadmin_gateway", "pgadmin_ingress_class", "pgadmin_host", "pgadmin_path"),
)

# What the stack sets, by the service's contract.
OWN_VARIABLES = (
    *("DB_HOST", "DB_NAME", "DB_USER", "DB_PASSWORD", "DB_PORT", "API_TOKEN", "API_TOKEN_NEXT"),
    *("DB_COMMENTS", "DB_READ_HOST", "DB_READ_PORT", "DB_READ_MAX_AGE_S", "OTEL_EXPORTER_OTLP_ENDPOINT"),
)
ENDPOINT = re.compile(r"(?P<scheme>https?)://[^\s/?#@:]+(?::(?P<port>[0-9]{1,5}))?(?:/[^\s?#]*)?")
# RFC 6750, 2.1: b64token.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,4096}=*")
# Of the stabilization of a HorizontalPodAutoscaler.
WINDOW_MAX = 3600
# As app/src/flask_postgres_app/settings.py has it.
REPLICA_AGE_MAX = 86_400


def paths(value: Any) -> str | None:
    """Prefixes that lead to the service, each once."""
    if not isinstance(value, list) or not value:
        return "it takes a list of paths that begin with /, such as [/]"
    if twice := routes.repeated(value):
        return f"{twice[0]} stands twice"
    return next((f"{path}: {wanted}" for path in value if (wanted := kubernetes.path(path))), None)


def other_paths(value: Any) -> str | None:
    """Prefixes that lead to other Services of the namespace."""
    if twice := routes.repeated([other["path"] for other in value]):
        return f"{twice[0]} stands twice"
    for other in value:
        wanted = kubernetes.path(other["path"]) or dns.label(other["service"]) or kubernetes.port(other["port"])
        if wanted:
            return f"{other}: {wanted}"
    return None


def error_pages(value: Any) -> str | None:
    return None if all(400 <= status <= 499 for status in value) else "it takes statuses from 400 to 499"


def endpoint(value: Any) -> str | None:
    match = ENDPOINT.fullmatch(value)
    wanted = "it takes the URL of a collector, such as http://collector.observability:4318"
    return None if match and kubernetes.port(endpoint_port(value)) is None else wanted


def endpoint_port(value: str) -> int:
    """The port of a URL of the form ENDPOINT."""
    match = ENDPOINT.fullmatch(value)
    if match is None:
        return 0
    return int(match["port"] or {"http": 80, "https": 443}[match["scheme"]])


def command(value: Any) -> str | None:
    wanted = "it takes a list of words, the program first, or [] for none"
    return None if all(word and "\x00" not in word for word in value) else wanted


RULES: dict[str, Rule] = {
    "flask_app_image": optional(kubernetes.image),
    "flask_app_migrate_command": command,
    "flask_app_migrate_timeout": number(1, wanted="it takes seconds, 1 or more"),
    "flask_app_base_image": kubernetes.image,
    "flask_app_image_repository": optional(kubernetes.repository),
    "flask_app_replicas": number(1, wanted="it takes 1 or more, 2 or more for rollouts without a gap"),
    "flask_app_autoscaling_cpu_percent": number(
        1, wanted="it takes 1 or more, in percent of the CPU that a pod requests"
    ),
    "flask_app_autoscaling_window": number(0, WINDOW_MAX, wanted=f"it takes seconds, from 0 to {WINDOW_MAX}"),
    "flask_app_resources": kubernetes.resources,
    "flask_app_workers": workloads.workers,
    "flask_app_cronjobs": workloads.cronjobs,
    "flask_app_host": dns.host,
    "flask_app_ingress_class": optional(dns.subdomain),
    "flask_app_gateway": kubernetes.gateway,
    "flask_app_tls_secret": dns.subdomain,
    "flask_app_paths": paths,
    "flask_app_other_paths": other_paths,
    "flask_app_rate_limit": number(0, INT32_MAX // 5, wanted="it takes requests a second, or 0 for no limit"),
    "flask_app_body_limit_kb": number(1, wanted="it takes 1 or more, in KiB"),
    "flask_app_error_pages": error_pages,
    "flask_app_otlp_endpoint": optional(endpoint),
    "flask_app_replica_max_age": number(0, REPLICA_AGE_MAX, wanted=f"it takes seconds, from 0 to {REPLICA_AGE_MAX}"),
    "flask_app_rollout_timeout": number(1, wanted="it takes seconds, 1 or more"),
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings.

    Beside them it reads ``flask_app_has_recipe``: whether the source folder has a Dockerfile or a requirements.txt.
    """
    return [
        *check(settings, RULES, ALIASES),
        *secrets(settings),
        *images(settings),
        *autoscaling(settings),
        *path_clashes(settings),
        *flow(settings),
        *routes.hidden(settings),
    ]


def running_problems(settings: Settings) -> list[Problem]:
    """A host that is taken, and an autoscaler that would never count.

    The facts are those of `stack.validation.routes.taken`, and ``lacks_metrics``: whether autoscaling is wanted on a
    cluster without the metrics API.
    """
    paths = [*settings["flask_app_paths"], *(other["path"] for other in settings["flask_app_other_paths"])]
    found = list(routes.taken(settings, "flask_app", "stack_app_host", paths))
    if settings.get("lacks_metrics"):
        wanted = "it takes a cluster with the metrics API, which metrics-server serves and this one has not"
        found.append(Problem("flask_app_autoscaling_enabled", wanted, settings["flask_app_autoscaling_enabled"]))
    return found


def secrets(settings: Settings) -> Iterator[Problem]:
    """What is wrong with values that no message shows."""
    token, environment = settings.get("flask_app_api_token", ""), settings.get("flask_app_environment", {})
    if token and not TOKEN.fullmatch(token):
        yield Problem(
            "flask_app_api_token",
            "it takes 16 or more of the characters A-Z a-z 0-9 . _ ~ + / - (RFC 6750), or nothing",
        )
    wanted = kubernetes.variables(environment)
    if wanted:
        yield Problem("flask_app_environment", wanted)
    elif own := [name for name in OWN_VARIABLES if name in environment]:
        yield Problem("flask_app_environment", f"it may not name {', '.join(own)}, which the stack sets")


def images(settings: Settings) -> Iterator[Problem]:
    if settings.get("flask_app_image") == "" and not settings.get("flask_app_has_recipe", True):
        wanted = "it takes a folder with a Dockerfile or a requirements.txt"
        yield Problem("flask_app_source", wanted, settings["flask_app_source"])


def autoscaling(settings: Settings) -> Iterator[Problem]:
    least, most = settings.get("flask_app_replicas", 0), settings.get("flask_app_autoscaling_max", 0)
    if settings.get("flask_app_autoscaling_enabled") and not least <= most <= INT32_MAX:
        yield Problem("flask_app_autoscaling_max", f"it takes flask_app_replicas ({least}) or more", most)


def path_clashes(settings: Settings) -> Iterator[Problem]:
    own, others = settings.get("flask_app_paths", []), settings.get("flask_app_other_paths", [])
    taken = {routes.prefix(path) for path in own}
    for other in others:
        if routes.prefix(other["path"]) in taken:
            yield Problem("flask_app_other_paths", f"{other['path']} stands in flask_app_paths as well", others)


def flow(settings: Settings) -> Iterator[Problem]:
    """Traces that the network policies would not let out."""
    url = settings.get("flask_app_otlp_endpoint", "")
    port = endpoint_port(url)
    flows = settings.get("namespace_flows", [])
    if port and settings.get("namespace_policies", True) and not any(lets_out(flow, port) for flow in flows):
        wanted = (
            "a flow of namespace_flows has to lead there, such as {from: flask-app, to: [{namespaceSelector: "
            f"{{matchLabels: {{kubernetes.io/metadata.name: observability}}}}}}], ports: [{port}]}}"
        )
        yield Problem("flask_app_otlp_endpoint", wanted, url)


def lets_out(flow: Any, port: int) -> bool:
    return isinstance(flow, dict) and flow.get("from") == "flask-app" and port in map(int, flow.get("ports", []))
