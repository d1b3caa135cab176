"""Read what a cluster has of manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.namespace import live
from stack.objects import documents

DOCUMENTATION = r"""
name: read_objects
short_description: Read what a cluster has of manifests
options:
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "Of no meaning here."}
  manifests: {type: str, required: true, description: "Manifests, as the documents of a YAML text."}
"""

RETURN = r"""
objects: {type: dict, description: "The objects by C(Kind/name)."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``read_objects`` tasks; see DOCUMENTATION above."""

    options: ClassVar[Options] = {"manifests": {"type": "str", "required": True}}

    def act(self) -> Result:
        return {"objects": live(self.connect(), documents(self.arguments["manifests"]))}
