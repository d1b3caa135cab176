"""Validate the settings of roles, all at once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import validation
from stack.validation import Problem, specs
from stack.validation.rules import check, full_name

DOCUMENTATION = r"""
name: validate
short_description: Validate the settings of roles, all at once
description:
  - Converts the settings that C(meta/argument_specs.yml) of each role names to their types, hands them to C(problems)
    of C(stack.validation.ROLE), and fails with a line for each problem.
  - What a role has found out beside them is its variable C(__ROLE_facts), or C(__ROLE_running_facts), where it has one.
options:
  roles: {type: list, elements: str, required: true, description: "The names of the roles."}
  running: {type: bool, default: false, description: "Whether to compare them with what runs, by C(running_problems)."}
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
                "roles": {"type": "list", "elements": "str", "required": True},
                "running": {"type": "bool", "default": False},
            }
        )
        running, variables, problems = arguments["running"], task_vars or {}, list[Problem]()
        for role in arguments["roles"]:
            try:
                found = self._problems(role, running, variables, {specs.setting(problem) for problem in problems})
                problems += specs.unsaid(found, problems, variables)
            except AnsibleError:
                # A template of this role reads one of those that are wrong already.
                if not problems:
                    raise
        if problems:
            return {**result, "failed": True, "msg": "\n".join(validation.lines(problems))}
        # So that each role validates once in a run.
        suffix = "validated_running" if running else "validated"
        return {**result, "ansible_facts": {f"__{role}_{suffix}": True for role in arguments["roles"]}}

    def _problems(self, role: str, running: bool, task_vars: dict[str, Any], known: set[str]) -> list[Problem]:
        """What is wrong with the settings of one role, read as its own tasks read them."""
        folder = str(specs.ROLES / role)
        search = [folder, *task_vars.get("ansible_search_path", [])]
        variables = {**task_vars, "role_path": folder, "ansible_search_path": search}
        templar = self._templar.copy_with_new_env(available_variables=variables)
        rules = RULES[role]
        also, aliases = getattr(rules, "ALSO", ()), getattr(rules, "ALIASES", {})
        names = {*specs.role_options(role), *also} & set(variables)
        given = {name: templar.resolve_variable_expression(name) for name in sorted(names)}
        found = {name: specs.type_problem(full_name(name, aliases), OPTIONS[name], given[name]) for name in given}
        problems = [problem for problem in found.values() if problem]
        settings = {name: specs.converted(name, OPTIONS[name], given[name]) for name in given if not found[name]}
        if problems and not running:
            # Whatever else is wrong with one setting by itself is said beside that.
            problems += check(settings, getattr(rules, "RULES", {}), aliases)
        # Of another role's setting that is wrong nothing can be said beside that.
        if problems or known.intersection(also):
            return problems
        facts = f"__{role}_running_facts" if running else f"__{role}_facts"
        if facts in variables:
            settings |= templar.resolve_variable_expression(facts)
        if running:
            return rules.running_problems(settings)
        return rules.problems(settings) or (rules.unreachable(settings) if hasattr(rules, "unreachable") else [])
