"""What a run prints: a line for each step that did something, and the reason where one failed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stack.steps import Ticker, changed_names, duration, failure, line, reason

ROOT = Path(__file__).parents[2]
QUIET = """
- name: Ensure a shop
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Ensure the shelves
      ansible.builtin.file: {path: "{{ folder }}/{{ item }}", state: directory}
      loop: [left, right]
    - name: Validate the floor
      ansible.builtin.assert: {that: true}
    - name: Apply the sign
      ansible.builtin.include_role: {name: common}
      vars: {sign: "{{ folder }}/sign"}
    - name: Read what is not there
      ansible.builtin.fail: {msg: nothing}
      ignore_errors: true
    - name: Wait for the door
      ansible.builtin.assert: {that: true}
      until: lookup('ansible.builtin.pipe', 'echo >> {}/knocked; wc -l < {}/knocked'.format(folder, folder)) | int > 1
      retries: 3
      delay: 0
    - name: Ensure it once more
      block:
        - name: Ensure what cannot be
          ansible.builtin.fail: {msg: it rains}
      rescue:
        - name: Show why
          ansible.builtin.debug: {msg: "It is closed: {{ ansible_failed_result.msg }}"}
    - name: Ensure nothing
      ansible.builtin.fail: {msg: never}
      when: false
    - name: Show where it is
      ansible.builtin.debug: {msg: ["At the corner,", "  https://shop.example.com"]}
"""
FAILED = """
- name: Ensure a shop
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Validate the settings
      ansible.builtin.assert: {that: item < 2, fail_msg: "{{ item }} is too much", quiet: true}
      loop: [1, 2, 3]
"""
SIGN = """
- name: Ensure a sign
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Apply the sign
      ansible.builtin.include_role: {name: common}
      vars: {sign: "{{ folder }}/sign"}
