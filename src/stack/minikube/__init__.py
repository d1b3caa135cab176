"""Minikube: its profile, its state, the machine it needs, and what of a cluster is kept where minikube would lose it.

Facts about minikube are those of v1.38.1; the packages that they come from are named where they are used.
"""
