"""Conditions that their own tasks change.

Ansible asks the ``when`` of a block, and of what is imported, before each task in it: where one of the tasks changes
the answer, those after it are left out. What is included asks once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Task = Mapping[str, Any]
ROOT = Path(__file__).parents[2]
WORD = re.compile(r"[A-Za-z_]\w*")
TEMPLATE = re.compile(r"[\w.-]+\.j2")
SECTIONS = ("block", "rescue", "always")
PLAY_SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers")


@dataclass(frozen=True)
class Tree:
    """Playbooks and roles of a folder."""

    root: Path

    @functools.cached_property
    def variables(self) -> dict[str, str]:
        """What the variables of all roles are made of, by name; roles name theirs by a prefix of their own."""
        files = [*self.root.glob("roles/*/defaults/main.yml"), *self.root.glob("roles/*/vars/main.yml")]
        return {name: str(value) for file in files for name, value in (load(file) or {}).items()}

    @functools.cached_property
    def templates(self) -> dict[str, str]:
        """The text of all templates, by name: those of one name in several roles are taken as one."""
        texts: dict[str, str] = {}
        for file in self.root.glob("roles/*/templates/**/*.j2"):
            texts[file.name] = texts.get(file.name, "") + file.read_text()
        return texts

    def read(self, text: str, own: Mapping[str, Any]) -> set[str]:
        """The names that an expression reads, with those that they are made of.

        Args:
            text: The expression.
            own: Variables of the task and of the blocks around it.
        """
        names: set[str] = set()
        texts = [text]
        while texts:
            current = texts.pop()
            for name in WORD.findall(current):
                if name not in names:
                    names.add(name)
                    texts += [str(own[name])] if name in own else []
                    texts += [self.variables[name]] if name in self.variables else []
            for name in TEMPLATE.findall(current):
                if name not in names and name in self.templates:
                    names.add(name)
                    texts.append(self.templates[name])
        return names

    def changed(self, task: Task, folder: Path, seen: frozenset[Path] = frozenset()) -> set[str]:
        """The names that a task, or what it includes, sets."""
        names = {task["register"]} if "register" in task else set()
        for module, arguments in task.items():
            match module.rpartition(".")[2], arguments:
                case "set_fact", dict():
                    names |= set(arguments)
                case "validate", {"roles": [*roles]}:
                    suffix = "validated_running" if arguments.get("running") else "validated"
                    names |= {f"__{role}_{suffix}" for role in roles}
        for file in self.included(task, folder):
            if file not in seen:
                for inner in flat(tasks_of(file)):
                    names |= self.changed(inner, file.parent, seen | {file})
        return names

    def included(self, task: Task, folder: Path) -> list[Path]:
        """The files of tasks that a task brings in; all that it may, where a template names them."""
        for module, arguments in task.items():
            action = module.rpartition(".")[2]
            if action in ("include_tasks", "import_tasks"):
                name = arguments["file"] if isinstance(arguments, dict) else arguments
                return named(folder, name, task)
            if action in ("include_role", "import_role"):
                tasks = self.root / "roles" / arguments["name"] / "tasks"
                return named(tasks, f"{arguments.get('tasks_from', 'main')}.yml", task) if tasks.is_dir() else []
        return []

    def files(self) -> Iterator[Path]:
        """Every file of tasks and every playbook."""
        for pattern in ("roles/*/tasks/*.yml", "playbooks/tasks/*.yml", "molecule/*/tasks/*.yml"):
            yield from self.root.glob(pattern)
        yield from self.root.glob("playbooks/*.yml")
        yield from self.root.glob("molecule/shared/*.yml")
        yield from (file for file in [self.root / "site.yml"] if file.exists())

    def faults(self) -> list[str]:
        """A line for each condition that is asked again after a task of its own has changed what it reads."""
        return [line for file in sorted(self.files()) for line in self._faults(file)]

    def _faults(self, file: Path) -> Iterator[str]:
        for container, own in containers(tasks_of(file)):
            read = self.read(str(container["when"]), own)
            # Nothing asks again after the last one.
            for task in self._within(container, file.parent)[:-1]:
                if found := read & self.changed(task, file.parent):
                    name = f"{file.relative_to(self.root)}: {container.get('name', 'block')}"
                    yield f"{name}: {task.get('name', 'a task')} changes {', '.join(sorted(found))}"

    def _within(self, container: Task, folder: Path) -> list[Task]:
        """The tasks that ask the condition of a block, or of what is imported."""
        if "block" in container:
            return [task for section in SECTIONS for task in flat(container.get(section) or [])]
        return [task for file in self.included(container, folder) for task in flat(tasks_of(file))]


@functools.cache
def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def tasks_of(file: Path) -> list[Any]:
    """The tasks of a file, or the plays of a playbook; none where it is something else, such as variables."""
    found = load(file)
    return found if isinstance(found, list) else []


def named(folder: Path, name: str, task: Task) -> list[Path]:
    """The file of a name; where that is a template, those of the folder that the task mentions."""
    if "{{" not in name:
        return [file for file in [(folder / name)] if file.exists()]
    words = set(re.findall(r"[\w-]+", str(task)))
    files = sorted(folder.glob("*.yml"))
    return [file for file in files if file.stem in words] or files


def flat(entries: list[Any]) -> Iterator[Task]:
    """The tasks of a file or a play, without the blocks around them."""
    for entry in entries:
        inner = [task for section in (*SECTIONS, *PLAY_SECTIONS) for task in entry.get(section) or []]
        if inner:
            yield from flat(inner)
        elif "hosts" not in entry:
            yield entry


def containers(entries: list[Any], own: Mapping[str, Any] | None = None) -> Iterator[tuple[Task, dict[str, Any]]]:
    """What has a condition that each task in it asks, with the variables around it."""
    for entry in entries:
        around = {**(own or {}), **(entry.get("vars") or {})}
        imports = any(module.rpartition(".")[2] in ("import_tasks", "import_role") for module in entry)
        if "when" in entry and ("block" in entry or imports):
            yield entry, around
        for section in (*SECTIONS, *PLAY_SECTIONS):
            yield from containers(entry.get(section) or [], around)
