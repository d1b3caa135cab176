"""Keep the Secrets of a cluster that is about to be replaced by a new one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from kubernetes.config import ConfigException

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.actions import ClusterAction, Options, Result
from stack.cluster import READ_ERRORS, Cluster, reason
from stack.minikube import etcd, secrets
from stack.minikube.start import Files

DOCUMENTATION = r"""
name: minikube_keep
short_description: Keep the Secrets of a cluster that is about to be replaced by a new one
description:
  - Reads them from the API server, or, where that does not answer, from etcd's files, and writes them into a file that
    its owner alone can read. It fails with a line for all that cannot be kept.
options:
  reason: {type: str, required: true, description: "Why the cluster is replaced."}
  kubeconfig: {type: path, description: "The kubeconfig; by default C(stack_kubeconfig)."}
  context: {type: str, description: "The kubeconfig's context; by default C(stack_context)."}
  namespace: {type: str, description: "The namespace whose Secrets are all kept; by default C(stack_namespace)."}
  data: {type: path, description: "minikube's folder in the node, where that is this machine."}
  kept: {type: path, required: true, description: "The folder of the file, and of a copy of etcd's files."}
  may_lose: {type: bool, default: false, description: "Whether to go on where something cannot be kept."}
"""

RETURN = r"""
kept: {type: list, elements: str, description: "The names of the Secrets, each with its namespace."}
lost: {type: list, elements: str, description: "A line for what is not kept."}
"""


class ActionModule(ClusterAction):
    """Entry point for ``minikube_keep`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = False
    options: ClassVar[Options] = {
        "reason": {"type": "str", "required": True},
        "data": {"type": "path"},
        "kept": {"type": "path", "required": True},
        "may_lose": {"type": "bool", "default": False},
    }

    def act(self) -> Result:
        arguments = self.arguments
        kept = Path(arguments["kept"])
        file = kept / "secrets.json"
        files = Files(Path(arguments["data"]), kept) if arguments["data"] else None
        try:
            found, cluster, lost = read(self.connect, files)
            # A run that was broken off has kept them, and has removed what they were read from.
            if secrets.read(file)["secrets"]:
                lost = []
            if lost and not arguments["may_lose"]:
                msg = (
                    f"{arguments['reason']}. Nothing was deleted: minikube_recreate is true, and not every Secret can "
                    f"be kept: {'; '.join(lost)}. minikube_recreate_may_lose=secrets agrees to new ones instead"
                )
                return {"failed": True, "msg": msg}
            if keep := secrets.to_keep(found, arguments["namespace"]):
                secrets.write(file, keep, cluster)
            names = [secret["metadata"] for secret in secrets.read(file)["secrets"]]
            if files:
                files.release()
        except (secrets.KeptError, OSError) as error:
            return {"failed": True, "msg": f"{arguments['reason']}. Nothing was deleted: {error}"}
        return {"lost": lost, "kept": [f"{meta['namespace']}/{meta['name']}" for meta in names]}


def read(connect: Callable[[], Cluster], files: Files | None) -> tuple[list[dict[str, Any]], str | None, list[str]]:
    """All Secrets of the cluster, its UID, and what cannot be read."""
    if files and files.are_lost():
        # What answers is what minikube has made in place of the cluster.
        unread, member, key = "minikube has reset the cluster", files.copy / "member", files.copy / files.key.name
    else:
        try:
            cluster = connect()
            found = json.loads(cluster.get("/api/v1/secrets"))["items"]
            return found, json.loads(cluster.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"], []
        except (*READ_ERRORS, ConfigException) as error:
            unread = f"the API server does not answer ({reason(error)})"
        if not files:
            return [], None, [f"{unread}, and etcd's files are within the node"]
        member, key = files.etcd / "member", files.key
    try:
        found, uid, lines = secrets.from_etcd(member, key)
    except etcd.EtcdError as error:
        return [], None, [unread, str(error)]
    return found, uid, [unread, *lines] if lines else []
