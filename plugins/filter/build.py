"""What a build of an image is given of the user's environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.proxies import build_arguments

DOCUMENTATION = r"""
name: build_proxies
short_description: The build arguments by which the steps of a build use the user's proxy
options:
  _input: {type: str, required: true, description: "The network of the build, as C(docker build --network) takes it."}
"""

RETURN = r"""
_value: {type: dict, description: "Names and values; empty where the environment names no proxy within reach."}
"""


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"build_proxies": lambda network: build_arguments(os.environ, network)}
