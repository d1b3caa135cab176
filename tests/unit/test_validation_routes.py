"""Hosts that other namespaces publish already."""

from __future__ import annotations

from typing import Any

import pytest

from stack.validation import flask_app, pgadmin, routes

SETTINGS: dict[str, Any] = {
    "flask_app_namespace": "shop",
    "flask_app_host": "App.example.com",
    "flask_app_paths": ["/api/", "/docs"],
    "flask_app_other_paths": [{"path": "/reports", "service": "reports", "port": 80}],
    "flask_app_ingress_class": "nginx",
    "flask_app_gateway": {},
    "pgadmin_namespace": "shop",
    "pgadmin_host": "app.example.com",
    "pgadmin_path": "/pgadmin",
    "pgadmin_ingress_class": "nginx",
    "pgadmin_gateway": {},
    "pgadmin_claim": {},
}
GATEWAY = {"flask_app_gateway": {"name": "edge", "namespace": "infra", "listener": "https"}}


def ingress(path: str | None = "/", host: str | None = "app.example.com", **spec: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"host": host, "http": {"paths": [{"path": path, "backend": {}}]}}
    return {
        "kind": "Ingress",
        "metadata": {"name": "front", "namespace": "other"},
        "spec": {"ingressClassName": "nginx", "rules": [rule], **spec},
    }


def route(path: str = "/api", parent: str = "edge", **more: Any) -> dict[str, Any]:
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "front", "namespace": "other"},
        "spec": {
            "parentRefs": [{"name": parent, "namespace": "infra", **more}],
            "hostnames": ["app.example.com"],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}]}],
        },
    }


def names(objects: list[dict[str, Any]], **changes: Any) -> list[str]:
    settings = {**SETTINGS, "routes_elsewhere": routes.published(objects), **changes}
    return [problem.name for role in (flask_app, pgadmin) for problem in role.running_problems(settings)]


@pytest.mark.parametrize(
    ("found", "changes", "wrong"),
    [
        (ingress("/api"), {}, ["stack_app_host"]),
        (ingress("/reports/"), {}, ["stack_app_host"]),
        (ingress("/pgadmin"), {}, ["stack_pgadmin_host"]),
        (ingress(None), {"flask_app_paths": ["/"]}, ["stack_app_host"]),
        # The class that the cluster has by default may be this one.
        (ingress("/api", ingressClassName=None), {}, ["stack_app_host"]),
        (ingress("/api"), {"flask_app_ingress_class": ""}, ["stack_app_host"]),
        # Another controller, another path, another host.
        (ingress("/api", ingressClassName="internal"), {}, []),
        (ingress("/"), {}, []),
        (ingress("/api/data"), {}, []),
        (ingress("/api", host="b.example.com"), {}, []),
        (ingress("/api", host=None), {}, []),
        (ingress(rules=None), {}, []),
        (ingress("/api"), GATEWAY, []),
        (route(), {}, []),
        (route(), {"flask_app_ingress_class": ""}, []),
        (route(), GATEWAY, ["stack_app_host"]),
        (route("/other"), GATEWAY, []),
        (route(parent="inner"), GATEWAY, []),
        (route(namespace=None), GATEWAY, []),
        (route(), {"flask_app_gateway": {"name": "edge", "listener": "https"}}, []),
    ],
)
def test_a_host_of_another_namespace_is_refused_where_the_two_would_meet(
    found: dict[str, Any], changes: dict[str, Any], wrong: list[str]
) -> None:
    assert names([found], **changes) == wrong


def test_the_message_says_who_has_it() -> None:
    settings = {**SETTINGS, "routes_elsewhere": routes.published([ingress("/docs"), ingress("/api")])}
    (problem,) = flask_app.running_problems(settings)
    assert str(problem) == (
        "stack_app_host is App.example.com: Ingress front of namespace other publishes /docs of it already: "
        "set another host, or remove that one first"
    )


def test_autoscaling_takes_a_cluster_with_metrics() -> None:
    settings = {**SETTINGS, "routes_elsewhere": [], "flask_app_autoscaling_enabled": True}
    assert flask_app.running_problems({**settings, "lacks_metrics": False}) == []
    (problem,) = flask_app.running_problems({**settings, "lacks_metrics": True})
    assert str(problem).startswith("flask_app_autoscaling_enabled is True: it takes a cluster with the metrics API")
