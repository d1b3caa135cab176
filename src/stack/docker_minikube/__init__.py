"""A Minikube with the Docker driver for the tests, made of what the offline build keeps in its cache.

The cluster has an engine, a home, a kubeconfig and a profile of its own, so that it lives beside any other cluster of
the machine. It takes root, as the offline build does.
"""
