"""Ask a stack as its users do, and fail where it does not answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import READ_ERRORS, Cluster, reason
from stack.status import front_door

DOCUMENTATION = r"""
name: front_door
short_description: Ask a stack as its users do, and fail where it does not answer
description:
  - Sends HTTPS requests to the service and to pgAdmin, with the certificate verified, until they are answered as they
    should be; as far as a run's tags concern them and they are deployed.
  - An address that cannot be reached from this machine is no failure on a cluster that is somebody else's.
options:
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
  namespace: {type: str, required: true, description: "The namespace of the stack."}
  door: {type: dict, required: true, description: "Where users reach the stack, see playbooks/vars/front_door.yml."}
  run_tags: {type: list, elements: str, required: true, description: "The tags of the run."}
  skip_tags: {type: list, elements: str, required: true, description: "The tags that the run leaves out."}
  timeout: {type: float, required: true, description: "Seconds that the ingress may take."}
"""

RETURN = r"""
lines: {type: list, elements: str, description: "What was asked and what was answered."}
address: {type: str, description: "Where it was asked; empty for the addresses to which the names resolve."}
"""

# Seconds for somebody at a terminal to start what publishes the cluster.
TUNNEL_S = 300.0


class ActionModule(ActionBase):
    """Entry point for ``front_door`` tasks; see DOCUMENTATION above."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "context": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "door": {"type": "dict", "required": True},
                "run_tags": {"type": "list", "elements": "str", "required": True},
                "skip_tags": {"type": "list", "elements": "str", "required": True},
                "timeout": {"type": "float", "required": True},
            }
        )
        door, seconds = arguments["door"], arguments["timeout"]

        def unreached(found: dict[str, Any]) -> float:
            self._display.display(front_door.advice(found, arguments["context"]))
            # make says so; Ansible's own tasks have no terminal.
            return TUNNEL_S if os.environ.get("MAKE_TERMOUT") else 0.0

        parts = sorted(front_door.parts_of_run(arguments["run_tags"], arguments["skip_tags"]))
        try:
            cluster = Cluster(arguments["kubeconfig"], arguments["context"], arguments["namespace"])
            found = front_door.wait(lambda: front_door.look(cluster, door, parts), seconds, unreached)
        except (*READ_ERRORS, ConfigException) as error:
            result.update(failed=True, msg=f"The cluster does not say what it has published: {reason(error)}")
            return result
        result["address"] = found["address"] or ""
        if not found["answers"]:
            result["lines"] = []
            return result
        said = [f"Asked at {front_door.title(found)}:", *(f"  {line}" for line in front_door.lines(found)), ""]
        if any(answer["wrong"] for answer in found["answers"]):
            said[0] = f"The stack does not answer its users after {seconds:.0f} s. {said[0]}"
            more = "`make status` says more" if found["reached"] else front_door.advice(found, arguments["context"])
            result.update(failed=True, msg="\n".join([*said, more]))
        else:
            result["lines"] = said
        return result
