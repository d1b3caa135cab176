"""Logins of the database, and the clients that use them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

# Which login the pods of the service use, noted on its Deployments by the role flask_app.
LOGIN_ANNOTATION = "flask-postgres-stack/login"

# Those of the service and its workers, by ``Kind/name``.
DEPLOYMENTS = re.compile(r"Deployment/flask-app(-worker-.+)?")

Object = Mapping[str, Any]


# The Secret and its key that have each login, by the setting that names the login.
PLACES = {
    "postgres_user": ("postgres-secret", "POSTGRES_USER"),
    "postgres_app_user": ("flask-app-db", "DB_USER"),
    "postgres_console_user": ("pgadmin-db", "DB_USER"),
    "postgres_monitoring_user": ("prometheus-db", "DB_USER"),
}


def found(secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The logins that a database has already, by the setting that names each; empty for one that it has not.

    Args:
        secrets: The namespace's Secrets by name, decoded.
    """
    return {setting: secrets.get(secret, {}).get(key, "") for setting, (secret, key) in PLACES.items()}


def former(secrets: Mapping[str, Mapping[str, str]], objects: Mapping[str, Object], users: list[str]) -> dict[str, str]:
    """The passwords of logins that the service had before the one in its Secret, and that a pod may still use.

    There is one where a rotation was broken off: a Deployment of the service says that not all of its pods are rolled
    out with the login of the Secret.

    Args:
        secrets: The namespace's Secrets by name, decoded.
        objects: The namespace's objects by ``Kind/name``.
        users: The two logins of the service.
    """
    login = secrets.get("flask-app-db", {}).get("DB_USER", "")
    if all(is_rolled_out(found, login) for name, found in objects.items() if DEPLOYMENTS.fullmatch(name)):
        return {}
    known = json.loads(secrets.get("postgres-patroni", {}).get("roles.json") or "{}")
    return {
        role["name"]: role["password"]
        for role in known.get("roles", [])
        if role["name"] in users and role["name"] != login and role.get("password")
    }


def is_rolled_out(deployment: Object, login: str) -> bool:
    """Whether every pod of the service uses a login; also where nobody has noted which one they use."""
    used = (deployment["metadata"].get("annotations") or {}).get(LOGIN_ANNOTATION)
    status = deployment.get("status") or {}
    replicas = (deployment.get("spec") or {}).get("replicas", 0)
    return used is None or (
        used == login
        and status.get("observedGeneration", 0) == deployment["metadata"].get("generation")
        and status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
    )


def without_certificate(pods: Iterable[Object], wanted: bool) -> list[Object]:
    """Clients that have no certificate where one is wanted, or have one where none is.

    Args:
        pods: Pods of the service, its migrations and the console.
        wanted: Whether PostgreSQL is to ask for certificates.
    """
    return [
        pod
        for pod in pods
        if any(volume["name"] == "client-certificate" for volume in pod["spec"].get("volumes", [])) != wanted
    ]
