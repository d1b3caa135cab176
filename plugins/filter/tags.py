"""Which roles of site.yml the tags of a run name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

DOCUMENTATION = r"""
name: roles_of_run
short_description: The roles of site.yml that C(--tags) and C(--skip-tags) let run
options:
  _input: {type: list, elements: str, required: true, description: "The tags of the run, C(ansible_run_tags)."}
  skip_tags: {type: list, elements: str, default: [], description: "The tags that are left out, C(ansible_skip_tags)."}
"""

RETURN = r"""
_value: {type: list, elements: str, description: "The roles, in their order."}
"""


def roles_of_run(run_tags: list[str], skip_tags: list[str]) -> list[str]:
    # Not above: every task loads every filter in a process of its own, and few need this one.
    from stack.tags import roles_of_run

    return roles_of_run(run_tags, skip_tags)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"roles_of_run": roles_of_run}
