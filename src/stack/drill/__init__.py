"""Faults on the running stack while clients write: what is lost, and how long until writes succeed again."""
