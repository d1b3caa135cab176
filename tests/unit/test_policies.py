"""Which connections the network policies let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stack.policies import (
    due_policies,
    flows_also_from,
    monitoring_flows,
    network_policies,
    node_peers,
    role_flows,
    stale_policies,
)

METADATA: dict[str, Any] = {"namespace": "shop", "labels": {"a": "b"}}
DNS = [{"namespaceSelector": {"matchLabels": {"name": "dns"}}}]
PEERS = {"ingress": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}], "bucket": []}


def specs(flows: list[dict[str, Any]], dns: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    policies = network_policies(flows, METADATA, PEERS, DNS if dns is None else dns)
    assert all(policy["metadata"] == {"name": policy["metadata"]["name"], **METADATA} for policy in policies)
    return {policy["metadata"]["name"]: policy["spec"] for policy in policies}


def pods(app: str) -> list[dict[str, Any]]:
    return [{"podSelector": {"matchLabels": {"app": app}}}]


def test_without_flows_nothing_passes() -> None:
    assert specs([]) == {"default-deny": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}


def test_a_flow_is_let_out_of_the_one_and_into_the_other() -> None:
    found = specs([{"from": "shop", "to": "postgres", "ports": [5432, "8008"]}])
    ports = [{"protocol": "TCP", "port": 5432}, {"protocol": "TCP", "port": 8008}]
    assert list(found) == ["default-deny", "postgres", "shop"]
    assert found["postgres"]["ingress"] == [{"from": pods("shop"), "ports": ports}]
    assert "egress" not in found["postgres"]
    assert found["shop"]["egress"][1] == {"to": pods("postgres"), "ports": ports}
    assert "ingress" not in found["shop"]


def test_whoever_opens_a_connection_may_ask_for_names_once() -> None:
    flows = [{"from": "shop", "to": to, "ports": [1]} for to in ("a", "b")]
    rules = specs(flows)["shop"]["egress"]
    assert [rule["to"] for rule in rules] == [DNS, pods("a"), pods("b")]
    assert {port["protocol"] for port in rules[0]["ports"]} == {"UDP", "TCP"}
    assert [rule["to"] for rule in specs(flows, dns=[])["shop"]["egress"]] == [pods("a"), pods("b")]


def test_a_peer_with_a_name_has_no_policy_of_its_own() -> None:
    found = specs([{"from": "ingress", "to": "shop", "ports": [1]}])
    assert list(found) == ["default-deny", "shop"]
    assert found["shop"]["ingress"][0]["from"] == PEERS["ingress"]


@pytest.mark.parametrize("flow", [{"from": "shop", "to": "bucket"}, {"from": [], "to": "shop"}])
def test_no_peers_open_nothing(flow: dict[str, Any]) -> None:
    """To Kubernetes an empty list means everybody."""
    assert list(specs([{**flow, "ports": [1]}])) == ["default-deny"]


@pytest.mark.parametrize(
    ("nodes", "targets", "expected"),
    [
        ([], [], []),
        (["10.0.0.0/8"], [], [({"ipBlock": {"cidr": "10.0.0.0/8"}}, 10250)]),
        ([], ["10.1.2.3:8083"], [({"ipBlock": {"cidr": "10.1.2.3/32"}}, 8083)]),
        (
            [],
            ["metrics.ingress-nginx.svc:10254"],
            [({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}, 10254)],
        ),
    ],
)
def test_what_prometheus_reads_beyond_the_namespace(
    nodes: list[str], targets: list[str], expected: list[tuple[Any, int]]
) -> None:
    assert monitoring_flows(nodes, targets) == [
        {"from": "prometheus", "to": [peer], "ports": [port]} for peer, port in expected
    ]


def test_pods_that_do_the_same_work_connect_to_the_same() -> None:
    flows: list[Any] = [
        {"from": "shop", "to": "postgres", "ports": [5432]},
        {"from": "ingress", "to": "shop", "ports": [80]},
        {"from": "other", "to": "postgres", "ports": [5432]},
    ]
    found = specs([*map(dict, flows_also_from(flows, "shop", ["shop-worker"]))])
    assert found["shop-worker"]["egress"] == found["shop"]["egress"]
    assert "ingress" not in found["shop-worker"]
    taken = found["postgres"]["ingress"]
    assert {"from": pods("shop-worker"), "ports": taken[0]["ports"]} in taken
    assert flows_also_from(flows, "shop", []) == flows


def test_a_live_policy_that_lets_more_through_is_due_and_one_that_nobody_wants_goes() -> None:
    wanted = network_policies([{"from": "shop", "to": "postgres", "ports": [5432]}], METADATA, PEERS, DNS)
    same, other, gone = (dict(policy) for policy in wanted)
    other["spec"] = {**other["spec"], "ingress": [{}]}
    gone["metadata"] = {**gone["metadata"], "name": "gone"}
    found = [same, other, gone]
    assert [policy["metadata"]["name"] for policy in due_policies(wanted, found)] == ["postgres", "shop"]
    assert stale_policies(wanted, found) == [gone]
    assert due_policies(wanted, wanted) == stale_policies(wanted, wanted) == []


def test_a_live_policy_without_a_label_that_is_wanted_is_due() -> None:
    flows = [{"from": "shop", "to": "postgres", "ports": [5432]}]
    found = network_policies(flows, METADATA, PEERS, DNS)
    more = {**METADATA, "labels": {**METADATA["labels"], "team": "shop"}}
    wanted = network_policies(flows, more, PEERS, DNS)
    assert due_policies(wanted, found) == wanted
    # One that somebody else has put there is no difference.
    assert due_policies(found, wanted) == []


def test_each_role_has_the_flows_to_its_pods(tmp_path: Path) -> None:
    for role, flow in {
        "shop": "{from: ingress, to: shop, ports: [80]}",
        "backup": "{from: backup, to: bucket}",
    }.items():
        (tmp_path / role / "meta").mkdir(parents=True)
        (tmp_path / role / "meta" / "flows.yml").write_text(f"- {flow}\n")
    assert role_flows({"bucket": [9000]}, tmp_path) == [
        {"from": "backup", "to": "bucket", "ports": [9000]},
        {"from": "ingress", "to": "shop", "ports": [80]},
    ]


def test_every_role_says_which_ports_its_flows_need() -> None:
    flows = role_flows({"bucket": [443], "api-server": [6443], "alert-receivers": [587], "identity-providers": [443]})
    ends = {(flow["from"], flow["to"]) for flow in flows}
    assert {("flask-app", "postgres"), ("postgres-backup-job", "bucket"), ("prometheus", "api-server")} <= ends
    assert len(ends) == len(flows), "a flow is written twice"
    assert all(flow["ports"] and set(flow) == {"from", "to", "ports"} for flow in flows)


def test_the_order_of_rules_is_no_difference() -> None:
    flows = [{"from": name, "to": "shop", "ports": [80, 81]} for name in ("b", "a", "c")]
    wanted, found = (network_policies(some, METADATA, PEERS, DNS) for some in (flows, flows[::-1]))
    assert due_policies(wanted, found) == []
    fewer = network_policies(flows[1:], METADATA, PEERS, DNS)
    assert [policy["metadata"]["name"] for policy in due_policies(fewer, found)] == ["shop"]
    assert [policy["metadata"]["name"] for policy in due_policies(wanted, fewer)] == ["b", "shop"]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [([], []), (["192.0.2.2"], []), (["192.0.2.2", "192.0.2.3"], ["192.0.2.2/32", "192.0.2.3/32"])],
)
def test_what_is_on_a_nodes_own_network_comes_from_each_of_several(addresses: list[str], expected: list[str]) -> None:
    assert [peer["ipBlock"]["cidr"] for peer in node_peers(addresses)] == expected


def test_pods_of_others_reach_the_database_by_a_label() -> None:
    found = specs([{"from": "database-client", "to": "postgres", "ports": [5432]}])
    labelled = {"podSelector": {"matchLabels": {"flask-postgres-stack/database-client": "true"}}}
    assert found["postgres"]["ingress"][0]["from"] == [labelled]
    assert found["database-client"]["podSelector"] == labelled["podSelector"]
