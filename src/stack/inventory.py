"""The settings as an inventory gives them to the roles."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def read_settings(inventory: str, names: Iterable[str], options: Iterable[str] = ()) -> dict[str, Any]:
    """The values of settings by name, as Ansible reads them.

    Args:
        inventory: The inventory.
        names: The settings.
        options: More options of ``ansible``, such as ``-e``.

    Raises:
        subprocess.CalledProcessError: Ansible cannot read the inventory, or one of the names is no setting.
    """
    template = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
    result = subprocess.run(
        [
            *("ansible", "-i", inventory, "localhost", *options),
            *("-m", "ansible.builtin.debug", "-a", json.dumps({"msg": template})),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(result.stdout[result.stdout.index("{") :])["msg"]
    return found
