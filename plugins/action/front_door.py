"""Ask a stack as its users do, and fail where it does not answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.cluster import reason
from stack.status import front_door

DOCUMENTATION = r"""
name: front_door
short_description: Ask a stack as its users do, and fail where it does not answer
description:
  - Sends HTTPS requests to the service and to pgAdmin, with the certificate verified, until they are answered as they
    should be; as far as a run's tags concern them and they are deployed.
  - An address that cannot be reached from this machine is no failure on a cluster that is somebody else's.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
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


class ActionModule(ClusterAction):
    """Entry point for ``front_door`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = False
    options: ClassVar[Options] = {
        "door": {"type": "dict", "required": True},
        "run_tags": {"type": "list", "elements": "str", "required": True},
        "skip_tags": {"type": "list", "elements": "str", "required": True},
        "timeout": {"type": "float", "required": True},
    }

    def act(self) -> Result:
        door, seconds = self.arguments["door"], self.arguments["timeout"]
        parts = sorted(front_door.parts_of_run(self.arguments["run_tags"], self.arguments["skip_tags"]))
        cluster = self.connect()

        def unreached(found: dict[str, Any]) -> float:
            self._display.display(front_door.advice(found, self.arguments["context"]))
            # make says so; Ansible's own tasks have no terminal.
            return TUNNEL_S if os.environ.get("MAKE_TERMOUT") else 0.0

        found = front_door.wait(lambda: front_door.look(cluster, door, parts), seconds, unreached)
        asked = {"address": found["address"] or ""}
        if not found["answers"]:
            return {**asked, "lines": []}
        said = [f"Asked at {front_door.title(found)}:", *(f"  {line}" for line in front_door.lines(found)), ""]
        if any(answer["wrong"] for answer in found["answers"]):
            said[0] = f"The stack does not answer its users after {seconds:.0f} s. {said[0]}"
            advice = front_door.advice(found, self.arguments["context"])
            more = "`make status` says more" if found["reached"] else advice
            return {**asked, "failed": True, "msg": "\n".join([*said, more])}
        return {**asked, "lines": said}

    def unreachable(self, error: Exception) -> Result:
        return {"failed": True, "msg": f"The cluster does not say what it has published: {reason(error)}"}
