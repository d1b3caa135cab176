"""Look at the secrets among the settings before anything else reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import is_trusted_as_template

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import validation
from stack.validation import secrets, specs

DOCUMENTATION = r"""
name: validate_secrets
short_description: Look at the secrets among the settings before anything else reads them
description:
  - Looks at each setting that has C(no_log) in C(meta/argument_specs.yml) of a role, and fails with a line for each
    that cannot be read or is no text. Ansible's own message would show its value.
options: {}
"""


class ActionModule(ActionBase):
    """Entry point for ``validate_secrets`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        given, problems = task_vars or {}, []
        for name, option in secrets.secret_options(specs.all_options()).items():
            if name not in given:
                continue
            written = given[name]
            try:
                value = self._templar.template(written)
            except AnsibleError:
                problems.append(secrets.unreadable(name))
                continue
            if problem := secrets.problem(name, option, written, value, is_trusted_as_template(written)):
                problems.append(problem)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(validation.lines(problems))}
        return result
