"""Routes to the service and to pgAdmin, which may share a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stack.validation import Problem, Settings

# Before the name of a Gateway, which is no class of an Ingress.
GATEWAY = "Gateway "
# What leads to the same controller: only there do routes meet.
PLACE = ("namespace", "gateway", "ingress_class", "host")


def hidden(settings: Settings) -> Iterator[Problem]:
    """Paths that two routes of one host have in common, so that one of them never gets a request.

    A longer prefix goes before a shorter one with every controller
    (https://kubernetes.io/docs/concepts/services-networking/ingress/#multiple-matches), so equal ones alone hide
    each other.
    """
    names = [f"{role}_{part}" for role in ("flask_app", "pgadmin") for part in PLACE]
    if not {*names, "pgadmin_path"} <= set(settings):
        return
    if any(settings[f"flask_app_{part}"] != settings[f"pgadmin_{part}"] for part in PLACE):
        return
    others = settings.get("flask_app_other_paths", [])
    taken = {
        **{prefix(other["path"]): "flask_app_other_paths" for other in others},
        **{prefix(path): "flask_app_paths" for path in settings.get("flask_app_paths", [])},
    }
    path = settings["pgadmin_path"]
    if prefix(path) in taken:
        wanted = (
            f"it takes another path than those of {taken[prefix(path)]} where stack_pgadmin_host is stack_app_host "
            f"({settings['pgadmin_host']}), such as /pgadmin; or set another stack_pgadmin_host"
        )
        yield Problem("pgadmin_path", wanted, path)


def published(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What Ingresses and HTTPRoutes publish.

    Returns:
        For each path: ``host``, ``path``, ``controller``, the class of an Ingress or the Gateway of an HTTPRoute, empty
        for the class that the cluster has by default, and ``place``, the object in words.
    """
    found = []
    for each in objects:
        metadata, spec = each["metadata"], each.get("spec") or {}
        place = f"{each['kind']} {metadata['name']} of namespace {metadata['namespace']}"
        for controller, host, path in (
            _ingress(spec) if each["kind"] == "Ingress" else _route(spec, metadata["namespace"])
        ):
            found.append({"host": host.lower(), "path": path, "controller": controller, "place": place})
    return found


def _ingress(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield spec.get("ingressClassName") or "", rule.get("host") or "", path.get("path") or "/"


def _route(spec: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, str, str]]:
    paths = [
        (match.get("path") or {}).get("value") or "/"
        for rule in spec.get("rules") or []
        for match in rule.get("matches") or [{}]
    ]
    for parent in spec.get("parentRefs") or []:
        controller = GATEWAY + f"{parent.get('namespace') or namespace}/{parent['name']}"
        for host in spec.get("hostnames") or []:
            yield from ((controller, host, path) for path in paths)


def taken(settings: Settings, role: str, name: str, paths: Iterable[str]) -> Iterator[Problem]:
    """A host whose paths another namespace publishes already: of two, one never gets a request.

    Args:
        settings: The settings, and the fact ``routes_elsewhere``, as `published` returns it.
        role: The role that publishes the host, as the prefix of its settings.
        name: The setting of the host, as people set it.
        paths: The paths that it publishes.
    """
    gateway, wanted = settings[f"{role}_gateway"], {prefix(path) for path in paths}
    own = settings[f"{role}_ingress_class"]
    if gateway:
        own = GATEWAY + f"{gateway.get('namespace') or settings[f'{role}_namespace']}/{gateway['name']}"
    for route in settings["routes_elsewhere"]:
        other = route["controller"]
        # Without a class, it is that of the cluster, which may be the other one.
        meets = other == own or ("" in (own, other) and not (own + other).startswith(GATEWAY))
        if meets and route["host"] == settings[f"{role}_host"].lower() and prefix(route["path"]) in wanted:
            said = (
                f"{route['place']} publishes {route['path']} of it already: set another host, or remove that one first"
            )
            yield Problem(name, said, settings[f"{role}_host"])
            return


def repeated(paths: list[str]) -> list[str]:
    """Paths that stand more than once, as an Ingress compares prefixes."""
    prefixes = [prefix(path) for path in paths]
    return [path for number, path in enumerate(paths) if prefixes.index(prefix(path)) < number]


def prefix(path: Any) -> str:
    """A prefix as it is compared: by whole elements, without a slash at the end."""
    return str(path).rstrip("/")
