"""Whether a service that runs waits for its migrations, and a cluster has what autoscaling takes."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Protocol

from kubernetes.client.exceptions import ApiException

from stack.cluster import READ_ERRORS

# https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
METRICS = "/apis/metrics.k8s.io/v1beta1"


class Server(Protocol):
    """The part of `stack.cluster.Cluster` that asking takes."""

    namespace: str

    def get(self, path: str) -> str:
        """The body that a path of the API server answers with."""


def lacks_migrations(server: Server, service: str) -> bool:
    """Whether a service answers itself, at ``/readyz``, that it is not ready, and not for want of the database.

    It is asked through the API server (https://kubernetes.io/docs/concepts/cluster-administration/proxies/). Where that
    does not get through, for want of a right, a pod or a way, nothing is known, and the answer is no.

    Args:
        server: The API server.
        service: The name of the Service, whose port is called ``http``.
    """
    try:
        server.get(f"/api/v1/namespaces/{server.namespace}/services/{service}:http/proxy/readyz")
    except ApiException as error:
        return error.status == HTTPStatus.SERVICE_UNAVAILABLE and _is_migration(str(error.body))
    except READ_ERRORS:
        pass
    return False


def lacks_metrics(server: Server) -> bool:
    """Whether nothing serves the metrics API, by which an autoscaler counts: without it, it never changes anything.

    One that is registered and does not answer yet counts as there, as does one that the account may not see.
    """
    try:
        server.get(METRICS)
    except ApiException as error:
        return bool(error.status == HTTPStatus.NOT_FOUND)
    except READ_ERRORS:
        pass
    return False


def _is_migration(body: str) -> bool:
    """Whether the body of a 503 comes from the service, and tells of no other cause.

    The API server answers with a ``Status`` where it does not reach the service. The service of this project says which
    of its checks have failed; of another one it is not known what is lacking.
    """
    try:
        document: Any = json.loads(body)
    except ValueError:
        return True
    if not isinstance(document, dict):
        return True
    if document.get("kind") == "Status":
        return False
    checks = document.get("checks")
    if not isinstance(checks, dict) or "migrations" not in checks:
        return True
    return isinstance(checks["migrations"], dict) and checks["migrations"].get("status") == "failed"
