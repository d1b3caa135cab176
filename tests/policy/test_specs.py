"""Every setting is documented and typed, and nothing is documented that is no setting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.validation import secrets, specs

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role: str) -> None:
    folder = ROOT / "roles" / role
    specs = load(folder / "meta" / "argument_specs.yml")["argument_specs"]
    defaults = set(load(folder / "defaults" / "main.yml") or {})
    options = specs["main"].get("options", {})
    optional = {name for name, option in options.items() if not option.get("required")}
    assert defaults == optional
    for entry_point in specs.values():
        for name, option in entry_point.get("options", {}).items():
            assert name.startswith(f"{role}_")
            assert option.get("description"), f"{name} has no description"
            assert option.get("type"), f"{name} has no type"


# Such as `{{ postgres_user | default('postgres') }}`: another role's setting, and what a play without it takes.
FALLBACK = re.compile(r"\{\{\s*(\w+)\s*\|\s*default\(((?:(?!\)\s*\|).)*)\)\s*\}\}", re.DOTALL)


def test_a_play_without_a_role_takes_the_role_at_its_defaults() -> None:
    defaults = {name: value for role in ROLES for name, value in _defaults(role).items()}
    found = [
        (name, *match.groups()) for name, value in defaults.items() if (match := FALLBACK.fullmatch(str(value).strip()))
    ]
    assert len(found) > 9, "the search finds nothing"
    for name, other, text in found:
        if other in defaults:
            assert defaults[other] in (yaml.safe_load(text), f"{{{{ {text} }}}}"), name


def _defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults" / "main.yml") or {}


def test_secrets_are_known_as_such() -> None:
    """No message shows them: they are looked at before anything else reads them."""
    found = specs.all_options()
    named = {name for name in found if re.search(r"_(password|passphrase|token|key|key_secret)$", name)}
    assert len(named) >= 9
    assert named <= set(secrets.secret_options(found))


@pytest.mark.parametrize(
    "playbook", ["site.yml", *(f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml"))]
)
def test_every_playbook_looks_at_them_first(playbook: str) -> None:
    play = load(ROOT / playbook)[0]
    first = (play.get("pre_tasks") or play.get("tasks"))[0]
    assert "validate_secrets" in first
    assert first["tags"] == "always"
    assert not play.get("roles") or "pre_tasks" in play
