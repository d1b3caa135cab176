"""Wait for a Job, and show what it does and logs meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.jobs import JobWait

DOCUMENTATION = r"""
name: wait_for_job
short_description: Wait for a Job, and show what it does and logs meanwhile
description:
  - Shows each new line of the log of the Job's pods, and every ten seconds without one that the Job goes on. Where many
    lines come at once, it shows the last ones, and of long lines the beginning; with C(-v) it shows all.
  - Fails where the Job fails, takes too long, or its pod cannot start for two minutes. The message has the reasons that
    the Job, its pods and their containers give, and the last lines of the log. It changes nothing.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  name: {type: str, required: true, description: "Its name."}
  timeout: {type: int, required: true, description: "The longest wait, in seconds."}
"""

RETURN = r"""
msg: {type: str, description: "Why the Job has not succeeded; empty otherwise."}
"""

display = Display()


class ActionModule(ClusterAction):
    """Entry point for ``wait_for_job`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = False
    options: ClassVar[Options] = {
        "name": {"type": "str", "required": True},
        "timeout": {"type": "int", "required": True},
    }

    def act(self) -> Result:
        wait = JobWait(
            self.connect(),
            self.arguments["name"],
            lambda line: display.display(f"  {line}"),
            brief=display.verbosity == 0,
        )
        outcome = wait.wait(self.arguments["timeout"])
        return {"failed": not outcome.succeeded, "msg": outcome.message}
