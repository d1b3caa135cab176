"""What is wrong with a state that stack_state has read, and how it looks on a screen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.status.problems import judged
from stack.status.screen import screen

DOCUMENTATION = r"""
name: stack_judged
short_description: What is wrong with a stack, and what to run next
options:
  _input: {type: dict, required: true, description: "What stack_state returned."}
  limits:
    type: dict
    required: true
    description:
      - C(certificate_days), C(volume_percent), C(lag_mb), C(backup_hours), C(error_percent),
        C(connections_percent) - what is still good.
      - C(restart_minutes) - minutes for which a restart stays listed.
  deploy: {type: str, required: true, description: "The command that brings the stack to what the settings say."}
  wanted: {type: list, required: true, description: "What the settings make, such as C(deployment/flask-app)."}
"""

RETURN = r"""
_value:
  type: dict
  description:
    - The state, with C(problems), each with C(what) is wrong and the C(command) that mends it or tells more. C(urgent)
      is false where the stack serves as it should, and yet somebody should know.
    - C(verdict) is C(well), C(wrong), or C(unseen) where something could not be asked; C(healthy) is true for C(well).
"""


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"stack_judged": judged, "stack_screen": screen}
