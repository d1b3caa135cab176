"""What a run reads of the namespace, of an API server whose answers are given."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from stack.namespace import NoRoutesError, live, path, plural, read

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"


class Server:
    """Answers with what it was given, lists that are empty otherwise, and objects that are not there."""

    namespace = "shop"

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def get(self, path: str, seconds: float = 5) -> str:
        del seconds
        self.asked.append(path)
        answer = self.answers.get(path, {"items": []} if "/namespaces/shop/" in path or "?" in path else 404)
        if isinstance(answer, int):
            raise ApiException(status=answer)
        return json.dumps(answer)


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "managedFields": [{"manager": "x"}], **fields}}


def test_objects_are_read_by_kind_and_name_and_secrets_decoded() -> None:
    password = base64.b64encode("pässword".encode()).decode()
    server = Server(
        {
            "/api/v1/namespaces/shop": named("shop", labels={"a": "b"}),
            "/apis/apps/v1/namespaces/shop/deployments": {"items": [named("shop")]},
            "/api/v1/namespaces/shop/secrets": {
                "items": [{**named("login"), "data": {"password": password, "binary": "/u3+7Q=="}}, named("empty")]
            },
        }
    )
    found = read(server)
    assert found.objects == {
        "Deployment/shop": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    }
    assert found.secrets["login"]["password"] == "pässword"
    assert found.secrets["login"]["binary"].encode(errors="surrogateescape") == base64.b64decode("/u3+7Q==")
    assert found.secrets["empty"] == {}
    assert found.labels == {"a": "b"}
    assert found.policies == []
    assert ROUTES not in server.asked
    assert not [path for path in server.asked if "cluster" in path]


@pytest.mark.parametrize("cluster_roles", [False, True])
def test_a_namespace_that_is_not_there_has_nothing(cluster_roles: bool) -> None:
    found = read(Server({}), cluster_roles=cluster_roles)
    assert (found.labels, found.objects, found.secrets, found.policies) == ({}, {}, {}, [])


def test_an_account_of_the_namespace_alone_does_not_ask_for_it() -> None:
    server = Server({"/api/v1/namespaces/shop": 403})
    assert read(server, managed=False).labels == {}
    assert "/api/v1/namespaces/shop" not in server.asked


def test_the_cluster_roles_of_the_stack() -> None:
    query = "?labelSelector=app.kubernetes.io/part-of%3Dshop"
    server = Server(
        {
            "/api/v1/namespaces/shop": named("shop", uid="1"),
            f"/apis/rbac.authorization.k8s.io/v1/clusterroles{query}": {"items": [named("shop-prometheus")]},
        }
    )
    found = read(server, managed=False, cluster_roles=True).objects
    assert found["Namespace/shop"]["metadata"]["uid"] == "1"
    assert found["ClusterRole/shop-prometheus"]["kind"] == "ClusterRole"


@pytest.mark.parametrize("status", [403, 404])
def test_routes_that_are_wanted_and_cannot_be_read(status: int) -> None:
    with pytest.raises(NoRoutesError):
        read(Server({ROUTES: status}), routes=True)


def test_routes_of_an_earlier_run() -> None:
    service = named("shop", annotations={"flask-postgres-stack/routes": "true"})
    answers = {"/api/v1/namespaces/shop/services": {"items": [service]}, ROUTES: {"items": [named("shop")]}}
    assert "HTTPRoute/shop" in read(Server(answers)).objects
    # They went with the API, if that is gone.
    assert "HTTPRoute/shop" not in read(Server({**answers, ROUTES: 404})).objects
    with pytest.raises(NoRoutesError):
        read(Server({**answers, ROUTES: 403}))


def test_what_the_account_may_not_read_is_no_empty_list() -> None:
    with pytest.raises(ApiException):
        read(Server({"/api/v1/namespaces/shop/secrets": 403}))


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, "/api/v1/namespaces/a"),
        (
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "namespace": "b"}},
            "/apis/apps/v1/namespaces/b/daemonsets/a",
        ),
        (
            {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "a"}},
            "/apis/networking.k8s.io/v1/ingressclasses/a",
        ),
    ],
)
def test_the_path_of_an_object(definition: dict[str, Any], expected: str) -> None:
    assert path(definition) == expected
    server = Server({expected: {**definition, "found": True}})
    key = f"{definition['kind']}/a"
    assert live(server, [definition]) == {key: {**definition, "found": True}}
    assert live(Server({expected: 404}), [definition]) == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NetworkPolicy", "networkpolicies"),
        ("Ingress", "ingresses"),
        ("StorageClass", "storageclasses"),
        ("PodDisruptionBudget", "poddisruptionbudgets"),
    ],
)
def test_kinds_in_paths(kind: str, expected: str) -> None:
    assert plural(kind) == expected


def test_what_other_namespaces_publish() -> None:
    rules = {"rules": [{"host": "app.example.com", "http": {"paths": [{"path": "/"}]}}]}
    found = [named(name, namespace=name) | {"spec": rules} for name in ("shop", "other")]
    (route,) = read(Server({"/apis/networking.k8s.io/v1/ingresses": {"items": found}})).elsewhere
    assert route == {
        "host": "app.example.com",
        "path": "/",
        "controller": "",
        "place": "Ingress other of namespace other",
    }


@pytest.mark.parametrize("status", [403, 404])
def test_what_other_namespaces_publish_is_not_for_every_account(status: int) -> None:
    everywhere = {"/apis/networking.k8s.io/v1/ingresses": status, ROUTES.replace("/namespaces/shop", ""): status}
    assert read(Server({**everywhere, ROUTES: {"items": []}}), routes=True).elsewhere == []
