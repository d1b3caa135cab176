"""What the API server, the kubelet and registries take."""

from __future__ import annotations

from typing import Any

import pytest

from stack.quantity import quantity
from stack.validation import kubernetes


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("100m", 0.1),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5),
        (2, 2),
        (0.25, 0.25),
        ("1k", 1e3),
        ("1e3", 1e3),
        ("1E3", 1e3),
        ("12E", 12e18),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("-1Mi", -(2**20)),
        ("+3u", 3e-6),
        ("7n", 7e-9),
    ],
)
def test_quantity(text: str | float, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


@pytest.mark.parametrize(
    "text", ["", "1 GB", "1GB", "1K", "1ki", "five", "1.2.3", "Gi", "1e", "0x10", "1_000", "1Gi\n", True]
)
def test_no_quantity(text: Any) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


@pytest.mark.parametrize("value", ["1Gi", "1", "500M", "1e9"])
def test_storage_is_taken(value: str) -> None:
    assert kubernetes.storage(value) is None


@pytest.mark.parametrize("value", ["0", "-1Gi", "500m", "1 GB", "", "five", None])
def test_storage_is_refused(value: Any) -> None:
    assert kubernetes.storage(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"limits": {"memory": "256Mi"}},
        {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": 1, "memory": "1Gi", "ephemeral-storage": "1Gi"},
        },
        {"requests": {"cpu": 0.5}, "limits": {"cpu": "500m"}},
        {"limits": {"hugepages-2Mi": "4Mi", "example.com/gpu": 1, "memory": "1Gi"}},
    ],
)
def test_resources_are_taken(value: dict[str, Any]) -> None:
    assert kubernetes.resources(value) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("large", "not a mapping"),
        ({"limit": {"memory": "1Gi"}}, "there is no limit"),
        ({"limits": "1Gi"}, "limits is a mapping"),
        ({"limits": {"ram": "1Gi"}}, "there is no resource ram"),
        ({"limits": {"memory": "1 GB"}}, "limits.memory 1 GB is no quantity"),
        ({"limits": {"cpu": True}}, "no quantity"),
        ({"requests": {"cpu": "-1"}}, "requests.cpu -1 is below 0"),
        ({"limits": {"memory": "512m"}}, "less than a container needs"),
        ({"requests": {"cpu": 2}, "limits": {"cpu": "500m"}}, "requests.cpu 2 is above limits.cpu 500m"),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}, "is above"),
    ],
)
def test_resources_are_refused_with_their_reason(value: Any, reason: str) -> None:
    assert reason in str(kubernetes.resources(value))


def test_all_that_is_wrong_with_resources_is_said_at_once() -> None:
    said = kubernetes.resources({"limits": {"ram": 1, "cpu": "x"}, "request": {}})
    assert all(part in str(said) for part in ("ram", "cpu", "request"))


@pytest.mark.parametrize(
    "value", [{}, {"a": ""}, {"app.kubernetes.io/name": "shop"}, {"grafana_dashboard": "1"}, {"a": "x" * 63}]
)
def test_labels_are_taken(value: dict[str, str]) -> None:
    assert kubernetes.labels(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        {"a": True},
        {"a": None},
        {"a": "x y"},
        {"a": "x" * 64},
        {"a": "-x"},
        {"": "x"},
        {"A/b/c": "x"},
        {1: "x"},
        "a=b",
    ],
)
def test_labels_are_refused(value: Any) -> None:
    assert kubernetes.labels(value)


@pytest.mark.parametrize(
    "value",
    [
        "shop",
        "shop:1.2",
        "team/shop",
        "localhost/library/python:3.13-slim-trixie",
        "localhost:5000/shop:1",
        "registry.example.com/team/shop@sha256:" + "0" * 64,
        "Registry.example.com/a__b:X",
    ],
)
def test_image_is_taken(value: str) -> None:
    assert kubernetes.image(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "No Image",
        "Shop",
        "shop:",
        "shop:-1",
        "shop:" + "a" * 129,
        "shop@sha256:0",
        "a" * 256,
        "https://x.example/shop",
        "shop\n",
        4,
    ],
)
def test_image_is_refused(value: Any) -> None:
    assert kubernetes.image(value)


