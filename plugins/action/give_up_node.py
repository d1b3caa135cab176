"""Give up a node that is lost for good."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.lost_node import carry_out, look

DOCUMENTATION = r"""
name: give_up_node
short_description: Give up a node that is lost for good
description:
  - Removes the pods of a node that does not answer, and the claims of volumes that were on it, so that they are made
    anew on other nodes. In check mode it only says what it would remove.
  - Removes nothing where the node answers, where an instance of the database might have the last copy of the data, or
    where other data would be lost that C(may_lose) does not name.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  node: {type: str, required: true, description: "The node."}
  may_lose: {type: list, elements: str, default: [], description: "Claims whose data may be lost."}
"""

RETURN = r"""
plan: {type: dict, description: "What was removed: C(pods), C(claims), C(instances) that become replicas, C(anew)."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``give_up_node`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {
        "node": {"type": "str", "required": True},
        "may_lose": {"type": "list", "elements": "str", "default": []},
    }

    def act(self) -> Result:
        cluster = self.connect()
        found = look(cluster, self.arguments["node"], self.arguments["may_lose"])
        if found.problems:
            return {"failed": True, "msg": "Nothing was removed: " + "; ".join(found.problems)}
        if not self._task.check_mode:
            carry_out(cluster, found)
        return {"changed": bool(found.pods or found.claims), "plan": asdict(found)}
