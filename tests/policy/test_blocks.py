"""No block leaves out its last tasks because its first ones have changed its condition."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import ROOT, Tree

# A role that leaves what it has applied in a fact, as the role `common` does.
COMMON = """
- name: Apply the objects
  kubernetes.core.k8s: {definition: "{{ common_due }}"}
  register: __common_applied
- name: Record the applied objects
  ansible.builtin.set_fact: {common_secrets: "{{ common_secrets | merge(__common_applied) }}"}
"""
VARS = """
__shop_former: "{{ common_secrets['shop'].FORMER | default('') }}"
__shop_former_ends: "{{ __shop_former != '' }}"
__shop_due: "{{ lookup('ansible.builtin.template', 'shop.yaml.j2') }}"
"""
APPLY = """
- name: Apply the Secret
  ansible.builtin.include_role: {name: common, tasks_from: apply}
"""


def tree(folder: Path, tasks: str) -> Tree:
    files = {
        "common/tasks/apply.yml": COMMON,
        "shop/vars/main.yml": VARS,
        "shop/templates/shop.yaml.j2": "login: {{ common_secrets['shop'].LOGIN }}\n",
        "shop/tasks/apply.yml": APPLY,
        "shop/tasks/main.yml": tasks,
    }
    for name, text in files.items():
        (folder / "roles" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "roles" / name).write_text(text)
    return Tree(folder)


@pytest.mark.parametrize(
    ("tasks", "name"),
    [
        (
            """
- name: Remove the former login
  when: __shop_former_ends | bool
  block:
    - {name: Apply, ansible.builtin.include_tasks: apply.yml}
    - {name: Remove, shop_login: {state: absent}}
""",
            "common_secrets",
        ),
        (
            """
- name: Roll out
  when: __shop_due != '' and not ansible_check_mode
  block:
    - name: Nested
      block:
        - {name: Apply, ansible.builtin.include_role: {name: common, tasks_from: apply}}
    - {name: Wait, wait_for_rollout: {name: shop}}
""",
            "common_secrets",
        ),
        (
            """
- name: Ensure the service
  when: shop_seen.resources == []
  block:
    - {name: Make, shop_make: {}}
    - {name: Read, kubernetes.core.k8s_info: {kind: Shop}, register: shop_seen}
    - {name: Note, shop_note: {}}
""",
            "shop_seen",
        ),
        (
            """
- name: Ensure the login
  ansible.builtin.import_tasks: logins.yml
  when: __shop_known is not defined
""",
            "__shop_known",
        ),
    ],
)
def test_a_condition_that_its_tasks_change_is_found(tmp_path: Path, tasks: str, name: str) -> None:
    found = tree(tmp_path, tasks)
    (tmp_path / "roles" / "shop" / "tasks" / "logins.yml").write_text(
        "- {name: Record, ansible.builtin.set_fact: {__shop_known: true}}\n- {name: Apply, shop_login: {}}\n"
    )
    (line,) = found.faults()
    assert line.endswith(f" changes {name}")


@pytest.mark.parametrize(
    "tasks",
    [
        # What is included asks once.
        """
- name: Remove the former login
  ansible.builtin.include_tasks: apply.yml
  when: __shop_former_ends | bool
""",
        # Nothing asks after the last task.
        """
- name: Remove the former login
  when: __shop_former_ends | bool
  block:
    - {name: Remove, shop_login: {state: absent}}
    - {name: Apply, ansible.builtin.include_tasks: apply.yml}
""",
        """
- name: Ensure the service
  when: shop_enabled | bool
  block:
    - {name: Apply, ansible.builtin.include_tasks: apply.yml}
    - {name: Wait, wait_for_rollout: {name: shop}}
""",
    ],
)
def test_what_asks_once_is_no_fault(tmp_path: Path, tasks: str) -> None:
    assert tree(tmp_path, tasks).faults() == []


def test_no_condition_is_changed_by_its_own_tasks() -> None:
    found = Tree(ROOT)
    assert len(list(found.files())) > 100
    assert found.faults() == []
