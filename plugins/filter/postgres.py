"""What the database's roles compute, by the functions of C(stack.postgres)."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

DOCUMENTATION = r"""
name: wanted_parameters
short_description: All parameters of PostgreSQL, by name, as they are written into Patroni's configuration
options:
  _input: {type: dict, required: true, description: "What the stack's user set, in any case."}
  memory: {type: str, required: true, description: "The limit of an instance's memory, as a quantity of Kubernetes."}
  storage: {type: str, required: true, description: "The size of an instance's volume, as a quantity of Kubernetes."}
  defaults: {type: dict, required: true, description: "What counts where the user set nothing."}
  own: {type: dict, required: true, description: "What the role sets and nobody else may."}
"""

RETURN = r"""
_value: {type: dict, description: "Text by name, in lower case."}
"""


# The functions by the names of their filters. Every task loads every filter in a process of its own, few need these.
FUNCTIONS = {
    "backup_labels": "backups.labels",
    "backup_lines": "backups.lines",
    "backup_queue_mib": "backups.queue_mib",
    "backup_secret": "backups.secret",
    "database_secret": "passwords.database_secret",
    "declared_objects": "declared.wanted",
    "declared_packages": "declared.packages",
    "declared_pools": "declared.pools",
    "extension_libraries": "declared.libraries",
    "extension_parameters": "declared.parameters",
    "first_backup": "backups.first",
    "former_logins": "logins.former",
    "found_claim": "instances.claim",
    "found_logins": "logins.found",
    "instance_spread": "instances.spread",
    "last_may_leave": "instances.last_may_leave",
    "login_note": "passwords.login_note",
    "login_secret": "passwords.login_secret",
    "login_secrets": "declared.login_secrets",
    "logins_with_password": "declared.with_password",
    "noted_repository": "backups.noted_repository",
    "parameters_not_in_force": "parameters.not_in_force",
    "refused_parameters": "parameters.refused",
    "removed_packages": "declared.removed",
    "restore_test_lines": "backups.restore_test_lines",
    "restart_parameters": "parameters.restarting",
    "restore_arguments": "backups.restore_arguments",
    "restore_problems": "backups.restore_problems",
    "service_login": "passwords.service_login",
    "stale_login_secrets": "declared.stale_secrets",
    "unavailable_extensions": "declared.unavailable",
    "wanted_parameters": "parameters.wanted",
    "without_certificate": "logins.without_certificate",
}


class Function:
    """A function of a module that is loaded when it is called."""

    def __init__(self, name: str) -> None:
        self.module, _, self.name = name.partition(".")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(f"stack.postgres.{self.module}"), self.name)(*args, **kwargs)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {name: Function(function) for name, function in FUNCTIONS.items()}
