"""What a new cluster has to get of the Secrets of the one before it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.minikube import secrets

DOCUMENTATION = r"""
name: minikube_kept
short_description: What a new cluster has to get of the Secrets of the one before it
options:
  _terms: {required: true, description: "The file that keeps them."}
  cluster: {type: str, required: true, description: "The UID of the running cluster's namespace kube-system."}
"""

RETURN = r"""
_raw: {type: list, elements: dict, description: "Namespaces and Secrets to apply; none without the file."}
"""


class LookupModule(LookupBase):
    """Entry point for ``query('minikube_kept', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        del variables
        try:
            return [due for file in terms for due in secrets.due(secrets.read(Path(file)), kwargs["cluster"])]
        except secrets.KeptError as error:
            raise AnsibleLookupError(str(error)) from error
