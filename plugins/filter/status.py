"""What is wrong with a state that stack_state has read, each with the next command to run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.status.problems import stack_problems

DOCUMENTATION = r"""
name: stack_problems
short_description: What is wrong with a stack, and what to run next
options:
  _input: {type: dict, required: true, description: "What stack_state returned."}
  limits:
    type: dict
    required: true
    description:
      - C(certificate_days), C(volume_percent), C(lag_mb), C(backup_hours), C(error_percent),
        C(connections_percent) - what is still good.
      - C(restart_minutes) - how long a restart is worth a line.
  deploy: {type: str, required: true, description: "The command that brings the stack to what the settings say."}
"""

RETURN = r"""
_value:
  type: list
  elements: dict
  description:
    - C(what) is wrong, and the C(command) that mends it or tells more.
    - C(urgent) is false where the stack serves as it should, and yet somebody should know.
"""


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"stack_problems": stack_problems}
