"""Validate the settings of a role, all at once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import validation

DOCUMENTATION = r"""
name: validate
short_description: Validate the settings of a role, all at once
description:
  - Hands the settings that C(meta/argument_specs.yml) of the role names to C(problems) of C(stack.validation.ROLE), and
    fails with a line for each problem. Their types are checked before by Ansible itself.
options:
  role: {type: str, required: true, description: "The name of the role."}
  facts: {type: dict, default: {}, description: "What the role has found out, handed on beside the settings."}
"""

RETURN = r"""
problems: {type: list, elements: str, description: "One line for each problem."}
"""


ROLES = Path(__file__).parents[2] / "roles"


class ActionModule(ActionBase):
    """Entry point for ``validate`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "role": {"type": "str", "required": True},
                "facts": {"type": "dict", "default": {}},
            }
        )
        role = arguments["role"]
        rules = importlib.import_module(f"stack.validation.{role}")
        specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
        names = {*specs["argument_specs"]["main"]["options"], *getattr(rules, "ALSO", ())} & set(task_vars or {})
        settings = {name: self._templar.template("{{ " + name + " }}") for name in sorted(names)}
        found = list(validation.lines(rules.problems({**settings, **arguments["facts"]})))
        result["problems"] = found
        if found:
            result.update(failed=True, msg="\n".join(found))
        return result
