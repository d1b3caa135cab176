"""Routes to the service and to pgAdmin, which may share a host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stack.validation import Problem, Settings

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


def repeated(paths: list[str]) -> list[str]:
    """Paths that stand more than once, as an Ingress compares prefixes."""
    prefixes = [prefix(path) for path in paths]
    return [path for number, path in enumerate(paths) if prefixes.index(prefix(path)) < number]


def prefix(path: Any) -> str:
    """A prefix as it is compared: by whole elements, without a slash at the end."""
    return str(path).rstrip("/")
