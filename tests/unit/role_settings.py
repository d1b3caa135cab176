"""The settings of a role as a run gives them to its validation."""

from __future__ import annotations

import importlib
from typing import Any

import jinja2
import yaml

from stack.validation import specs

TEMPLATES = jinja2.Environment(autoescape=True)
TEMPLATES.filters["bool"] = bool
STACK = {
    "stack_namespace": "flask-postgres",
    "stack_kubeconfig": "/root/.kube/config",
    "stack_context": "minikube",
    "stack_app_host": "app.example.com",
    "stack_pgadmin_host": "pgadmin.example.com",
    "stack_ca_file": "ca.crt",
    "stack_storage_class": "standard",
    "stack_ingress_class": "nginx",
    "stack_image_repository": "",
}


def written(role: str) -> dict[str, Any]:
    """What ``defaults/main.yml`` has, as it is written."""
    found: dict[str, Any] = yaml.safe_load((specs.ROLES / role / "defaults" / "main.yml").read_text())
    return found


def defaults(role: str) -> dict[str, Any]:
    """What ``defaults/main.yml`` has, with the stack's settings in; what is computed otherwise is left out."""
    found = written(role)
    given: dict[str, Any] = {}
    for name, value in found.items():
        text = value.removeprefix("{{ ").removesuffix(" }}") if isinstance(value, str) else ""
        if text in STACK:
            given[name] = STACK[text]
        elif isinstance(value, dict):
            given[name] = rendered(value)
        elif "{{" not in str(value):
            given[name] = value
    return given


def rendered(value: Any) -> Any:
    """A value as it is on a cluster that is not small."""
    if isinstance(value, dict):
        return {key: rendered(part) for key, part in value.items()}
    return TEMPLATES.from_string(value).render() if isinstance(value, str) else value


def complaints(role: str, settings: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a role's settings, by the name of the setting."""
    problems = importlib.import_module(f"stack.validation.{role}").problems(settings)
    return {problem.name.split()[0]: str(problem) for problem in problems}
