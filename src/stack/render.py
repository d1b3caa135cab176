"""``python -m stack.render``: write the manifests that a first run would apply into a folder, without a cluster."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from stack.images import templates
from stack.objects import Object
from stack.run import exact
from stack.status.objects import needs

ROOT = Path(__file__).parents[2]
PLAYBOOK = ROOT / "playbooks" / "render.yml"
# In a folder that was written here, whose files may be replaced.
MARK = ".rendered"
MARK_TEXT = "Written by make render, which replaces every file in this folder.\n"
# What a run fills with the certificate of the authority that it makes.
MADE_BY_A_RUN = {("ConfigMap", "ca-certificates")}
# The entry point that each role gets: its own templates, by its own settings, into one file.
WRITE = """
- name: Write the manifests
  ansible.builtin.copy:
    dest: "{{ render_folder }}/{{ role_name }}.yaml"
    content: >-
      {{ manifests | placed(common_placement) | map('to_nice_yaml', sort_keys=false)
         | map('regex_replace', '^', '---\\n') | join }}
    mode: "0600"
  vars:
    manifests: "{{ (query('ansible.builtin.template', *templates) | select + objects) | join('\\n') }}"
    # These come from no template.
    objects: >-
      {{ ([__namespace_object] if namespace_managed | bool else []) | union(__namespace_policies)
         | map('to_json') | map('regex_replace', '^', '---\\n') if role_name == 'namespace' else [] }}
    templates: TEMPLATES
"""
# What a role applies in one go, as far as the settings want it.
WHOLE = "_manifests.yaml.j2"


class RenderError(Exception):
    """The manifests cannot be rendered, with Ansible's reason."""


def render(folder: Path, arguments: Iterable[str] = (), values: Mapping[str, Any] | None = None) -> None:
    """Write the manifests of the roles into a folder, one file for each role, Secrets with made-up values.

    Args:
        folder: An empty folder.
        arguments: More arguments of ``ansible-playbook``, such as the inventory.
        values: Settings over those of the inventory.

    Raises:
        RenderError: A setting is wrong, or a template cannot be rendered.
    """
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        # As in this folder, but for the roles, which know one entry point.
        for entry in ROOT.iterdir():
            if entry.name != "roles":
                (tree / entry.name).symlink_to(entry)
        for role in (ROOT / "roles").iterdir():
            copy = tree / "roles" / role.name
            (copy / "tasks").mkdir(parents=True)
            names = templates_of(role / "templates")
            (copy / "tasks" / "write.yml").write_text(WRITE.replace("TEMPLATES", json.dumps(names)))
            for entry in role.iterdir():
                if entry.name != "tasks":
                    (copy / entry.name).symlink_to(entry)
        shutil.copy(PLAYBOOK, tree / "render.yml")
        extra = json.dumps({**(values or {}), "render_folder": str(folder)})
        result = subprocess.run(
            ["ansible-playbook", str(tree / "render.yml"), *arguments, "-e", extra],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_ROLES_PATH": str(tree / "roles"), "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        said = result.stdout + result.stderr
        # What went wrong is the last thing that a run says.
        raise RenderError(said[said.rfind("\nFailed") :][-3000:].strip())


def templates_of(folder: Path) -> list[str]:
    """The templates of manifests in a role's folder, but for those that another one of them includes.

    Such a one is included if the settings want it.
    """
    names = sorted(path.name for path in folder.glob("*.yaml.j2") if not path.name.startswith("_"))
    whole = folder / WHOLE
    if not whole.is_file():
        return names
    included = whole.read_text()
    return [WHOLE, *(name for name in names if f"'{name}'" not in included)]


def objects(manifests: Iterable[Path]) -> dict[str, list[Object]]:
    """The objects of rendered files, by the role that they are of."""
    return {file.stem: [found for found in yaml.safe_load_all(file.read_text()) if found] for file in manifests}


def files(rendered: Mapping[str, Iterable[Object]]) -> dict[str, str]:
    """A file for each object, without Secrets and what a run makes.

    Args:
        rendered: The objects by role.

    Returns:
        YAML by the file's path: ``role/kind-name.yaml``.
    """
    return {
        f"{role}/{found['kind'].lower()}-{found['metadata']['name']}.yaml": yaml.safe_dump(
            unowned(found), sort_keys=False
        )
        for role, of_role in rendered.items()
        for found in of_role
        if not is_made_by_a_run(found)
    }


def unowned(found: Object) -> Object:
    """An object without its owner, which has another id in each cluster."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "ownerReferences"}
    return {**found, "metadata": metadata}


def left_out(rendered: Mapping[str, Iterable[Object]]) -> list[str]:
    """What is in no file and pods need, or a run applies, by kind and name."""
    found = [each for of_role in rendered.values() for each in of_role]
    written = {(each["kind"], each["metadata"]["name"]) for each in found if not is_made_by_a_run(each)}
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    names |= {need for each in found for template in templates(each) for need in needs(template["spec"])}
    return sorted(f"{kind} {name}" for kind, name in names - written)


def is_made_by_a_run(found: Object) -> bool:
    """Whether an object is a Secret, or has values that no setting gives."""
    return found["kind"] == "Secret" or (found["kind"], found["metadata"]["name"]) in MADE_BY_A_RUN


def replace(folder: Path, written: Mapping[str, str]) -> None:
    """Write files into a folder in place of those that were written there before.

    Raises:
        RenderError: The folder has files that are somebody else's.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise RenderError(f"{folder} has other files: name a folder that is empty, or that make render has written")
        for entry in folder.iterdir():
            # Such as .git, where the folder is a checkout.
            if entry.is_dir() and not entry.name.startswith("."):
                shutil.rmtree(entry)
    for name, text in written.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / MARK).write_text(MARK_TEXT)


def main() -> None:
    """Write the manifests of an inventory."""
    parser = argparse.ArgumentParser(prog="python -m stack.render", description=__doc__, allow_abbrev=False)
    parser.add_argument("--inventory", required=True, help="the inventory of the stack")
    parser.add_argument("--to", required=True, type=Path, help="the folder to write")
    known, more = parser.parse_known_args()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            render(Path(temporary), ["-i", known.inventory, *exact(more)])
            rendered = objects(sorted(Path(temporary).glob("*.yaml")))
        written = files(rendered)
        replace(known.to, written)
    except (RenderError, OSError) as error:
        sys.exit(f"make: {error}")
    print(f"{len(written)} manifests are in {known.to}. Not in it, for a run makes what they hold:")
    print("\n".join(f"  {name}" for name in left_out(rendered)))


if __name__ == "__main__":
    main()
