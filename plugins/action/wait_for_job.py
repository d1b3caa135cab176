"""Wait for a Job, and show what it does and logs meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.cluster import READ_ERRORS, Cluster, reason
from stack.jobs import JobWait

DOCUMENTATION = r"""
name: wait_for_job
short_description: Wait for a Job, and show what it does and logs meanwhile
description:
  - Shows each new line of the log of the Job's pods, and every ten seconds without one that the Job goes on.
  - Fails where the Job fails, takes too long, or its pod cannot start for two minutes. The message has the reasons that
    the Job, its pods and their containers give, and the last lines of the log. It changes nothing.
options:
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
  namespace: {type: str, required: true, description: "The namespace of the Job."}
  name: {type: str, required: true, description: "Its name."}
  timeout: {type: int, required: true, description: "The longest wait, in seconds."}
"""

RETURN = r"""
msg: {type: str, description: "Why the Job has not succeeded; empty otherwise."}
"""

display = Display()


class ActionModule(ActionBase):
    """Entry point for ``wait_for_job`` tasks; see DOCUMENTATION above."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        texts = ("kubeconfig", "context", "namespace", "name")
        spec: dict[str, Any] = {name: {"type": "str", "required": True} for name in texts}
        spec["timeout"] = {"type": "int", "required": True}
        _, arguments = self.validate_argument_spec(argument_spec=spec)
        try:
            cluster = Cluster(arguments["kubeconfig"], arguments["context"], arguments["namespace"])
            wait = JobWait(cluster, arguments["name"], lambda line: display.display(f"  {line}"))
            outcome = wait.wait(arguments["timeout"])
        except (*READ_ERRORS, ConfigException) as error:
            return {**result, "failed": True, "msg": f"the cluster does not answer: {reason(error)}"}
        result.update(failed=not outcome.succeeded, msg=outcome.message)
        return result
