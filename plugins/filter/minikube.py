"""What is to be known of minikube before and after a start."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.minikube import arguments, kubelet, secrets, status

DOCUMENTATION = r"""
name: minikube_down
short_description: Decisions of the role minikube, by the functions of C(stack.minikube)
description:
  - C(minikube_down) - a line for each part of the cluster that needs a start, from a registered C(minikube status).
  - C(minikube_arguments) - the arguments of C(minikube start) for an installed minikube, from the role's settings.
  - C(minikube_notes) - what a run says of settings that are not what the cluster has.
  - C(is_kubelet_verified) - whether the kubelet's certificate is of an authority, for an address, and lasts.
  - C(as_stubs) - Secrets by name alone, to have the API server write each again.
options:
  _input: {type: raw, required: true, description: "See above."}
"""

RETURN = r"""
_value: {type: raw, description: "See above."}
"""


def down(result: dict[str, Any]) -> list[str]:
    return status.down(str(result.get("stdout") or ""), int(result.get("rc") or 0))


def is_kubelet_verified(shown: str, authority: str, address: str) -> bool:
    return kubelet.is_verified(authority, shown, address, datetime.datetime.now(datetime.UTC))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "minikube_down": down,
            "minikube_arguments": arguments.installed,
            "minikube_notes": arguments.notes,
            "is_kubelet_verified": is_kubelet_verified,
            "as_stubs": secrets.as_stubs,
        }
