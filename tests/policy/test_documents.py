"""What the documents name is there: files, sections, tests, commands and settings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
    "\0"
)
PAGES = [name for name in FILES if name.endswith(".md") and (ROOT / name).is_file()]
MAKEFILE = (ROOT / "Makefile").read_text()
# Pages that are written while the site is made, and what they are written from; some from code.
GENERATED = {
    r"^docs/reference/roles/(\w+)\.md$": r"roles/\1/README.md",
    r"^docs/reference/service\.md$": "app/README.md",
    r"^docs/reference/(roles|commands|api)\.md$": None,
}
FOLDERS = "app|docs|examples|images|inventory|molecule|playbooks|plugins|roles|src|tests"


def prose(page: str) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def code(page: str) -> Iterator[str]:
    """What stands in backquotes."""
    yield from re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))


@cache
def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def source(path: str) -> str | None:
    """The file that a page of the site is written from; nothing where that is code."""
    for pattern, written_from in GENERATED.items():
        if re.search(pattern, path):
            return written_from and re.sub(pattern, written_from, path)
    return path


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = source(str((ROOT / page).parent.joinpath(path).resolve().relative_to(ROOT)) if path else page)
        if found and not ((ROOT / found).exists() and (not anchor or anchor in anchors(found))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_files_and_tests_are_there(page: str) -> None:
    # A role's README names its own files, a guide those that each role has.
    folders = [ROOT, (ROOT / page).parent, *ROOT.glob("roles/*")]
    missing = []
    for text in code(page):
        if found := re.fullmatch(rf"((?:{FOLDERS}|files|meta|defaults|vars)/[\w./*-]+)(?:::(\w+))?", text):
            path, test = found.groups()
            files = [file for folder in folders for file in folder.glob(path.rstrip("/"))]
            if not files or (test and f"def {test}(" not in files[0].read_text()):
                missing.append(text)
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_targets(page: str) -> None:
    targets = re.findall(r"^([a-z0-9-]+%?):(?!=)", MAKEFILE, re.MULTILINE) + [
        name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()
    ]
    patterns = [re.compile(name.replace("%", "[a-z_]+")) for name in targets]
    used = re.findall(r"(?:^|`|&& )make ([a-z][a-z0-9_-]*)", (ROOT / page).read_text(), re.MULTILINE)
    assert [name for name in used if not any(pattern.fullmatch(name) for pattern in patterns)] == []


@cache
def names() -> set[str]:
    """All names that stand anywhere but in documents and in their tests."""
    found: set[str] = set()
    for file in FILES:
        if file and not re.search(r"\.(md|png|gz|sum)$|(^|/)requirements[^/]*\.txt$", file) and (ROOT / file).is_file():
            found |= set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", (ROOT / file).read_text()))
    return found


# An option of containerd, a column of PostgreSQL, and a login whose name is put together.
OTHERS = {"restrict_oom_score_adj", "query_id", "flask_app_2"}


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_there(page: str) -> None:
    used = {text for text in code(page) if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", text)}
    assert used - names() - OTHERS == set()


def test_make_alone_lists_every_command_in_its_group() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make ([a-z0-9-]+) +\S", shown, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (help .*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert listed == phony[1].split()
    assert re.search(r"^  make test-role-NAME +\S", shown, re.MULTILINE)
    groups = [group.split("\n") for group in shown.split("\n\n")[1:]]
    assert [(group[0], group[1].split()[1]) for group in groups] == [
        ("Deploy", "deploy"),
        ("Operate a running stack", "status"),
        ("Develop", "dev"),
    ]
