"""Settings of the role ``namespace``."""

from __future__ import annotations

from typing import Any

from stack.validation import Problem, Settings, dns, kubernetes
from stack.validation.rules import Rule, check, each

ALIASES = {"namespace_name": "stack_namespace"}
# The policy that denies everything; the others bear the names of the pods.
DEFAULT_POLICY = "default-deny"


def name(value: Any) -> str | None:
    """The name of a namespace that is the stack's own."""
    if not isinstance(value, str):
        return f"it takes text: put it in quotes, as in stack_namespace: '{value}'"
    if value == "default" or value.startswith("kube-"):
        return "it takes a namespace of the stack's own: its network policies would cut off what else is in this one"
    return wanted + ", such as flask-postgres" if (wanted := dns.label(value)) else None


def flows(value: Any) -> str | None:
    """Flows between the ends that they name: without ports, or without anybody, Kubernetes would open all of them."""
    if isinstance(value, list) and all(map(is_flow, value)):
        return None
    return (
        "each takes one port or more, and for each end the label app of pods or one peer or more, "
        "such as {from: flask-app, to: [{ipBlock: {cidr: 203.0.113.7/32}}], ports: [443]}"
    )


def is_flow(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"from", "to", "ports"}
        and is_end(value["from"])
        and is_end(value["to"])
        and bool(value["ports"])
        and each(kubernetes.port)(value["ports"]) is None
    )


def is_end(value: Any) -> bool:
    if isinstance(value, str):
        return dns.label(value) is None and value != DEFAULT_POLICY
    return bool(value) and kubernetes.peers(value) is None


RULES: dict[str, Rule] = {
    "namespace_name": name,
    "namespace_ingress": kubernetes.peers,
    "namespace_monitoring": kubernetes.peers,
    "namespace_dns": kubernetes.peers,
    "namespace_api_server": kubernetes.peers,
    "namespace_api_server_ports": each(kubernetes.port),
    "namespace_bucket": kubernetes.peers,
    "namespace_bucket_ports": each(kubernetes.port),
    "namespace_flows": flows,
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings."""
    found = list(check(settings, RULES, ALIASES))
    # The context is that of the file, unless it is set.
    if not settings.get("namespace_context"):
        wanted = "it takes a file that can be read and has a current context, or set stack_context as well"
        found.append(Problem("namespace_kubeconfig (stack_kubeconfig)", wanted, settings.get("namespace_kubeconfig")))
    return found
