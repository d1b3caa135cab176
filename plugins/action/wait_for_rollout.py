"""Wait until a workload is rolled out, and say why where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import Cluster
from stack.rollout import PATHS, Rollout, RolloutError

DOCUMENTATION = r"""
name: wait_for_rollout
short_description: Wait until a workload is rolled out
description:
  - Waits until all pods are of the version that the workload names, are ready, and those of an earlier one have ended.
  - Fails with what the cluster says of the pods - an image that cannot be pulled, a Secret that is not there, no node
    with room, a quota, a volume that cannot be mounted, the last lines of a container that crashes.
  - Where waiting does not help, it fails after a minute.
options:
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
  namespace: {type: str, required: true, description: "The namespace of the workload."}
  kind: {type: str, required: true, choices: [Deployment, StatefulSet, DaemonSet], description: "Its kind."}
  name: {type: str, required: true, description: "Its name."}
  timeout: {type: int, required: true, description: "The longest wait, in seconds."}
"""

RETURN = r"""
msg: {type: str, description: "Why it is not rolled out."}
"""


class ActionModule(ActionBase):
    """Entry point for ``wait_for_rollout`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "context": {"type": "str", "required": True},
                "namespace": {"type": "str", "required": True},
                "kind": {"type": "str", "required": True, "choices": [*PATHS]},
                "name": {"type": "str", "required": True},
                "timeout": {"type": "int", "required": True},
            }
        )
        if self._task.check_mode:
            return {**result, "skipped": True}
        try:
            cluster = Cluster(arguments["kubeconfig"], arguments["context"], arguments["namespace"])
            Rollout(cluster, arguments["kind"], arguments["name"]).wait(arguments["timeout"])
        except (RolloutError, ConfigException) as error:
            result.update(failed=True, msg=str(error))
        return result
