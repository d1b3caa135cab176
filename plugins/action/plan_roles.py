"""Say which roles a run takes beside those of its tags, or why it must not go on without them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.tags import ROLES, SETTINGS, Plan, Run, plan
from stack.validation import specs

DOCUMENTATION = r"""
name: plan_roles
short_description: Which roles a run takes beside those of its tags
description:
  - Compares the run's settings with what the role C(namespace) has read, by the rules of C(stack.tags), and fails with
    a line for each thing that would be left behind.
options:
  roles: {type: list, elements: str, required: true, description: "The roles that the tags of the run name."}
  skipped: {type: list, elements: str, default: [], description: "The tags that the run was told to leave out."}
"""

RETURN = r"""
brought: {type: list, elements: str, description: "The roles to take along, in their order."}
problems: {type: list, elements: str, description: "One line for each thing that would be left behind."}
"""


class ActionModule(ActionBase):
    """Entry point for ``plan_roles`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "roles": {"type": "list", "elements": "str", "required": True},
                "skipped": {"type": "list", "elements": "str", "default": []},
            }
        )
        # A run of all roles leaves nobody behind.
        found = Plan([], []) if set(arguments["roles"]) == set(ROLES) else plan(self._compared(arguments))
        result.update(brought=found.brought, problems=found.problems)
        if found.problems:
            result.update(failed=True, msg="\n".join(found.problems))
        return result

    def _compared(self, arguments: dict[str, Any]) -> Run:
        value = self._templar.resolve_variable_expression
        options = {name: option for name, option in specs.all_options().items() if name in SETTINGS}
        typed = ArgumentSpecValidator(options).validate({name: value(name) for name in SETTINGS})
        return Run(
            roles=frozenset(arguments["roles"]),
            skipped=frozenset(arguments["skipped"]),
            settings=specs.without_unset(typed.validated_parameters),
            secrets=value("common_secrets"),
            objects=value("common_objects"),
            policies={policy["metadata"]["name"]: policy for policy in value("common_policies")},
        )