def test_repository() -> None:
    for value in ("team", "registry.example.com/team", "localhost:5000", "registry.example.com:443/a/b"):
        assert kubernetes.repository(value) is None
    for value in ("", "/team", "team/", "https://registry.example.com", "registry.example.com/team:1", "Team/Shop"):
        assert kubernetes.repository(value)


@pytest.mark.parametrize("value", ["/", "/api", "/api/", "/api/v1.0", "/a:b@c", "/~x"])
def test_path_is_taken(value: str) -> None:
    assert kubernetes.path(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "api",
        "//",
        "/a//b",
        "/../a",
        "/a/..",
        "/a/./b",
        "/a b",
        "/a%2fb",
        "/a#b",
        "/a?b",
        "/ä",
        "/a`b",
        "/" + "a" * 1024,
        1,
    ],
)
def test_path_is_refused(value: Any) -> None:
    assert kubernetes.path(value)


@pytest.mark.parametrize("value", [{}, {"LOG_LEVEL": "DEBUG"}, {"a.b-c": 1, "_D": 0.5, "E": True, "F": ""}])
def test_variables_are_taken(value: dict[str, Any]) -> None:
    assert kubernetes.variables(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"1A": "x"},
        {"A B": "x"},
        {"A=B": "x"},
        {"": "x"},
        {"..A": "x"},
        {1: "x"},
        {"A": None},
        {"A": ["x"]},
        {"A": {"b": 1}},
        {"A": "x\x00"},
        {"Ä": "x"},
        {"A" * 254: "x"},
        "A=b",
    ],
)
def test_variables_are_refused(value: Any) -> None:
    assert kubernetes.variables(value)


def test_values_of_variables_are_not_repeated() -> None:
    assert "hunter2" not in str(kubernetes.variables({"A": ["hunter2"]}))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "shared", "listener": "https"},
        {"name": "a.b", "namespace": "gateways", "listener": "s", "http_listener": "h"},
    ],
)
def test_gateway_is_taken(value: dict[str, str]) -> None:
    assert kubernetes.gateway(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "shared",
        {"name": "shared"},
        {"listener": "https"},
        {"name": "shared", "listener": "HTTPS"},
        {"name": "shared", "listener": "https", "sectionName": "http"},
        {"name": "", "listener": "https"},
        {"name": "shared", "listener": "https", "http_listener": "https"},
        {"name": 4711, "listener": "https"},
        {"name": "shared", "namespace": "a.b", "listener": "https"},
    ],
)
def test_gateway_is_refused(value: Any) -> None:
    assert kubernetes.gateway(value)


PEER = {"ipBlock": {"cidr": "203.0.113.0/24"}}


@pytest.mark.parametrize(
    "value",
    [
        [],
        [PEER],
        [{"namespaceSelector": {}}],
        [{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}],
        [
            {
                "namespaceSelector": {"matchExpressions": [{"key": "a/b", "operator": "In", "values": ["x"]}]},
                "podSelector": {},
            }
        ],
        [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}], "matchLabels": {"app": "shop"}}}],
    ],
)
def test_peers_are_taken(value: list[Any]) -> None:
    assert kubernetes.peers(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "everybody",
        [{}],
        [None],
        [{"ipBlock": {}}],
        [{"ipBlock": {"cidr": "203.0.113.7"}}],
        [{"ipBlock": {"cidr": "203.0.113.0/33"}}],
        [{**PEER, "podSelector": {}}],
        [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["10.0.0.0/8"]}}],
        [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.0/24"]}}],
        [{"ports": [443]}],
        [{"podSelector": "shop"}],
        [{"podSelector": {"matchLabels": {"app": 1}}}],
        [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}],
        [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}],
    ],
)
def test_peers_are_refused(value: Any) -> None:
    assert kubernetes.peers(value)
