"""Warn of a clock of this machine that differs from the cluster's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.clock import difference
from stack.cluster import READ_ERRORS, Cluster

DOCUMENTATION = r"""
name: cluster_clock
short_description: Warn of a clock of this machine that differs from the cluster's
description:
  - Compares this machine's time with that of an answer of the API server, and warns of more than a minute. It changes
    nothing and never fails.
options:
  kubeconfig: {type: path, required: true, description: "The kubeconfig."}
  context: {type: str, required: true, description: "The kubeconfig's context."}
"""

RETURN = r"""
seconds_ahead: {type: float, description: "By how much this machine's clock is ahead; null where no answer says."}
"""


class ActionModule(ActionBase):
    """Entry point for ``cluster_clock`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "context": {"type": "str", "required": True},
            }
        )
        try:
            ahead = Cluster(arguments["kubeconfig"], arguments["context"], "").seconds_ahead()
        except (*READ_ERRORS, ConfigException):
            result["seconds_ahead"] = None
            return result
        result["seconds_ahead"] = round(ahead, 1)
        if said := difference(ahead):
            result["warnings"] = [f"{said}: certificates are made by this machine's. NTP keeps clocks together"]
        return result
