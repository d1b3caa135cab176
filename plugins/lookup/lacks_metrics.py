"""Whether a cluster has no metrics API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import Cluster
from stack.readiness import lacks_metrics

DOCUMENTATION = r"""
name: lacks_metrics
short_description: Whether a cluster has no metrics API
description:
  - Asks the API server of the contexts for C(metrics.k8s.io), which metrics-server serves. Where there is no answer,
    nothing is known.
options:
  _terms: {required: true, description: "The kubeconfig's contexts."}
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
"""

RETURN = r"""
_raw: {type: list, elements: bool, description: "Whether there is none."}
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('lacks_metrics', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[bool]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            clusters = [Cluster(self.get_option("kubeconfig"), context, "") for context in terms]
        except ConfigException:
            return [False for _ in terms]
        return [lacks_metrics(cluster) for cluster in clusters]