"""
COMMON = """
- name: Apply the objects
  ansible.builtin.copy: {content: "open\\n", dest: "{{ sign }}", mode: "0644"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Playbooks, and the role that they share."""
    found = tmp_path_factory.mktemp("shop")
    (found / "quiet.yml").write_text(QUIET)
    (found / "failed.yml").write_text(FAILED)
    (found / "sign.yml").write_text(SIGN)
    (found / "roles/common/tasks").mkdir(parents=True)
    (found / "roles/common/tasks/main.yml").write_text(COMMON)
    return found


def command(playbook: Path, *arguments: str) -> list[str]:
    python = f"ansible_python_interpreter={sys.executable}"
    return ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", python, *arguments, str(playbook)]


def run(playbook: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(playbook, *arguments), "-e", f"folder={place}"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(**values: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_FORCE_COLOR", "NO_COLOR")}
    return {**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **values}


def without_times(text: str) -> str:
    return re.sub(r" +\d+\.\d s(  )?", r" TIME ", text)


def test_a_run_prints_what_it_changes_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    done = run(folder / "quiet.yml", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said, _, counts = done.stdout.partition("\nPLAY RECAP ")
    # A step that took long is shown, too, as any may on a busy machine.
    assert [text for text in without_times(said).splitlines() if not text.startswith("ok ")] == [
        "",
        "Ensure a shop",
        "changed TIME Ensure the shelves: left, right",
        "changed TIME Apply the sign",
        "",
        "It is closed: it rains",
        "",
        "At the corner,",
        "  https://shop.example.com",
    ]
    assert re.search(r"ok=\d+ +changed=2 +unreachable=0 +failed=0 .*\n\nDone in \d+\.\d s\.\n\Z", counts)


def test_the_difference_stands_above_its_step(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sign").write_text("closed\n")
    said = without_times(run(folder / "sign.yml", tmp_path, "--diff", "--check").stdout)
    assert "Ensure a sign (check mode: nothing is changed)" in said
    assert re.search(
        r"\nApply the sign\n--- before.*\n-closed\n\+open\n\nchanged TIME Apply the sign\n", said, re.DOTALL
    )


def test_the_rest_is_shown_with_v(folder: Path, tmp_path: Path) -> None:
    said = run(folder / "sign.yml", tmp_path, "-v").stdout
    assert re.search(r"^TASK \[common : Apply the objects\] \*+\nchanged: \[localhost\] => ", said, re.MULTILINE)


@pytest.mark.parametrize(("values", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_failure_at_a_terminal(folder: Path, values: dict[str, str], coloured: bool) -> None:
    """It ends with what, why and what to do, in colours unless they are not wanted."""
    said: list[bytes] = []

    def read(terminal: int) -> bytes:
        said.append(os.read(terminal, 4096))
        return said[-1]

    program = command(folder / "failed.yml")
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(program[0], program, environment(TERM="xterm", **values))
    # Linux ends a terminal that nobody writes to any more with an error.
    with contextlib.suppress(OSError):
        while read(terminal):
            pass
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    text = b"".join(said).decode().replace("\r\n", "\n")
    assert ("\x1b[" in text) is coloured
    # Ansible's own message is not said as well.
    assert text.count("2 is too much") == 1
    assert re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()[-4:] == [
        "Failed: Validate the settings",
        "2 is too much",
        "3 is too much",
        "Nothing was changed. Remove the cause and run the same command again; with -v it shows every task.",
    ]


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0, "0.0 s"), (4.24, "4.2 s"), (59.96, "1 min 0 s"), (119.7, "2 min 0 s"), (125, "2 min 5 s")],
)
def test_durations(seconds: float, wanted: str) -> None:
    assert duration(seconds) == wanted


def test_a_line_stands_in_columns() -> None:
    lines = [line("changed", 0.3, "a step", ["1", "2", "3", "4", "5", "6"]), line("ok", 754, "another")]
    assert lines == ["changed        0.3 s  a step: 1, 2, 3, 4, and 2 more", "ok       12 min 34 s  another"]


def applied(kind: str, name: str, changed: bool) -> dict[str, Any]:
    return {"changed": changed, "result": {"kind": kind, "metadata": {"name": name}}}


def test_objects_are_named_that_the_cluster_has_changed() -> None:
    many = [applied("Secret", "a", False), applied("Deployment", "b", True)]
    assert changed_names({"changed": True, "result": {"results": many}}) == ["Deployment b"]
    assert changed_names(applied("Service", "c", True)) == ["Service c"]
    assert changed_names({"changed": True, "censored": "hidden"}) == []
    removed = {"kind": "Status", "metadata": {}, "details": {"name": "d", "kind": "jobs"}}
    assert changed_names({"changed": True, "result": removed}) == ["jobs d"]
    for odd in ({"kind": "Status", "metadata": {}}, {"kind": "JobList", "metadata": {}}, {"kind": "Job"}, {}):
        assert changed_names({"changed": True, "result": odd}) == []
    assert changed_names({"changed": True, "result": "text"}) == []


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({"msg": "plain"}, "plain"),
        ({"msg": ["two", "lines"]}, "two\nlines"),
        ({}, "It gives no reason."),
        ({"reason": "no such file"}, "no such file"),
        ({"msg": "non-zero return code", "rc": 3, "stderr": "no such file\n"}, "exit code 3\nno such file"),
        ({"msg": "non-zero return code", "rc": 3, "stdout": "x\ny", "stderr": ""}, "exit code 3\nx\ny"),
        ({"msg": "it says: y", "rc": 3, "stdout": "x\ny"}, "it says: y"),
        ({"censored": "hidden", "msg": "secret"}, "Its output has secrets and is not shown."),
        ({"results": [{"failed": True, "msg": "a"}, {"msg": "b"}, {"failed": True, "msg": "a"}], "msg": "c"}, "a"),
        ({"results": [], "msg": "c"}, "c"),
    ],
)
def test_reasons(result: dict[str, Any], wanted: str) -> None:
    assert reason(result) == wanted


def test_a_failure_says_what_stays() -> None:
    said = failure("a step", 61.2, "because", 2).splitlines()
    assert said[:2] == ["Failed after 1 min 1 s: a step", "because"]
    assert said[2].startswith("2 steps have changed something before it, and that stays. ")


def test_a_step_says_that_it_goes_on_until_it_ends() -> None:
    said: list[str] = []
    twice = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 1:
            ticker.note("try 2 of 3")
        if len(said) == 2:
            twice.set()

    ticker = Ticker(say, 0.01)
    ticker.start("Build the image")
    assert twice.wait(10)
    ticker.stop()
    assert said[:2] == ["  Build the image goes on: 0 s", "  Build the image goes on: 0 s, try 2 of 3"]
    count = len(said)
    ticker.start("Build another")
    while len(said) == count:
        twice.wait(0.01)
    ticker.stop()
    assert set(said[count:]) == {"  Build another goes on: 0 s"}
