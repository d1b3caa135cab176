"""Wait until a workload is rolled out, and say why where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.rollout import PATHS, Rollout, RolloutError

DOCUMENTATION = r"""
name: wait_for_rollout
short_description: Wait until a workload is rolled out
description:
  - Waits until all pods are of the version that the workload names, are ready, and those of an earlier one have ended.
    From three seconds on it shows what is still lacking, whenever that changes and every ten seconds.
  - Fails with what the cluster says of the pods - an image that cannot be pulled, a Secret that is not there, no node
    with room, a quota, a volume that cannot be mounted, the last lines of a container that crashes.
  - Where waiting does not help, it fails after a minute.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  kind: {type: str, required: true, choices: [Deployment, StatefulSet, DaemonSet], description: "Its kind."}
  name: {type: str, required: true, description: "Its name."}
  timeout: {type: int, required: true, description: "The longest wait, in seconds."}
"""

RETURN = r"""
msg: {type: str, description: "Why it is not rolled out."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``wait_for_rollout`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {
        "kind": {"type": "str", "required": True, "choices": [*PATHS]},
        "name": {"type": "str", "required": True},
        "timeout": {"type": "int", "required": True},
    }

    def act(self) -> Result:
        if self._task.check_mode:
            return {"skipped": True}
        try:
            Rollout(self.connect(), self.arguments["kind"], self.arguments["name"]).wait(
                self.arguments["timeout"], lambda line: self._display.display(f"  {line}")
            )
        except RolloutError as error:
            return {"failed": True, "msg": str(error)}
        return {}
