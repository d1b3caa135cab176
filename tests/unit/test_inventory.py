"""What the inventory of Minikube finds out about this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stack.inventory import read_settings


@pytest.mark.parametrize(
    ("place", "provider"),
    [
        (None, "offline"),
        ("opt/minikube", "installed"),
        # The link on PATH leads to whatever cache the last run had.
        (f"old-cache/artifacts/minikube-{'0' * 16}/minikube", "offline"),
    ],
)
def test_a_minikube_that_was_built_is_none_that_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None, provider: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if place:
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
        (folder / "minikube").symlink_to(tmp_path / place)
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}")
    assert read_settings("inventory/minikube", ["minikube_provider"]) == {"minikube_provider": provider}
