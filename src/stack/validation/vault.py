"""Settings of the role ``vault``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stack.validation import Problem, Settings
from stack.validation.rules import Rule, check

URL = re.compile(r"https://[^/\s?#@]+(/[^/\s?#]+)*")
PATH = re.compile(r"[^/\s]+(/[^/\s]+)*")


def url(value: Any) -> str | None:
    return None if URL.fullmatch(value) else "it takes an address such as https://vault.example.com:8200"


def mount(value: Any) -> str | None:
    return None if PATH.fullmatch(value) else "it takes the path of a KV engine, such as secret"


def path(value: Any) -> str | None:
    return None if PATH.fullmatch(value) else "it takes the path of a secret below vault_mount, such as flask-postgres"


RULES: dict[str, Rule] = {"vault_url": url, "vault_mount": mount, "vault_path": path}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings, where there is a server.

    Beside them it reads ``vault_has_ca_file``: whether that file is there.
    """
    return [*check(settings, RULES), *ca_file(settings)] if settings["vault_url"] else []


def ca_file(settings: Settings) -> Iterator[Problem]:
    file = settings.get("vault_ca_file", "")
    if file and not settings.get("vault_has_ca_file", True):
        yield Problem("vault_ca_file", "it takes a file that can be read, or nothing", file)
