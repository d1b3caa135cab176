"""Print what a play says and what goes wrong in it, and nothing of how it got there."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: screen
type: stdout
short_description: Only what a play says
description:
  - Messages of C(debug), C(assert) and C(fail), passed or not, go to standard output as they are, for people and
    programs to read; any other failure goes to standard error.
requirements: [set as stdout callback]
"""

SAYING = ("debug", "assert", "fail")


class CallbackModule(CallbackBase):
    """See DOCUMENTATION above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "screen"

    def _say(self, result: Any, *, failed: bool) -> None:
        said = result.task.action.rpartition(".")[2] in SAYING
        message = result.result.get("msg")
        if message and (said or failed):
            self._display.display(str(message), stderr=not said)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._say(result, failed=False)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        # Of a loop each item has said it already.
        if not ignore_errors and "results" not in result.result:
            self._say(result, failed=True)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._say(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._say(result, failed=True)
