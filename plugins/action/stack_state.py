"""Read the state of a running stack: what its users meet, what runs, and what it depends on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.cluster import READ_ERRORS, reason
from stack.status.state import Reader

DOCUMENTATION = r"""
name: stack_state
short_description: Read the state of a running stack
description:
  - Asks the stack as its users do, reads objects through the API server, Patroni, Prometheus and the service's metrics
    through its proxy, and what only a pod can tell by a command in it. It changes nothing.
  - What cannot be read is C(null), with the reason under C(unread); a cluster that does not answer is a state as well.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  door: {type: dict, required: true, description: "Where users reach the stack, see playbooks/vars/front_door.yml."}
"""

RETURN = r"""
state: {type: dict, description: "The state, as playbooks/status.yml shows it."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``stack_state`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {"door": {"type": "dict", "required": True}}

    def act(self) -> Result:
        cluster = self.connect()
        state = {**self.named(), "server": cluster.server}
        try:
            state.update(Reader(cluster, self.arguments["door"]).read())
        except READ_ERRORS as error:
            state["unreachable"] = reason(error)
        return {"state": state}

    def unreachable(self, error: Exception) -> Result:
        return {"state": {**self.named(), "unreachable": reason(error)}}

    def named(self) -> Result:
        """What a state says of the place that was asked."""
        return {key: self.arguments[key] for key in ("namespace", "context")}
