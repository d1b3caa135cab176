"""The state of a running stack: read from the cluster, and judged."""
