"""Recipes of the offline build that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kubernetes_recipes(binaries: Mapping[str, str], ldflags: str) -> list[dict[str, Any]]:
    """The recipes of Kubernetes' binaries.

    Args:
        binaries: For each name where it stays: ``host``, in the cache, or ``image``, only within its image.
        ldflags: What the linker is told, such as the version.
    """
    return [
        {
            "name": name,
            "kind": "go",
            "source": "go/kubernetes",
            "needs": ["go"],
            "package": f"k8s.io/kubernetes/cmd/{name}",
            "ldflags": ldflags,
            "intermediate": place == "image",
        }
        for name, place in binaries.items()
    ]
