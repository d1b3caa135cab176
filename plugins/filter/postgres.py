"""What the database's roles compute, by the functions of C(stack.postgres)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.postgres import parameters
from stack.quantity import mebibytes

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


def wanted_parameters(
    given: dict[str, Any], memory: str, storage: str, defaults: dict[str, Any], own: dict[str, Any]
) -> dict[str, str]:
    return parameters.wanted(given, defaults, own, mebibytes(memory), mebibytes(storage))


def parameters_not_in_force(values: dict[str, str], answer: str) -> list[str]:
    # A pod that starts anew does not answer.
    return parameters.not_in_force(values, json.loads(answer)) if answer.strip() else ["it does not answer"]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "wanted_parameters": wanted_parameters,
            "restart_parameters": parameters.restarting,
            "refused_parameters": parameters.refused,
            "parameters_not_in_force": parameters_not_in_force,
        }
