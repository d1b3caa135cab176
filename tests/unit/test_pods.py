"""Commands in pods: how often they run, and what is said of an answer that is not as wanted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from stack.pods import INTERVAL_S, Answer, Pod, run_until

ROOT = Path(__file__).parents[2]
PODS: list[dict[str, Any]] = [{"name": "postgres-0"}, {"name": "postgres-1"}]


class Pods:
    """Pods that answer in order what they were given, and a clock that a sleep moves on."""

    def __init__(self, **answers: list[tuple[int | None, str, str] | Exception]) -> None:
        self.answers = {name.replace("_", "-"): given for name, given in answers.items()}
        self.asked: list[str] = []
        self.now = 0.0

    def execute(self, pod: Pod) -> tuple[int | None, str, str]:
        self.asked.append(pod["name"])
        given = self.answers[pod["name"]]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, timeout_s: float, pods: list[dict[str, Any]] = PODS) -> list[Answer]:
        return run_until(
            pods, self.execute, lambda _, answer: answer.output == "t", timeout_s, lambda: self.now, self.sleep
        )


def test_a_pod_that_has_answered_is_not_asked_again() -> None:
    pods = Pods(postgres_0=[(0, "t", "")], postgres_1=[(0, "f", ""), (0, "f", ""), (0, "t", "")])
    answers = pods.run(10)
    assert [answer.met for answer in answers] == [True, True]
    assert pods.asked == ["postgres-0", "postgres-1", "postgres-1", "postgres-1"]
    assert pods.now == 2 * INTERVAL_S


def test_without_a_wait_each_is_asked_once() -> None:
    pods = Pods(postgres_0=[(0, "f", "")], postgres_1=[(0, "t", "")])
    assert [answer.met for answer in pods.run(0)] == [False, True]
    assert pods.asked == ["postgres-0", "postgres-1"]


def test_the_wait_ends_with_the_last_answer() -> None:
    pods = Pods(postgres_0=[(1, "", "starting"), (1, "f", "no\n  such table")])
    (answer,) = pods.run(3, PODS[:1])
    assert pods.now == 3
    assert str(answer) == "postgres-0: exit code 1, no such table"
    assert answer.errors[0] == "starting"


def test_a_pod_that_is_not_there_yet_is_asked_again() -> None:
    pods = Pods(postgres_0=[OSError("container not found"), (0, "t", "")])
    (answer,) = pods.run(3, PODS[:1])
    assert answer.met
    assert answer.errors == ["container not found"]


def test_a_command_without_an_end_is_told_from_one_that_fails() -> None:
    (answer,) = Pods(postgres_0=[(None, "", "")]).run(0, PODS[:1])
    assert str(answer) == "postgres-0: no exit code, no output"


def test_no_pod_is_no_wait() -> None:
    pods = Pods()
    assert pods.run(10, []) == []
    assert pods.now == 0


STUB = '''
import importlib.util
spec = importlib.util.spec_from_file_location("real", {plugin!r})
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)


class Echo:
    """A cluster whose pods answer with their name and command."""

    def execute(self, pod, container, *command, seconds):
        return int(pod == "failing"), " ".join((pod, container, *command)), "heard "


class ActionModule(real.ActionModule):
    def connect(self):
        return Echo()
'''
PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    stack_kubeconfig: none
    stack_context: none
    stack_namespace: none
    letter: c
  tasks:
    - run_in_pods:
        pods: [a, {name: b, container: other, command: [whoami], said: "b other whoami"}]
        container: main
        command: [echo, 1]
        wanted: rc == 0 and stdout == pod.said | default('a main echo 1') and letter == 'c'
      register: both
    - run_in_pods: {pods: [a], container: main, command: [id], wanted: "'root' in stdout"}
      register: missed
      ignore_errors: true
    - run_in_pods: {pods: [a, failing], container: main, command: [id]}
      register: plain
      ignore_errors: true
    - ansible.builtin.copy:
        dest: "{{ lookup('ansible.builtin.env', 'SEEN') }}"
        content: "{{ {'both': both, 'missed': missed, 'plain': plain} | to_json }}"
"""


def test_a_task_says_of_each_pod_what_is_wanted(tmp_path: Path) -> None:
    """As Ansible runs it: `wanted` reads the answer, the pod's own entry and the task's variables."""
    (tmp_path / "plugins").mkdir()
    stub = STUB.format(plugin=str(ROOT / "plugins" / "action" / "run_in_pods.py"))
    (tmp_path / "plugins" / "run_in_pods.py").write_text(stub)
    (tmp_path / "play.yml").write_text(PLAY)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ACTION_PLUGINS": str(tmp_path / "plugins"),
        "SEEN": str(tmp_path / "seen.json"),
    }
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [answer["met"] for answer in seen["both"]["answers"]] == [True, True]
    assert seen["both"]["stdout"] == "a main echo 1"
    assert not seen["both"]["failed"]
    assert seen["missed"]["failed"]
    assert seen["missed"]["msg"] == "a: exit code 0, heard"
    assert seen["plain"]["msg"] == "failing: exit code 1, heard"
