"""Load once what every task needs."""

from __future__ import annotations

import gc
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader

DOCUMENTATION = r"""
name: preload
type: aggregate
short_description: Load once what every task needs
description:
  - Ansible forks a process for each task, and each would load every file of filters and tests anew, and copy what it
    shares with the first process as soon as its garbage is collected. Loaded before the first fork, they are
    inherited; frozen, they are not touched.
"""


class CallbackModule(CallbackBase):
    """See DOCUMENTATION above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preload"

    def v2_playbook_on_play_start(self, *_: Any) -> None:
        for loader in (filter_loader, test_loader):
            list(loader.all())
        gc.freeze()
