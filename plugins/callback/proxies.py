"""Ask the cluster directly where the environment names a proxy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.proxies import variables

DOCUMENTATION = r"""
name: proxies
type: aggregate
short_description: Ask the cluster directly where the environment names a proxy
description:
  - Adds the cluster's addresses to C(NO_PROXY) and C(no_proxy) of this process, which every task, lookup and command
    inherits. It does so before each task, since one of them may start the cluster and write the kubeconfig.
"""


class CallbackModule(CallbackBase):
    """See DOCUMENTATION above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "proxies"

    def v2_playbook_on_play_start(self, *_: Any) -> None:
        os.environ.update(variables(os.environ))

    def v2_playbook_on_task_start(self, *_: Any, **__: Any) -> None:
        os.environ.update(variables(os.environ))
