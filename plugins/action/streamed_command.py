"""Run a long command and show its output line by line while it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.commands import stream

DOCUMENTATION = r"""
name: streamed_command
short_description: Run a long command on the controller and show its output as it comes
options:
  argv: {type: list, elements: str, required: true, description: "The command and its arguments; no shell."}
  environment: {type: dict, default: {}, description: "Added to the environment."}
"""

RETURN = r"""
rc: {type: int, description: "The exit code."}
stdout: {type: str, description: "Standard output and standard error, in the order of their lines."}
"""

display = Display()


class ActionModule(ActionBase):
    """Entry point for ``streamed_command`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "argv": {"type": "list", "elements": "str", "required": True},
                "environment": {"type": "dict", "default": {}},
            }
        )
        if self._task.check_mode:
            return {**result, "changed": True, "skipped": True, "msg": "would run " + " ".join(arguments["argv"])}
        environment = {key: str(value) for key, value in arguments["environment"].items()}
        code, lines = stream(arguments["argv"], lambda line: display.display(f"  {line}"), environment)
        result.update(changed=True, rc=code, stdout="\n".join(lines))
        if code:
            last = next((line for line in reversed(lines) if line.strip()), "no output")
            result.update(failed=True, msg=f"{arguments['argv'][0]} ended with exit code {code}: {last}")
        return result
