"""Read the state of a running stack: what its users meet, what runs, and what it depends on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import READ_ERRORS, Cluster, reason
from stack.status.state import Reader

DOCUMENTATION = r"""
name: stack_state
short_description: Read the state of a running stack
description:
  - Asks the stack as its users do, reads objects through the API server, Patroni, Prometheus and the service's metrics
    through its proxy, and what only a pod can tell by a command in it. It changes nothing.
  - What cannot be read is C(null), with the reason under C(unread); a cluster that does not answer is a state as well.
options:
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
  namespace: {type: str, required: true, description: "The namespace of the stack."}
  door: {type: dict, required: true, description: "Where users reach the stack, see playbooks/vars/front_door.yml."}
"""

RETURN = r"""
state: {type: dict, description: "The state, as playbooks/status.yml shows it."}
"""


class ActionModule(ActionBase):
    """Entry point for ``stack_state`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "context": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "door": {"type": "dict", "required": True},
            }
        )
        state = {key: arguments[key] for key in ("namespace", "context")}
        try:
            cluster = Cluster(arguments["kubeconfig"], arguments["context"], arguments["namespace"])
            state["server"] = cluster.server
            state.update(Reader(cluster, arguments["door"]).read())
        except (*READ_ERRORS, ConfigException) as error:
            state["unreachable"] = reason(error)
        result["state"] = state
        return result
