"""What the roles compute of their settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.accounts import account_secret, oauth2_ports, oauth2_secret, token_secret, users_secret
from stack.alerting import alert_ports, alertmanager_configuration
from stack.alerts import changed_rules
from stack.recipes import kubernetes_recipes
from stack.vault import without_value

DOCUMENTATION = r"""
name: without_value
short_description: The names that have no value, or an empty one
options:
  _input: {type: list, elements: str, required: true, description: "Names."}
  values: {type: dict, required: true, description: "Values by name."}
"""

RETURN = r"""
_value: {type: list, elements: str, description: "The names without a value, in their order."}
"""

FILTERS = (
    account_secret,
    alert_ports,
    alertmanager_configuration,
    changed_rules,
    kubernetes_recipes,
    oauth2_ports,
    oauth2_secret,
    token_secret,
    users_secret,
    without_value,
)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {function.__name__: function for function in FILTERS}
