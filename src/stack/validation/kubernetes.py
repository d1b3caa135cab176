"""Rules of the API server, of the kubelet and of container registries."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stack.quantity import quantity
from stack.validation import dns

# What containers may ask for without the name of a vendor.
RESOURCES = ("cpu", "memory", "ephemeral-storage")
# Less does not hold the process that starts a container.
MEMORY_MIN = 6 * 2**20

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# Names of variables, as the kubelet took them before Kubernetes 1.34, and as keys of a ConfigMap.
VARIABLE = re.compile(r"(?!\.\.)[-._a-zA-Z][-._a-zA-Z0-9]{0,252}")
# https://pkg.go.dev/github.com/distribution/reference#pkg-overview
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
REPOSITORY = re.compile(rf"(?:{DOMAIN}(?:\.{DOMAIN})*(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*")
IMAGE = re.compile(rf"({REPOSITORY.pattern})(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?")
IMAGE_NAME_MAX = 255
# What both an Ingress and an HTTPRoute take as a prefix, without escapes.
PATH = re.compile(r"/[-A-Za-z0-9/._~!$&'()*+,;=:@]*")
PATH_MAX = 1024


def storage(value: Any) -> str | None:
    """The size of a volume."""
    wanted = "it takes a quantity such as 5Gi"
    return None if isinstance(value, str) and is_quantity(value) and quantity(value) >= 1 else wanted


def is_quantity(value: Any) -> bool:
    try:
        quantity(value)
    except ValueError:
        return False
    return True


def resources(value: Any) -> str | None:
    """Requests and limits of a container; each complaint, with commas between them."""
    complaints = list(resource_complaints(value))
    return (
        f"it takes requests and limits such as {{limits: {{memory: 256Mi}}}}: {', '.join(complaints)}"
        if complaints
        else None
    )


def resource_complaints(value: Any) -> Iterator[str]:
    # https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    if not isinstance(value, Mapping):
        yield "not a mapping"
        return
    for key, amounts in value.items():
        if key not in ("requests", "limits"):
            yield f"there is no {key}"
        elif not isinstance(amounts, Mapping):
            yield f"{key} is a mapping"
        else:
            yield from amount_complaints(key, amounts)
    requests, limits = value.get("requests"), value.get("limits")
    if isinstance(requests, Mapping) and isinstance(limits, Mapping):
        for name in [name for name in requests if name in limits]:
            both = requests[name], limits[name]
            if all(map(is_quantity, both)) and quantity(both[0]) > quantity(both[1]):
                yield f"requests.{name} {both[0]} is above limits.{name} {both[1]}"


def amount_complaints(key: str, amounts: Mapping[Any, Any]) -> Iterator[str]:
    for name, amount in amounts.items():
        if not is_resource(name):
            yield f"there is no resource {name}"
        elif not is_quantity(amount):
            yield f"{key}.{name} {amount} is no quantity such as 100m or 256Mi"
        elif quantity(amount) < 0:
            yield f"{key}.{name} {amount} is below 0"
        elif key == "limits" and name == "memory" and quantity(amount) < MEMORY_MIN:
            yield f"{key}.{name} {amount} is less than a container needs to start, 6Mi"


def is_resource(name: Any) -> bool:
    """Whether a container may ask for it: what every node has, large pages, or what a vendor's plugin offers."""
    if not isinstance(name, str):
        return False
    if "/" in name:
        return label_key(name) is None
    return name in RESOURCES or (name.startswith("hugepages-") and is_quantity(name.removeprefix("hugepages-")))


def label_key(value: Any) -> str | None:
    prefix, slash, name = value.rpartition("/") if isinstance(value, str) else ("", "", "")
    if LABEL_NAME.fullmatch(name) and (not slash or dns.subdomain(prefix) is None):
        return None
    return (
        "the name of a label has 1 to 63 letters, digits, -, _ and ., with the name of a domain and / before it on wish"
    )


def labels(value: Any) -> str | None:
    """Labels by name, the values as text."""
    if not isinstance(value, Mapping):
        return "it takes labels such as {team: shop}"
    for key, text in value.items():
        if label_key(key):
            return f"{key}: {label_key(key)}"
        if not isinstance(text, str) or not LABEL_VALUE.fullmatch(text):
            return f"{key}: its value takes at most 63 letters, digits, -, _ and ., in quotes where it is a number"
    return None


