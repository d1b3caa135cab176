"""What a cluster has of manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.objects import documents

DOCUMENTATION = r"""
name: live_objects
short_description: What a cluster has of manifests
description:
  - Asks by the lookup C(kubernetes.core.k8s) for each of them; a module would load the client anew for each.
options:
  _terms: {required: true, description: "Manifests, each as the documents of a YAML text."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
"""

RETURN = r"""
_raw: {type: list, elements: dict, description: "The objects by C(Kind/name)."}
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('live_objects', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        objects = {}
        for wanted in (document for term in terms for document in documents(term)):
            meta = wanted["metadata"]
            named = {"api_version": wanted["apiVersion"], "kind": wanted["kind"], "resource_name": meta["name"]}
            lookup = lookup_loader.get("kubernetes.core.k8s", loader=self._loader, templar=self._templar)
            for found in lookup.run([], variables, **named, namespace=meta.get("namespace"), **kwargs):
                objects[f"{wanted['kind']}/{meta['name']}"] = found
        return [objects]
