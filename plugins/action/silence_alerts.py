"""Silence the alerts while something is done on purpose, or end that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import silences
from stack.actions import ClusterAction, Options, Result
from stack.cluster import reason

DOCUMENTATION = r"""
name: silence_alerts
short_description: Silence the alerts while something is done on purpose, or end that
description:
  - Silences all alerts but the one that always fires, in the stack's own Alertmanager, or ends a silence.
  - Where there is no Alertmanager, or it does not answer, it does nothing, and says so.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
  reason: {type: str, default: "", description: "What is done, for whoever looks at the silence."}
  minutes: {type: int, default: 60, description: "How long it lasts if nobody ends it."}
  ends: {type: str, default: "", description: "The silence to end."}
"""

RETURN = r"""
silence: {type: str, description: "The id of the silence; empty for none."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``silence_alerts`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {
        "reason": {"type": "str", "default": ""},
        "minutes": {"type": "int", "default": 60},
        "ends": {"type": "str", "default": ""},
    }

    def act(self) -> Result:
        if self._task.check_mode:
            return {"silence": ""}
        if silence := self.arguments["ends"]:
            silences.end(self.connect(), silence)
            return {"silence": ""}
        if not self.arguments["reason"]:
            return {"silence": ""}
        return {"silence": silences.begin(self.connect(), self.arguments["reason"], self.arguments["minutes"])}

    def unreachable(self, error: Exception) -> Result:
        """No reason not to go on: alerts are sent."""
        return {"silence": "", "msg": f"alerts are not silenced: {reason(error)}"}
