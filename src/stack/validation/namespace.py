"""Settings of the role ``namespace``."""

from __future__ import annotations

from typing import Any

from stack.validation import Problem, Settings, dns, kubernetes
from stack.validation.rules import Rule, check, each, optional

ALIASES = {
    "namespace_name": "stack_namespace",
    "namespace_labels": "stack_labels",
    "namespace_annotations": "stack_annotations",
    "namespace_image_pull_secrets": "stack_image_pull_secrets",
    "namespace_node_selector": "stack_node_selector",
    "namespace_tolerations": "stack_tolerations",
    "namespace_priority_class": "stack_priority_class",
    "namespace_ip_family_policy": "stack_ip_family_policy",
}
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


# What selects the stack's pods, or says whose they are.
OWN_LABELS = ("app", "role", "cluster-name")
OWN_DOMAIN = "app.kubernetes.io/"
# https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TOLERATION = ("key", "operator", "value", "effect", "tolerationSeconds")


def own_labels(value: Any) -> str | None:
    """Labels of all objects, beside those of the stack."""
    if wanted := kubernetes.labels(value):
        return wanted
    own = [key for key in value if key in OWN_LABELS or key.startswith(OWN_DOMAIN)]
    return f"{own[0]}: the stack sets this label itself" if own else None


def texts(value: Any) -> str | None:
    """Annotations by name, the values as text."""
    for key, text in value.items():
        if wanted := kubernetes.label_key(key):
            return f"{key}: {wanted.replace('a label', 'an annotation')}"
        if not isinstance(text, str):
            return f"{key}: its value takes text, in quotes where it is a number"
    return None


def tolerations(value: Any) -> str | None:
    """Tolerations of pods, as the API server takes them."""
    return next((f"{each}: {wanted}" for each in value if (wanted := toleration(each))), None)


def toleration(value: Any) -> str | None:
    operator, effect = value.get("operator", "Equal"), value.get("effect", "")
    if unknown := [key for key in value if key not in TOLERATION]:
        return f"there is no {unknown[0]}, only {', '.join(TOLERATION)}"
    if operator not in ("Equal", "Exists"):
        return "its operator is Equal or Exists"
    if operator == "Exists" and value.get("value"):
        return "with the operator Exists it takes no value"
    if not value.get("key") and operator != "Exists":
        return "without a key it takes the operator Exists"
    if effect and effect not in EFFECTS:
        return f"its effect is one of {', '.join(EFFECTS)}"
    if "tolerationSeconds" in value and effect != "NoExecute":
        return "tolerationSeconds is for the effect NoExecute"
    return None


RULES: dict[str, Rule] = {
    "namespace_name": name,
    "namespace_labels": own_labels,
    "namespace_annotations": texts,
    "namespace_image_pull_secrets": each(dns.subdomain),
    "namespace_node_selector": kubernetes.labels,
    "namespace_tolerations": tolerations,
    "namespace_priority_class": optional(dns.subdomain),
    "namespace_ingress": kubernetes.peers,
    "namespace_monitoring": kubernetes.peers,
    "namespace_dns": kubernetes.peers,
    "namespace_api_server": kubernetes.peers,
    "namespace_api_server_ports": each(kubernetes.port),
    "namespace_bucket": kubernetes.peers,
    "namespace_bucket_ports": each(kubernetes.port),
    "namespace_alert_receivers": kubernetes.peers,
    "namespace_alert_receivers_ports": each(kubernetes.port),
    "namespace_identity_providers": kubernetes.peers,
    "namespace_identity_providers_ports": each(kubernetes.port),
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
