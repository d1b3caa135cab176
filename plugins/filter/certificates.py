"""Names on certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.certificates import common_name

DOCUMENTATION = r"""
name: common_name
short_description: Of a certificate's names, the first that fits into its subject, or nothing
options:
  _input: {description: "The names.", type: list, elements: str, required: true}
"""

RETURN = r"""
_value: {type: str, description: "The common name; empty where every name is too long for one."}
"""


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"common_name": common_name}
