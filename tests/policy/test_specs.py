"""Every setting is documented and typed, and nothing is documented that is no setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

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
