"""Whether a service that runs waits for its migrations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import Cluster
from stack.readiness import lacks_migrations

DOCUMENTATION = r"""
name: lacks_migrations
short_description: Whether a service that runs waits for its migrations
description:
  - Asks C(/readyz) of a Service through the API server. Where no answer of the service comes back, nothing is known.
options:
  _terms: {required: true, description: "The name of the Service, whose port is called C(http)."}
  namespace: {type: str, required: true, description: "Its namespace."}
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
"""

RETURN = r"""
_raw: {type: list, elements: bool, description: "Whether it answers that it is not ready."}
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('lacks_migrations', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[bool]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            cluster = Cluster(*(self.get_option(name) for name in ("kubeconfig", "context", "namespace")))
        except ConfigException:
            return [False for _ in terms]
        return [lacks_migrations(cluster, service) for service in terms]
