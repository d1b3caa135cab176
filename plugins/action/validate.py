"""Validate the settings of a role, all at once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import validation
from stack.validation import specs
from stack.validation.rules import full_name

DOCUMENTATION = r"""
name: validate
short_description: Validate the settings of a role, all at once
description:
  - Converts the settings that C(meta/argument_specs.yml) of the role names to their types, hands them to C(problems) of
    C(stack.validation.ROLE), and fails with a line for each problem.
options:
  role: {type: str, required: true, description: "The name of the role."}
  running: {type: bool, default: false, description: "Whether to compare them with what runs, by C(running_problems)."}
  facts: {type: dict, default: {}, description: "What the role has found out, handed on beside the settings."}
"""


# Read once, where the plugin is loaded, and not in the process of every task.
OPTIONS = specs.all_options()
RULES = {role: importlib.import_module(f"stack.validation.{role}") for role in specs.validated_roles()}


class ActionModule(ActionBase):
    """Entry point for ``validate`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "role": {"type": "str", "required": True},
                "running": {"type": "bool", "default": False},
                "facts": {"type": "dict", "default": {}},
            }
        )
        rules = RULES[arguments["role"]]
        names = {*specs.role_options(arguments["role"]), *getattr(rules, "ALSO", ())} & set(task_vars or {})
        given = {name: self._templar.resolve_variable_expression(name) for name in sorted(names)}
        aliases = getattr(rules, "ALIASES", {})
        found = [specs.type_problem(full_name(name, aliases), OPTIONS[name], value) for name, value in given.items()]
        problems = [problem for problem in found if problem]
        if not problems:
            settings = {name: specs.converted(name, OPTIONS[name], value) for name, value in given.items()}
            check = rules.running_problems if arguments["running"] else rules.problems
            problems = check({**settings, **arguments["facts"]})
        if problems:
            return {**result, "failed": True, "msg": "\n".join(validation.lines(problems))}
        # So that each role validates once in a run.
        suffix = "validated_running" if arguments["running"] else "validated"
        return {**result, "ansible_facts": {f"__{arguments['role']}_{suffix}": True}}
