"""Kubernetes' quantities as numbers, to compare them by."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
name: quantity
short_description: A quantity of Kubernetes, such as C(5Gi), as a number
options:
  _input:
    description: "The quantity: U(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."
    type: str
    required: true
"""

RETURN = r"""
_value: {type: float, description: "How many bytes, or of whatever is counted."}
"""


def quantity(text: str) -> float:
    # Ansible loads every filter in the process of every task, and the client takes a third of a second.
    from kubernetes.utils.quantity import parse_quantity

    return float(parse_quantity(text))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"quantity": quantity}
