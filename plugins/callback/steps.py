"""Print what a run changes, a line for each step, and what went wrong in one paragraph at its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.playbook.role_include import IncludeRole
from ansible.plugins.callback.default import CallbackModule as Default

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.steps import Ticker, changed_names, duration, failure, line, reason, text

DOCUMENTATION = r"""
name: steps
type: stdout
short_description: What a run changes, a line for each step
description:
  - Prints a line for each task that changed something or took five seconds, with the time that it took and the objects
    or items that it changed. A task that goes on for ten seconds says so.
  - Messages of C(debug) are printed as they are, and warnings as Ansible prints them.
  - A failure that nothing rescues is the last thing that is said, with its reason and what to do.
  - With C(-v) it prints what P(ansible.builtin.default#callback) does.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements: [set as stdout callback]
"""

# A step of this length, in seconds, is shown though it changed nothing, for somebody has waited for it.
SLOW_S = 5.0
# A role whose steps are of no interest by themselves, but what another role asks it for.
SHARED = "common"
# Actions that say themselves that they go on.
SAYING = ("minikube_start", "offline_build", "streamed_command", "wait_for_job", "wait_for_rollout")


class CallbackModule(Default):
    """See DOCUMENTATION above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "steps"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._task_began = time.monotonic()
        self._step = ""
        self._gap = False
        self._failures: dict[str, tuple[str, float, str]] = {}
        self._ticker = Ticker(self._tell)

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity > 0)

    def _tell(self, message: str, color: str | None = None) -> None:
        self._display.display(message, color=color)
        # What goes on is to be seen where it goes through a pipe, too.
        sys.stdout.flush()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        self._tell(f"\n{play.get_name().strip()}{' (check mode: nothing is changed)' if play.check_mode else ''}")

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        self._task_began = time.monotonic()
        self._step = _label(task)
        if self._verbose:
            super()._task_start(task, prefix)
        elif task.action.rpartition(".")[2] not in SAYING:
            self._ticker.start(self._step)

    def _print_task_banner(self, task: Any) -> None:
        if self._verbose:
            super()._print_task_banner(task)
            return
        self._last_task_banner = task._uuid
        self._tell(f"\n{self._step}")

    def _say(self, status: str, result: Any, color: str | None) -> None:
        host = f"{self.host_label(result)}: " if len(self._play.hosts) > 1 else ""
        names = changed_names(result.result) if status == "changed" else []
        # A message stands apart from the lines of steps.
        gap, self._gap = "\n" if self._gap else "", False
        self._tell(gap + line(status, self._seconds(), host + self._step, names), color)

    def _seconds(self) -> float:
        return time.monotonic() - self._task_began

    def v2_runner_on_ok(self, result: Any) -> None:
        self._ticker.stop()
        if self._verbose:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings(result.result)
        if _is_message(result.task) and "results" not in result.result:
            self._message(result)
        elif result.result.get("changed"):
            self._say("changed", result, constants.COLOR_CHANGED)
        elif self._seconds() >= SLOW_S:
            self._say("ok", result, constants.COLOR_OK)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_ok(result)
            return
        self._handle_warnings(result.result)
        if _is_message(result.task):
            self._message(result)

    def _message(self, result: Any) -> None:
        self._clean_results(result.result, result.task.action)
        said = text(result.result["msg"]) if "msg" in result.result else self._dump_results(result.result)
        self._tell("\n" + said.strip("\n"))
        self._gap = True

    def _note_failure(self, result: Any) -> None:
        self._failures[result.host.get_name()] = (self._step, self._seconds(), reason(result.result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._ticker.stop()
        if not ignore_errors:
            self._note_failure(result)
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)
        else:
            self._handle_warnings(result.result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._ticker.stop()
        if not result.task.ignore_unreachable:
            self._note_failure(result)
        if self._verbose:
            super().v2_runner_on_unreachable(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._ticker.stop()
        if self._verbose:
            super().v2_runner_on_skipped(result)
        else:
            self._handle_warnings(result.result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_failed(result)
        else:
            self._handle_warnings(result.result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        self._ticker.stop()
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if self._verbose:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_runner_retry(self, result: Any) -> None:
        self._ticker.note(f"try {result.result['attempts'] + 1} of {result.result['retries']}")
        if self._display.verbosity > 1:
            super().v2_runner_retry(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._ticker.stop()
        super().v2_playbook_on_stats(stats)
        took = time.monotonic() - self._began
        failed = [host for host in sorted(stats.processed) if stats.failures.get(host) or stats.dark.get(host)]
        if not failed:
            self._tell(f"Done in {duration(took)}.")
        for host in failed:
            step, seconds, why = self._failures[host]
            name = f"{host}: {step}" if len(stats.processed) > 1 else step
            changes = 0 if self._play.check_mode else stats.changed.get(host, 0)
            self._tell(failure(name, seconds, why, changes), constants.COLOR_ERROR)


def _is_message(task: Any) -> bool:
    return bool(task.action.rpartition(".")[2] == "debug")


def _label(task: Any) -> str:
    """The name of a step, with its role; of the shared role, what it was included for."""
    parent = task._parent
    if task._role and task._role.get_name() == SHARED:
        while parent is not None:
            if isinstance(parent, IncludeRole) and parent.name and "{{" not in parent.name:
                role = f"{parent._parent_role.get_name()} : " if parent._parent_role else ""
                return f"{role}{parent.name}"
            parent = parent._parent
    return str(task.get_name()).strip()
