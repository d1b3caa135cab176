"""Check the locks of Python packages, each pinned with its hash and none known as vulnerable; a part of `make lint`."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]


def audit(lock: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pip-audit, which prints a report unless it could not make one."""
    command = ["pip-audit", "--requirement", lock, "--require-hashes", "--disable-pip", "--format", "json"]
    return subprocess.run(
        [*command, "--progress-spinner", "off", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )


def is_answered(lock: str) -> bool:
    """Whether the index tells vulnerabilities, as PyPI does and most of its mirrors do not."""
    report = audit(lock).stdout
    return bool(report) and any("vulns" in package for package in json.loads(report)["dependencies"])


def problems(lock: str, *options: str) -> list[str]:
    """What is wrong with a lock."""
    result = audit(lock, *options)
    if not result.stdout:
        return [f"{lock}: {line}" for line in result.stderr.splitlines()[-1:]]
    return [
        f"{lock}: {package['name']} {package['version']}: {found['id']}, fixed in {found['fix_versions']}"
        for package in json.loads(result.stdout)["dependencies"]
        for found in package.get("vulns", [])
    ]


def main() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "*requirements*.txt"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    options = []
    if not is_answered("requirements-uv.txt"):
        print("The index tells no vulnerabilities: the locks are checked for pins and hashes alone", file=sys.stderr)
        options = ["--dry-run"]
    with ThreadPoolExecutor(2) as pool:
        found = [
            line for lines in pool.map(lambda lock: problems(lock, *options), listing.stdout.split()) for line in lines
        ]
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
