"""Kubernetes' quantities as numbers, to compare them by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.quantity import mebibytes, quantity

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


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"quantity": quantity, "mebibytes": mebibytes}
