"""Read what the stack's namespace has."""

from __future__ import annotations

import dataclasses
import sys
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.cluster import reason
from stack.namespace import NoRoutesError, read

DOCUMENTATION = r"""
name: read_namespace
short_description: Read what the stack's namespace has
description:
  - Reads its objects, its Secrets and its network policies, and fails with a line that says why it cannot.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  managed: {type: bool, required: true, description: "Whether to read the namespace itself as well."}
  routes: {type: bool, required: true, description: "Whether HTTPRoutes have to be there."}
  cluster_roles: {type: bool, required: true, description: "Whether to read the stack's ClusterRoles as well."}
"""

RETURN = r"""
labels: {type: dict, description: "The labels of the namespace."}
objects: {type: dict, description: "Its objects by C(Kind/name), without Secrets and policies."}
secrets: {type: dict, description: "The decoded values of its Secrets by name; no log has them."}
policies: {type: list, elements: dict, description: "The stack's network policies."}
elsewhere:
  type: list
  elements: dict
  description: "What other namespaces publish: C(host), C(path), C(controller) and C(place)."
"""


class ActionModule(ClusterAction):
    """Entry point for ``read_namespace`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {
        name: {"type": "bool", "required": True} for name in ("managed", "routes", "cluster_roles")
    }

    def act(self) -> Result:
        flags = {name: self.arguments[name] for name in self.options}
        try:
            found = dataclasses.asdict(read(self.connect(), **flags))
        except NoRoutesError:
            return {"failed": True, "msg": NO_ROUTES.format(**self.arguments)}
        # The task's own no_log would hide as well why it failed.
        return {**found, "_ansible_no_log": True}

    def unreachable(self, error: Exception) -> Result:
        said = NOT_ALLOWED if getattr(error, "status", None) == HTTPStatus.FORBIDDEN else NO_ANSWER
        # The last part says it; those before name the client's own parts.
        return {"failed": True, "msg": said.format(**self.arguments, reason=reason(error).split(": ")[-1])}


NO_ANSWER = (
    "The cluster of context {context} does not answer ({reason}). Where it is this project's own, `make deploy` "
    "without tags starts it; otherwise this has to work first: "
    "kubectl --kubeconfig {kubeconfig} --context {context} cluster-info"
)
NOT_ALLOWED = (
    "The account of {context} may not read what is in {namespace}: inventory/namespace-account.yaml has what it needs"
)
NO_ROUTES = (
    "namespace_routes (stack_gateway) is {routes}: it takes a cluster with HTTPRoute (gateway.networking.k8s.io/v1), "
    "which the one of context {context} does not have or the account may not read. Its administrators install Gateway "
    "API, inventory/namespace-account.yaml has the rights; with stack_gateway empty, an Ingress does"
)
