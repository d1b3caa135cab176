"""What a service's own answer says of its migrations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from stack.readiness import lacks_metrics, lacks_migrations


class Server:
    """An API server that answers every path with one thing."""

    namespace = "shop"

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, path: str) -> str:
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def checks(database: str, migrations: str) -> str:
    return json.dumps({"checks": {"database": {"status": database}, "migrations": {"status": migrations}}})


def test_the_service_is_asked_through_the_api_server() -> None:
    server = Server('{"status": "ready"}')
    assert not lacks_migrations(server, "flask-app")
    assert server.asked == ["/api/v1/namespaces/shop/services/flask-app:http/proxy/readyz"]


@pytest.mark.parametrize(
    ("status", "body", "lacks"),
    [
        (503, checks("ok", "failed"), True),
        (503, checks("failed", "unknown"), False),
        # A service of somebody else's, by the contract's status alone.
        (503, "not ready", True),
        (503, '["migrations"]', True),
        (503, '{"migrated": false}', True),
        (503, '{"checks": "two of three"}', True),
        # The API server's own answers.
        (503, '{"kind": "Status", "message": "no endpoints available"}', False),
        (403, '{"kind": "Status", "reason": "Forbidden"}', False),
        (404, '{"kind": "Status", "reason": "NotFound"}', False),
        (500, "a fault of the service", False),
    ],
)
def test_what_an_answer_says(status: int, body: str, lacks: bool) -> None:
    assert lacks_migrations(Server(ApiException(status=status, body=body)), "flask-app") is lacks


@pytest.mark.parametrize("error", [OSError("connection refused"), ValueError("no answer")])
def test_without_an_answer_nothing_is_known(error: Any) -> None:
    assert not lacks_migrations(Server(error), "flask-app")


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        ('{"kind": "APIResourceList"}', False),
        (ApiException(status=404), True),
        # It is registered, and its server starts; the account may not see it; nobody answers.
        (ApiException(status=503), False),
        (ApiException(status=403), False),
        (OSError("timed out"), False),
    ],
)
def test_a_cluster_without_metrics(answer: str | Exception, lacks: bool) -> None:
    server = Server(answer)
    assert lacks_metrics(server) is lacks
    assert server.asked == ["/apis/metrics.k8s.io/v1beta1"]