def image(value: Any) -> str | None:
    """The name of an image with its tag or digest."""
    match = IMAGE.fullmatch(value) if isinstance(value, str) else None
    if match and len(match[1]) <= IMAGE_NAME_MAX:
        return None
    return "it takes an image's name with its tag or digest, such as registry.example.com/team/shop:1.2"


def repository(value: Any) -> str | None:
    """What stands before an image's name."""
    if isinstance(value, str) and REPOSITORY.fullmatch(value) and len(value) <= IMAGE_NAME_MAX:
        return None
    # A registry alone, such as localhost:5000, reads as a name with a tag.
    if isinstance(value, str) and re.fullmatch(rf"{DOMAIN}(?:\.{DOMAIN})*(?::[0-9]+)?", value):
        return None
    return "it takes a registry and a path there, such as registry.example.com/team"


def path(value: Any) -> str | None:
    """A path prefix of an Ingress or an HTTPRoute."""
    # https://gateway-api.sigs.k8s.io/reference/spec/#httppathmatch
    if (
        isinstance(value, str)
        and PATH.fullmatch(value)
        and len(value) <= PATH_MAX
        and "//" not in value
        and not {".", ".."} & set(value.split("/"))
    ):
        return None
    return "it takes a path that begins with /, such as /api, without spaces, escapes, //, /./ and /../"


def port(value: Any) -> str | None:
    return (
        None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
        else "it takes ports of 1 to 65535"
    )


def variables(value: Any) -> str | None:
    """Environment variables by name; complains without the values, which may be secrets."""
    if not isinstance(value, Mapping):
        return "it takes variables such as {LOG_LEVEL: DEBUG}"
    for name, text in value.items():
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            return f"{name}: the name of a variable has letters, digits, _, - and ., and begins with none of the digits"
        if not isinstance(text, str | int | float) or "\x00" in str(text):
            return f"{name}: the value of a variable is text, a number, true or false"
    return None


def gateway(value: Any) -> str | None:
    """The Gateway that HTTPRoutes attach to, or nothing."""
    keys = {"name": dns.subdomain, "namespace": dns.label, "listener": dns.subdomain, "http_listener": dns.subdomain}
    if isinstance(value, Mapping) and (
        not value
        or (
            {"name", "listener"} <= set(value) <= set(keys)
            and not any(keys[key](text) for key, text in value.items())
            and value.get("http_listener") != value["listener"]
        )
    ):
        return None
    return (
        "it takes the name of a Gateway and that of its listener for HTTPS, and on wish its namespace and "
        "another listener, as in {name: shared, namespace: gateways, listener: https, http_listener: http}; "
        "{} takes an Ingress"
    )


def peers(value: Any) -> str | None:
    """Peers of a NetworkPolicy."""
    # https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors
    if isinstance(value, list) and all(map(is_peer, value)):
        return None
    return "it takes peers of a NetworkPolicy, such as [{ipBlock: {cidr: 203.0.113.7/32}}]"


def is_peer(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    if "ipBlock" in value:
        return len(value) == 1 and is_ip_block(value["ipBlock"])
    return set(value) <= {"namespaceSelector", "podSelector"} and all(map(is_selector, value.values()))


def is_ip_block(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"cidr"} <= set(value) <= {"cidr", "except"}:
        return False
    block, holes = network(value["cidr"]), [network(hole) for hole in value.get("except", [])]
    # Each hole lies within the block and is smaller.
    return block is not None and all(
        hole is not None and hole.version == block.version and hole != block and hole.subnet_of(block)  # type: ignore[arg-type]
        for hole in holes
    )


def network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A range of addresses with its prefix, or None where it is none."""
    try:
        return ipaddress.ip_network(value, strict=False) if isinstance(value, str) and "/" in value else None
    except ValueError:
        return None


def is_selector(value: Any) -> bool:
    if not isinstance(value, Mapping) or not set(value) <= {"matchLabels", "matchExpressions"}:
        return False
    return labels(value.get("matchLabels", {})) is None and all(map(is_expression, value.get("matchExpressions", [])))


def is_expression(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"key", "operator"} <= set(value) <= {"key", "operator", "values"}:
        return False
    values = value.get("values") or []
    return (
        label_key(value["key"]) is None
        and (value["operator"] in (("In", "NotIn") if values else ("Exists", "DoesNotExist")))
        and all(isinstance(text, str) and LABEL_VALUE.fullmatch(text) for text in values)
    )
