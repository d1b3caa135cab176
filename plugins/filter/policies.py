"""The network policies of the namespace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.policies import (
    due_policies,
    flows_also_from,
    monitoring_flows,
    network_policies,
    node_peers,
    role_flows,
    stale_policies,
)

DOCUMENTATION = r"""
name: network_policies
short_description: The network policies that let flows through, and nothing else
options:
  _input: {type: list, elements: dict, required: true, description: "The flows, each with C(from), C(to) and C(ports)."}
  metadata: {type: dict, required: true, description: "What the metadata of each policy has beside its name."}
  peers: {type: dict, required: true, description: "Peers that have a name."}
  dns: {type: list, elements: dict, required: true, description: "Who answers names."}
"""

RETURN = r"""
_value: {type: list, elements: dict, description: "The policies."}
"""


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "network_policies": network_policies,
            "flows_also_from": flows_also_from,
            "role_flows": role_flows,
            "monitoring_flows": monitoring_flows,
            "node_peers": node_peers,
            "due_policies": due_policies,
            "stale_policies": stale_policies,
        }
