"""What the machine, and Docker's engine, have of what a cluster takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.minikube import machine

DOCUMENTATION = r"""
name: minikube_machine
short_description: What the machine, and Docker's engine, have of what a cluster takes
options:
  _terms: {required: true, description: "C(minikube_provider) and C(minikube_driver)."}
  profile: {type: dict, required: true, description: "The profile, as the lookup C(minikube_profile) returns it."}
"""

RETURN = r"""
_raw: {type: list, elements: dict, description: "What C(read) of C(stack.minikube.machine) returns."}
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('minikube_machine', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        del variables
        provider, driver = terms
        profile = kwargs["profile"]
        return [machine.read(str(provider), str(driver), profile["driver"], str(profile["home"]))]
