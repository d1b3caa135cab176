"""The settings of all roles, as ``roles/*/meta/argument_specs.yml`` describes them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from stack.validation import Problem

Option = dict[str, Any]
Options = dict[str, Option]
ROLES = Path(__file__).parents[3] / "roles"
# The parser in C, where there is one: this is read in the process of a task.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A setting that is another one, with or without what a play without that one takes.
REFERENCE = re.compile(r"\{\{\s*(\w+)\s*(?:\|\s*default\(.*\)\s*)?\}\}", re.DOTALL)
# What the types of settings are called, as the rest of a sentence.
TYPES = {
    "bool": "true or false",
    "dict": "a mapping such as {name: value}",
    "int": "a whole number",
    "list": "a list such as [one, another], with all that its parts need",
    "path": "a path",
    "str": "text",
}


@functools.cache
def role_options(role: str) -> Options:
    """The settings of one role with their type and description, by name."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text()
    specs = yaml.load(text, Loader=LOADER)  # nosec B506
    options: Options = specs["argument_specs"]["main"].get("options", {})
    return options


def validated_roles() -> list[str]:
    """The roles whose settings a module of `stack.validation` checks."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if (ROLES / file.stem).is_dir())


def all_options() -> Options:
    """The settings of every role, by name."""
    roles = sorted(file.parents[1].name for file in ROLES.glob("*/meta/argument_specs.yml"))
    return {name: option for role in roles for name, option in role_options(role).items()}


def type_problem(name: str, option: Option, value: Any) -> Problem | None:
    """What is wrong with a value that Ansible would convert into something else, or not at all."""
    # Ansible makes text of numbers, so that 007 becomes 7.
    if option["type"] == "str" and not isinstance(value, str | None):
        return Problem(name, "it takes text: put the value in quotes")
    if value is None:
        return Problem(name, "it has no value: give it one, such as '', or leave it out")
    if not ArgumentSpecValidator({name: option}).validate({name: value}).error_messages:
        return None
    wanted = ", ".join(map(str, option.get("choices", [])))
    return Problem(name, f"it takes {wanted or TYPES[option['type']]}", None if option.get("no_log") else value)


def setting(problem: Problem) -> str:
    """The name of the setting that a problem is about, without the one that people set in its place."""
    return problem.name.split()[0]


def source(name: str, variables: Mapping[str, Any]) -> str:
    """The setting that another one takes its value from, as in ``{{ postgres_user | default('postgres') }}``."""
    seen = {name}
    while match := REFERENCE.fullmatch(str(variables.get(name, "")).strip()):
        if match[1] in seen:
            break
        name = match[1]
        seen.add(name)
    return name


def unsaid(found: list[Problem], said: Iterable[Problem], variables: Mapping[str, Any]) -> list[Problem]:
    """What is found of a role that was not said of another one, whose setting it has as well.

    Args:
        found: The problems of the role.
        said: Those of the roles before it.
        variables: The values of all settings, as they are written.
    """
    known = {(source(setting(problem), variables), problem.wanted) for problem in said}
    return [problem for problem in found if (source(setting(problem), variables), problem.wanted) not in known]


def converted(name: str, option: Option, value: Any) -> Any:
    """A value by the type of its setting, without the parts that are not set, which Ansible adds as None."""
    return without_unset(ArgumentSpecValidator({name: option}).validate({name: value}).validated_parameters[name])


def without_unset(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_unset(part) for key, part in value.items() if part is not None}
    return [without_unset(part) for part in value] if isinstance(value, list) else value
