"""Settings of the role ``offline``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from stack.validation import Problem, Settings
from stack.validation.rules import Rule, check, number

RULES: dict[str, Rule] = {"offline_disk_gb": number(0, wanted="it takes GB, 0 or more")}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings.

    Beside them it reads ``offline_home``: the home folder of whoever runs Ansible.
    """
    return [*check(settings, RULES), *cache_dir(settings)]


def cache_dir(settings: Settings) -> Iterator[Problem]:
    """A folder that `make destroy` may remove with all that is in it."""
    folder, home = PurePosixPath(settings["offline_cache_dir"]), PurePosixPath(settings["offline_home"])
    # What has fewer parts is the system's, such as /var.
    if not folder.is_absolute() or ".." in folder.parts or len(folder.parts) <= 2 or home.is_relative_to(folder):
        wanted = (
            "it takes the path of a folder of its own, such as /var/cache/flask-postgres-stack, which may be removed"
        )
        yield Problem("offline_cache_dir", wanted, str(folder))
