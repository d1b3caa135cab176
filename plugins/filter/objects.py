"""Which manifests still have to be applied, by what the cluster has: a request for each of them takes its time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.objects import annotation_patches, by_name, documents, drifted, merge_applied, merge_secrets, placed_all
from stack.waiting import rollout_problem, unfinished_rollouts

DOCUMENTATION = r"""
name: drifted
short_description: The definitions of manifests that the cluster does not have as they are
description:
  - Each is returned with the annotation C(flask-postgres-stack/applied), a hash of the names of its fields. An object
    with the same hash and with all that is in the definition needs no request. The comparison tells that a value is
    another, the hash that a field is wanted no more.
  - What the API server writes in another way, such as a quantity of C(0.5), counts as a difference, and is applied.
options:
  _input: {type: str, required: true, description: "Manifests, as the documents of a YAML text."}
  objects: {type: dict, required: true, description: "What is there, by C(Kind/name). With nothing, all are due."}
  placement: {type: dict, description: "What every object and pod has beside it, see stack.placement."}
"""

RETURN = r"""
_value: {type: list, elements: dict, description: "Definitions to apply."}
"""


def rendered_objects(manifests: str) -> dict[str, Any]:
    """The objects of a YAML text by ``Kind/name``."""
    return by_name(documents(manifests))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "annotation_patches": annotation_patches,
            "drifted": drifted,
            "merge_applied": merge_applied,
            "merge_secrets": merge_secrets,
            "placed": placed_all,
            "rendered_objects": rendered_objects,
            "rollout_problem": rollout_problem,
            "unfinished_rollouts": unfinished_rollouts,
        }
