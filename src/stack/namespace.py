"""What the namespace of the stack has, as a run reads it before it changes anything."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from kubernetes.client.exceptions import ApiException

from stack.objects import Object, by_name, name_of, secret_values
from stack.validation.routes import published

# Left on a Service that routes lead to, so that a later run without them knows that there are some to remove.
ROUTES = "flask-postgres-stack/routes"
# The policies of the stack among those of the namespace.
POLICIES = "app.kubernetes.io/name=network-policies"
GATEWAY = "gateway.networking.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"
KINDS = {
    "v1": ("ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount"),
    "apps/v1": ("ControllerRevision", "Deployment", "ReplicaSet", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("Ingress",),
    "policy/v1": ("PodDisruptionBudget",),
    RBAC: ("Role", "RoleBinding"),
}
# The longest that the API server may take for an answer, in seconds: a cluster that has just started takes its time.
SECONDS = 30


class Server(Protocol):
    """The part of `stack.cluster.Cluster` that reading takes."""

    namespace: str

    def get(self, path: str, seconds: float = ...) -> str:
        """The body that a path of the API server answers with."""


class NoRoutesError(Exception):
    """The cluster has no HTTPRoutes, or the account may not read them."""


@dataclasses.dataclass(frozen=True)
class Namespace:
    """What a namespace has.

    Args:
        labels: The labels of the namespace itself; none where it is not there, or is not read.
        objects: Its objects by ``Kind/name``, but for Secrets and policies.
        secrets: The decoded values of its Secrets by name.
        policies: The network policies of the stack.
        elsewhere: What other namespaces publish, as `stack.validation.routes.published` has it; nothing where the
            account may not see that.
    """

    labels: dict[str, str]
    objects: dict[str, Object]
    secrets: dict[str, dict[str, str]]
    policies: list[Object]
    elsewhere: list[dict[str, str]]


def read(server: Server, *, managed: bool = True, routes: bool = False, cluster_roles: bool = False) -> Namespace:
    """Read what the namespace has.

    Args:
        server: The API server.
        managed: Whether to read the namespace itself, which an account of the namespace alone may not.
        routes: Whether HTTPRoutes have to be there.
        cluster_roles: Whether to read the ClusterRoles of the stack as well.

    Raises:
        NoRoutesError: There are to be HTTPRoutes, and they cannot be read.
        ApiException: The API server does not let the account read something else.
    """
    found = _one(server, f"/api/v1/namespaces/{server.namespace}") if managed or cluster_roles else {}
    objects: dict[str, Object] = {}
    for api_version, kinds in KINDS.items():
        for kind in kinds:
            objects |= by_name(_items(server, api_version, kind))
    if cluster_roles:
        objects |= {f"Namespace/{server.namespace}": found} if found else {}
        label = quote(f"app.kubernetes.io/part-of={server.namespace}")
        for kind in ("ClusterRole", "ClusterRoleBinding"):
            objects |= by_name(_listed(server, f"{base_path(RBAC)}/{plural(kind)}?labelSelector={label}", RBAC, kind))
    if routes or has_routes(objects):
        objects |= by_name(_routes(server, wanted=routes))
    secrets = {secret["metadata"]["name"]: secret_values(secret) for secret in _items(server, "v1", "Secret")}
    policies = _items(server, "networking.k8s.io/v1", "NetworkPolicy", f"?labelSelector={quote(POLICIES)}")
    labels = (found.get("metadata") or {}).get("labels") or {}
    return Namespace(labels if managed else {}, objects, secrets, policies, _elsewhere(server, routes=routes))


def _elsewhere(server: Server, *, routes: bool) -> list[dict[str, str]]:
    """What other namespaces publish by Ingresses, and by HTTPRoutes where there have to be some."""
    found: list[Object] = []
    for api_version, kind in (("networking.k8s.io/v1", "Ingress"), (GATEWAY, "HTTPRoute"))[: 1 + routes]:
        # An account of one namespace may not list what others have.
        with suppress(ApiException):
            found += _listed(server, f"{base_path(api_version)}/{plural(kind)}", api_version, kind)
    return published(each for each in found if each["metadata"]["namespace"] != server.namespace)


def live(server: Server, definitions: list[Object]) -> dict[str, Object]:
    """The objects of definitions that the cluster has, by ``Kind/name``.

    Raises:
        ApiException: The API server does not let the account read one of them.
    """
    found = {name_of(wanted): _one(server, path(wanted)) for wanted in definitions}
    return {name: value for name, value in found.items() if value}


def has_routes(objects: dict[str, Object]) -> bool:
    """Whether an earlier run has led routes to a Service."""
    return any(ROUTES in (found["metadata"].get("annotations") or {}) for found in objects.values())


def path(definition: Object) -> str:
    """The path of an object at the API server, by its definition.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
    """
    metadata = definition["metadata"]
    namespace = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
    return f"{base_path(definition['apiVersion'])}{namespace}/{plural(definition['kind'])}/{metadata['name']}"


def base_path(api_version: str) -> str:
    """The path of an API: those of the core group lie apart."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def plural(kind: str) -> str:
    """The name of a kind in paths, as Kubernetes names its own kinds."""
    word = kind.lower()
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("s") else "s")


def _items(server: Server, api_version: str, kind: str, query: str = "") -> list[Object]:
    where = f"{base_path(api_version)}/namespaces/{server.namespace}/{plural(kind)}{query}"
    return _listed(server, where, api_version, kind)


def _listed(server: Server, where: str, api_version: str, kind: str) -> list[Object]:
    """The objects of a list, each with its kind, which only the list has."""
    items: list[Object] = json.loads(server.get(where, SECONDS)).get("items") or []
    return [_without_managers({"apiVersion": api_version, "kind": kind, **found}) for found in items]


def _one(server: Server, where: str) -> Object:
    """One object, or nothing where it is not there."""
    try:
        found: Object = json.loads(server.get(where, SECONDS))
    except ApiException as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return {}
        raise
    return _without_managers(found)


def _without_managers(found: Object) -> Object:
    """An object without the record of who has applied which field, which is long, and which nothing here reads."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return {**found, "metadata": metadata}


def _routes(server: Server, *, wanted: bool) -> list[Object]:
    try:
        return _items(server, GATEWAY, "HTTPRoute")
    except ApiException as error:
        # Without the API, and none wanted, those of an earlier run went with it.
        if error.status == HTTPStatus.NOT_FOUND and not wanted:
            return []
        raise NoRoutesError from error
