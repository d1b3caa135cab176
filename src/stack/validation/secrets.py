"""Secrets among the settings of all roles: a value is data, and no message repeats it."""

from __future__ import annotations

from typing import Any

from stack.validation import Problem
from stack.validation.specs import Option, Options, type_problem


def secret_options(options: Options) -> Options:
    """The settings whose values no message may show."""
    return {name: option for name, option in options.items() if option.get("no_log")}


def unreadable(name: str) -> Problem:
    """What to say of a value that Ansible cannot read as a template."""
    wanted = (
        "it cannot be read as a template; where {{, {% or {# belong to the value, say so: "
        f"{name}: !unsafe '...' in a file, -e \"{{{name}: !unsafe '...'}}\" on the command line"
    )
    return Problem(name, wanted)


def problem(name: str, option: Option, written: Any, value: Any, is_template: bool) -> Problem | None:
    """What is wrong with a secret, as it is written and as Ansible reads it."""
    # What stands in a comment of a template would be missing from the value.
    if is_template and isinstance(written, str) and "{#" in written:
        return unreadable(name)
    return type_problem(name, option, value)
