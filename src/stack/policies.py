"""The network policies of the namespace, by the flows that they let through.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from stack.objects import Object

ROLES = Path(__file__).parents[2] / "roles"
KUBELET_PORT = 10250
ADDRESS = re.compile(r"[0-9.]+")
DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
# Pods of others that have a label of their own beside `app`, by the name that flows give them.
CLIENTS = {"database-client": {"flask-postgres-stack/database-client": "true"}}
Flow = Mapping[str, Any]
Peers = list[Object]


def network_policies(flows: Iterable[Flow], metadata: Object, peers: Mapping[str, Peers], dns: Peers) -> list[Object]:
    """The policies that let these flows through, and nothing else.

    Args:
        flows: Each with ``from``, ``to`` and ``ports``. An end is the label ``app`` of pods, a name of `CLIENTS` or of
            ``peers``, or a list of peers itself.
        metadata: What the metadata of each policy has beside its name.
        peers: Peers that have a name; a flow from or to none of them is left out, for no peers would mean all.
        dns: Who answers names: whoever may open a connection may ask them.

    Returns:
        The policy that denies everything, and one for each ``app``, by name.
    """
    ingress: dict[str, list[Object]] = {}
    egress: dict[str, list[Object]] = {}
    for flow in flows:
        ends = {end: _peers(flow[end], peers) for end in ("from", "to")}
        if not all(ends.values()):
            continue
        ports = [{"protocol": "TCP", "port": int(port)} for port in flow["ports"]]
        for end, rules in (("from", egress), ("to", ingress)):
            if isinstance(flow[end], str) and flow[end] not in peers:
                other = "to" if end == "from" else "from"
                rules.setdefault(flow[end], []).append({other: ends[other], "ports": ports})
    policies = [_policy("default-deny", metadata, {"podSelector": {}})]
    for app in sorted({*ingress, *egress}):
        spec: Object = _pods(app)
        if app in ingress:
            spec["ingress"] = ingress[app]
        if app in egress:
            spec["egress"] = ([{"to": dns, "ports": DNS_PORTS}] if dns else []) + egress[app]
        policies.append(_policy(app, metadata, spec))
    return policies


def role_flows(ports: Mapping[str, list[int]], roles: Path = ROLES) -> list[Flow]:
    """The flows of all roles, each in ``meta/flows.yml`` of the role whose pods take the connections.

    Args:
        ports: The ports of what is beyond the namespace, by its name: flows to it are written without them.
        roles: The folder of the roles.
    """
    files = sorted(roles.glob("*/meta/flows.yml"))
    flows = [flow for file in files for flow in yaml.safe_load(file.read_text())]
    return [{**flow, "ports": flow["ports"] if "ports" in flow else ports[flow["to"]]} for flow in flows]


def flows_also_from(flows: Iterable[Flow], app: str, others: Iterable[str]) -> list[Flow]:
    """The flows, those from some pods as well from others, which do the same work.

    Args:
        flows: As `network_policies` takes them.
        app: The label ``app`` of the pods.
        others: The label ``app`` of each of the others.
    """
    given, others = list(flows), list(others)
    return given + [{**flow, "from": other} for other in others for flow in given if flow["from"] == app]


def monitoring_flows(nodes: Iterable[str], targets: Iterable[str]) -> list[Flow]:
    """The flows to what Prometheus reads beyond the namespace.

    Args:
        nodes: The ranges of the nodes' addresses (CIDR), for the kubelets.
        targets: The ingress controller's metrics as ``host:port``, an address or a Service, ``name.namespace.svc``.
    """
    flows = [_flow_to({"ipBlock": {"cidr": cidr}}, KUBELET_PORT) for cidr in nodes]
    for target in targets:
        host, _, port = target.partition(":")
        if ADDRESS.fullmatch(host):
            peer: Object = {"ipBlock": {"cidr": f"{host}/32"}}
        else:
            peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": host.split(".")[1]}}}
        flows.append(_flow_to(peer, int(port)))
    return flows


def node_peers(addresses: Iterable[str]) -> Peers:
    """Nodes as peers: what is on a node's own network, such as Traefik, comes to other nodes' pods by its address.

    The only node is none, for a node always reaches its own pods.
    """
    peers: Peers = [{"ipBlock": {"cidr": f"{address}/32"}} for address in addresses]
    return peers if len(peers) > 1 else []


def due_policies(wanted: list[Object], found: list[Object]) -> list[Object]:
    """The policies to apply: whatever a live one has beside what is wanted would let something through.

    The order of rules has no meaning, so that it is no difference.
    """
    live = {policy["metadata"]["name"]: policy for policy in found}
    return [policy for policy in wanted if not _is_as_wanted(live.get(policy["metadata"]["name"]), policy)]


def _is_as_wanted(live: Object | None, wanted: Object) -> bool:
    """Whether a policy has the rules that are wanted and no others, and the labels and annotations among its own."""
    return (
        live is not None
        and _in_order(live.get("spec")) == _in_order(wanted["spec"])
        and all(
            (live["metadata"].get(key) or {}).get(name) == value
            for key in ("labels", "annotations")
            for name, value in (wanted["metadata"].get(key) or {}).items()
        )
    )


def _in_order(spec: Object | None) -> Object:
    """A spec with its rules sorted."""
    found = spec or {}
    rules = {
        end: sorted(found[end], key=lambda rule: json.dumps(rule, sort_keys=True))
        for end in ("ingress", "egress")
        if found.get(end)
    }
    return {**found, **rules}


def stale_policies(wanted: list[Object], found: list[Object]) -> list[Object]:
    """The policies to remove."""
    names = {policy["metadata"]["name"] for policy in wanted}
    return [policy for policy in found if policy["metadata"]["name"] not in names]


def _peers(end: Any, peers: Mapping[str, Peers]) -> Peers:
    if isinstance(end, str):
        return peers.get(end, [_pods(end)])
    return list(end)


def _pods(name: str) -> Object:
    return {"podSelector": {"matchLabels": CLIENTS.get(name, {"app": name})}}


def _flow_to(peer: Object, port: int) -> Flow:
    return {"from": "prometheus", "to": [peer], "ports": [port]}


def _policy(name: str, metadata: Object, spec: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, **metadata},
        "spec": {**spec, "policyTypes": ["Ingress", "Egress"]},
    }
