"""The settings of all roles, as ``roles/*/meta/argument_specs.yml`` describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Options = dict[str, dict[str, Any]]
ROLES = Path(__file__).parents[3] / "roles"
# The parser in C, where there is one: this is read in the process of a task.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def role_options(role: str) -> Options:
    """The settings of one role with their type and description, by name."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text()
    specs = yaml.load(text, Loader=LOADER)
    options: Options = specs["argument_specs"]["main"].get("options", {})
    return options


def all_options() -> Options:
    """The settings of every role, by name."""
    roles = sorted(file.parents[1].name for file in ROLES.glob("*/meta/argument_specs.yml"))
    return {name: option for role in roles for name, option in role_options(role).items()}


def type_complaint(option: dict[str, Any], value: Any) -> str | None:
    """What is wrong with a value before Ansible converts it, which makes text of numbers and nothing of no value."""
    if value is None:
        return "it has no value: give it one, such as '', or leave it out"
    if option["type"] == "str" and not isinstance(value, str):
        return "it takes text: put the value in quotes"
    return None


def without_unset(value: Any) -> Any:
    """A converted value without the parts that were not set, which Ansible adds as None."""
    if isinstance(value, dict):
        return {key: without_unset(part) for key, part in value.items() if part is not None}
    return [without_unset(part) for part in value] if isinstance(value, list) else value
