"""Run a command in pods, until its output is as wanted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.pods import Answer, Pod, run_until

DOCUMENTATION = r"""
name: run_in_pods
short_description: Run a command in pods, until its output is as wanted
description:
  - Runs each pod's command again and again until its answer is as wanted, twice a second, over one connection to the
    API server and without a process for each try. Fails where one is not in time, with what it answered last.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  pods:
    type: list
    elements: raw
    required: true
    description:
      - The names of the pods; or mappings with C(name), with C(container) and C(command) where they are the pod's own,
        and with whatever C(wanted) reads.
  container: {type: str, description: "The container."}
  command: {type: list, elements: str, description: "The command and its arguments."}
  wanted:
    type: str
    description:
      - What has to be so, as in C(when). It reads C(rc), C(stdout), C(stderr), and the entry of the pod as C(pod).
        Without it the command has to end with 0.
  timeout: {type: float, default: 0, description: "The longest wait, in seconds; 0 to try once."}
  command_timeout: {type: float, default: 10, description: "The longest that one command may take, in seconds."}
"""

RETURN = r"""
answers:
  type: list
  elements: dict
  description: "The last answer of each pod: C(pod), C(rc), C(stdout), C(met), and C(stderr) of all tries."
rc: {type: int, description: "That of the first pod; C(stdout) and C(stderr) likewise."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``run_in_pods`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = False
    options: ClassVar[Options] = {
        "pods": {"type": "list", "elements": "raw", "required": True},
        "container": {"type": "str"},
        "command": {"type": "list", "elements": "str"},
        "wanted": {"type": "str"},
        "timeout": {"type": "float", "default": 0.0},
        "command_timeout": {"type": "float", "default": 10.0},
    }

    def act(self) -> Result:
        cluster, seconds = self.connect(), self.arguments["command_timeout"]
        given: dict[str, Any] = self._templar.available_variables
        condition = self.arguments["wanted"]

        def execute(pod: Pod) -> tuple[int | None, str, str]:
            return cluster.execute(pod["name"], pod["container"], *map(str, pod["command"]), seconds=seconds)

        def is_wanted(pod: Pod, answer: Answer) -> bool:
            if condition is None:
                return answer.code == 0
            variables = {**given, **described(answer), "pod": pod}
            return bool(self._templar.copy_with_new_env(available_variables=variables).evaluate_conditional(condition))

        common = {name: self.arguments[name] for name in ("container", "command")}
        pods = [{**common, **(pod if isinstance(pod, dict) else {"name": pod})} for pod in self.arguments["pods"]]
        answers = run_until(pods, execute, is_wanted, self.arguments["timeout"])
        result = {**(described(answers[0]) if answers else {}), "answers": [described(answer) for answer in answers]}
        if missed := [str(answer) for answer in answers if not answer.met]:
            result.update(failed=True, msg="\n".join(missed))
        return result


def described(answer: Answer) -> Result:
    """An answer as tasks read it."""
    return {
        "pod": answer.pod,
        "rc": answer.code,
        "stdout": answer.output,
        "stderr": "".join(answer.errors),
        "met": answer.met,
    }
