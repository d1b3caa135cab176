"""The stack's certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import certificates

DOCUMENTATION = r"""
name: certificate_states
short_description: What is there of the authority and of each certificate
options:
  _input: {type: list, elements: dict, required: true, description: "The certificates that are wanted."}
  secrets: {type: dict, required: true, description: "The Secrets of the namespace by name."}
  authority: {type: dict, required: true, description: "C(common_name), C(days) and C(renew_days)."}
"""

RETURN = r"""
_value: {type: dict, description: "C(authority_is_good), and C(certificates) with the state of each."}
"""

FILTERS = (
    certificates.certificate_readers,
    certificates.certificate_secrets,
    certificates.certificate_states,
    certificates.common_name,
    certificates.is_issued,
    certificates.is_trusted_everywhere,
    certificates.issued_secrets,
    certificates.issuer_problem,
)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {function.__name__: function for function in FILTERS}
