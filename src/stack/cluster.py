"""The cluster, asked through its API server: the one client of the playbooks' own Python."""

from __future__ import annotations

import base64
import json
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, AppsV1Api, Configuration, CoreV1Api, NetworkingV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError
from kubernetes.stream import stream
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

TIMEOUT_S = 5
# What a call may end with where the cluster, the pod or the right to ask is missing.
READ_ERRORS = (ApiException, DynamicApiError, HTTPError, WebSocketException, OSError, ValueError, KeyError)


class Cluster:
    """The API server, as far as it concerns one namespace.

    Args:
        kubeconfig: Path of the kubeconfig.
        context: Its context.
        namespace: The namespace of the stack.

    Raises:
        kubernetes.config.ConfigException: The kubeconfig has no such context, or cannot be read.
    """

    def __init__(self, kubeconfig: str, context: str, namespace: str) -> None:
        settings = Configuration()
        config.load_kube_config(kubeconfig, context, client_configuration=settings, persist_config=False)
        settings.retries = False
        self.server = str(settings.host)
        self.namespace = namespace
        self._client = ApiClient(settings)
        self._dynamic: DynamicClient | None = None
        # Typed as anything, for fields that are always there are optional to the client's types.
        self.core: Any = CoreV1Api(self._client)
        self.apps: Any = AppsV1Api(self._client)
        self.networking: Any = NetworkingV1Api(self._client)
        # stream() changes the client that it is given while it runs.
        self._streams = CoreV1Api(ApiClient(settings))

    def get(self, path: str, seconds: float = TIMEOUT_S) -> str:
        """The body that a path of the API server answers with."""
        if self._dynamic is None:
            self._dynamic = DynamicClient(self._client)
        response = self._dynamic.request("GET", path, _request_timeout=seconds, serialize=False)
        return str(response.data.decode())

    def items(self, group: str, kind: str, query: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, such as ``("api/v1", "pods")``."""
        found = json.loads(self.get(f"/{group}/namespaces/{self.namespace}/{kind}{query}"))["items"]
        return list(found)

    def ask(self, pod: str, port: int, path: str, seconds: float = TIMEOUT_S) -> str:
        """The body that a pod answers an HTTP request with."""
        return self.get(f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy{path}", seconds)

    def secret(self, name: str, key: str) -> str:
        """One value of a Secret."""
        data = self.core.read_namespaced_secret(name, self.namespace).data or {}
        return base64.b64decode(data[key]).decode()

    def execute(
        self, pod: str, container: str, *command: str, seconds: float = TIMEOUT_S
    ) -> tuple[int | None, str, str]:
        """Run a command in a container.

        Returns:
            The exit code, None where the command has not ended in time or the connection ended without one; what the
            command wrote to standard output; and to standard error.
        """
        process = stream(
            self._streams.connect_get_namespaced_pod_exec, pod, self.namespace, container=container,
            command=list(command), stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False,
            _request_timeout=seconds,
        )  # fmt: skip
        process.run_forever(timeout=seconds)
        if process.is_open():
            process.close()
            return None, str(process.read_stdout()), str(process.read_stderr())
        try:
            # Before the output, for reading all of that reads the exit code as well.
            code = process.returncode
        except TypeError:
            code = None
        return code, str(process.read_stdout()), str(process.read_stderr())

    def run(self, pod: str, container: str, *command: str, seconds: float = TIMEOUT_S) -> str:
        """The standard output of a command in a container.

        Raises:
            OSError: The command failed, or has not ended in time.
        """
        code, output, errors = self.execute(pod, container, *command, seconds=seconds)
        if code != 0:
            raise OSError(f"{command[0]} in {pod}: {errors.strip() or 'no answer'}")
        return output


def reason(error: Exception) -> str:
    """One line of what an API server or a connection has to say."""
    if isinstance(error, ApiException | DynamicApiError) and error.status:
        try:
            message = json.loads(str(error.body))["message"]
        except (TypeError, ValueError, KeyError):
            message = error.reason
        return f"{error.status} {message}"
    return " ".join(str(error).split()) or type(error).__name__
