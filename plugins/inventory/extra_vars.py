"""End a run whose extra variables Ansible cannot read, without a message that has their values."""

from __future__ import annotations

import re
import sys

from ansible import context
from ansible.errors import AnsibleParserError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.splitter import parse_kv
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: extra_vars
short_description: End a run whose extra variables Ansible cannot read, without a message that has their values
description:
  - Ansible asks inventory plugins before it reads what C(-e) hands to it. This one reads that before, and takes no
    source of an inventory.
options: {}
"""


def complaint(text: str) -> str | None:
    """What is wrong with the value of one C(-e), or None."""
    try:
        if text.startswith("@"):
            DataLoader().load_from_file(text[1:], unsafe=True)
        elif text.startswith(("{", "[")):
            DataLoader().load(text)
        else:
            parse_kv(text)
    except AnsibleParserError as error:
        if text.startswith("@"):
            mark = getattr(error.__cause__, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            return f"{text[1:]}{line}: it cannot be read as YAML; put values with special characters in quotes"
        names = ", ".join(re.findall(r"([A-Za-z_]\w*)(?==|\"?:)", text)[:1]) or "-e"
        return (
            f"{names}: its value cannot be read; close each quote, {{{{, {{% and {{# in it, or hand the value on "
            f"as it is: -e \"{{{names}: !unsafe '...'}}\""
        )
    return None


class InventoryModule(BaseInventoryPlugin):
    """Entry point for the plugin; see DOCUMENTATION above."""

    NAME = "extra_vars"

    def verify_file(self, _path: str) -> bool:
        found = [said for text in context.CLIARGS.get("extra_vars") or () if text and (said := complaint(str(text)))]
        if found:
            sys.exit("[ERROR]: " + "\n".join(found))
        return False
