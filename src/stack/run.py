"""Run a command with what was typed as ``make TARGET ARGS=...`` added: ``python3 -m stack.run COMMAND [ARGUMENT...]``.

A shell would expand ``$``, backquotes and backslashes in it. Nothing but the standard library is loaded, since
`make psql` has no environment of its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping

# A quote opens a word, or the value after its first `=`, and ends with it; any other is a character like the rest.
WORD = re.compile(
    r"""
    (?P<name>(?:[^\s"'=]+=)?)
    (?:
        '(?P<single>(?:'"'"'|'\\''|[^']|'(?!\s|\Z))*)'(?=\s|\Z)
      | "(?P<double>(?:\\.|[^"\\]|"(?!\s|\Z))*)"(?=\s|\Z)
    )
    | \S+
    """,
    re.VERBOSE | re.DOTALL,
)


def words(text: str) -> list[str]:
    """The arguments in a line.

    Blanks separate them. An argument, or the value in ``name=value``, may stand in quotes to hold blanks; in double
    quotes a backslash before ``"`` or a backslash is dropped. Nothing else has a meaning: ``$``, backquotes,
    backslashes, ``#``, ``;``, ``*`` and a quote within an argument arrive as they are typed. What `shlex.quote` has
    made is read back as it was.
    """
    found = []
    for match in WORD.finditer(text):
        name, single, double = match["name"] or "", match["single"], match["double"]
        if single is not None:
            found.append(name + re.sub(r"""'"'"'|'\\''""", "'", single))
        elif double is not None:
            found.append(name + re.sub(r'\\(["\\])', r"\1", double))
        else:
            found.append(match[0])
    return found


def exact(arguments: list[str]) -> list[str]:
    """The arguments of `ansible-playbook`, with ``-e name=value`` such that the value arrives as it is typed.

    Ansible reads it like a shell: it drops quotes, backslashes and what follows a blank, and where a quote or ``{{`` is
    not closed it ends with a message that has the value, which may be a password. It reads JSON as it is.
    """
    found: list[str] = []
    for argument in arguments:
        option = next(
            (start for start in ("-e", "--extra-vars=") if argument.startswith(start) and argument != start), ""
        )
        follows = bool(found) and found[-1] in ("-e", "--extra-vars")
        found.append(option + as_json(argument.removeprefix(option)) if option or follows else argument)
    return found


def as_json(text: str) -> str:
    """One ``name=value`` as JSON, where Ansible would read another value; all else as it is."""
    pair = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", text, re.DOTALL)
    # More than one pair, and a value that somebody has quoted for Ansible.
    if not pair or re.search(r"\s[A-Za-z_]\w*=", pair[2]) or re.fullmatch(r"(['\"]).*\1", pair[2], re.DOTALL):
        return text
    return json.dumps({pair[1]: pair[2]}) if re.search(r"""['"\\{\s]""", pair[2]) else text


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the command: without what makes another ``make`` below it take the same arguments."""
    return {name: value for name, value in inherited.items() if name not in ("ARGS", "MAKEFLAGS", "MFLAGS")}


def main() -> None:
    typed = words(os.environ.get("ARGS", ""))
    command = [*sys.argv[1:], *(exact(typed) if sys.argv[1] == "ansible-playbook" else typed)]
    try:
        os.execvpe(command[0], command, environment(os.environ))
    except OSError as error:
        sys.exit(f"make: {command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
