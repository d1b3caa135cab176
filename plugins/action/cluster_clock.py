"""Warn of a clock of this machine that differs from the cluster's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Result
from stack.clock import difference

DOCUMENTATION = r"""
name: cluster_clock
short_description: Warn of a clock of this machine that differs from the cluster's
description:
  - Compares this machine's time with that of an answer of the API server, and warns of more than a minute. It changes
    nothing and never fails.
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace; by default C(stack_namespace)."}
"""

RETURN = r"""
seconds_ahead: {type: float, description: "By how much this machine's clock is ahead; null where no answer says."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``cluster_clock`` tasks; see DOCUMENTATION above."""

    def act(self) -> Result:
        ahead = self.connect().seconds_ahead()
        result: Result = {"seconds_ahead": round(ahead, 1)}
        if said := difference(ahead):
            result["warnings"] = [f"{said}: certificates are made by this machine's. NTP keeps clocks together"]
        return result

    def unreachable(self, _error: Exception) -> Result:
        return {"seconds_ahead": None}
