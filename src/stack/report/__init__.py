"""A page of what Prometheus has seen of the stack."""
