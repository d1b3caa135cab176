"""The check of `make lint` over the locks, proved by what it has to find."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from locks import ROOT, problems
from packaging.requirements import Requirement

REPORT = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "broken", "version": "1.0", "vulns": [{"id": "PYSEC-0", "fix_versions": ["1.1"]}]},
    ]
}


@pytest.mark.parametrize("line", ["six>=1", "six==1.17.0"], ids=["no-version", "no-hash"])
def test_what_is_not_locked_is_found(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{line}\n")
    assert ["hash" in problem for problem in problems(str(lock), "--dry-run")] == [True]


def test_a_vulnerability_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands in for an index that knows of one.
    pip_audit = tmp_path / "pip-audit"
    pip_audit.write_text(f"#!/bin/sh\necho '{json.dumps(REPORT)}'\n")
    pip_audit.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert problems("requirements.txt") == ["requirements.txt: broken 1.0: PYSEC-0, fixed in ['1.1']"]


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
@pytest.mark.parametrize(
    ("python", "ansible_core"), [("3.11", "2.19"), ("3.12", "2.21"), ("3.13", "2.21"), ("3.14", "2.21")]
)
def test_each_python_gets_the_newest_ansible_that_takes_it(lock: str, python: str, ansible_core: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    lines = [line.rstrip(" \\") for line in (ROOT / lock).read_text().splitlines() if re.match(r"\w", line)]
    found = [
        required for required in map(Requirement, lines) if not required.marker or required.marker.evaluate(environment)
    ]
    names = [required.name for required in found]
    assert len(names) == len(set(names)), "one version of each package"
    (version,) = [str(required.specifier) for required in found if required.name == "ansible-core"]
    assert version.startswith(f"=={ansible_core}.")
