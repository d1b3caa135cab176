"""The cluster, asked through its API server: the one client of the playbooks' own Python."""

from __future__ import annotations

import base64
import datetime
import functools
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import kubernetes.client
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError
from kubernetes.stream import stream
from kubernetes.stream.ws_client import ERROR_CHANNEL
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from stack.clock import seconds_ahead

TIMEOUT_S = 5
# What is read of a log at once; the next reading goes on from there.
LOG_BYTES = 1 << 20
# Kinds that are in no namespace, of which rights are asked.
OUTSIDE = ("nodes",)
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
        self._settings = settings
        self._client = ApiClient(settings)

    # Each loads hundreds of classes, which takes a second; most callers get paths alone. They are typed as anything,
    # for fields that are always there are optional to the client's types.
    @functools.cached_property
    def core(self) -> Any:
        """The client of the core API."""
        return kubernetes.client.CoreV1Api(self._client)

    @functools.cached_property
    def apps(self) -> Any:
        """The client of the API ``apps/v1``."""
        return kubernetes.client.AppsV1Api(self._client)

    @functools.cached_property
    def networking(self) -> Any:
        """The client of the API ``networking.k8s.io/v1``."""
        return kubernetes.client.NetworkingV1Api(self._client)

    def may(self, verb: str, resource: str, group: str = "") -> bool:
        """Whether the account may do something in the namespace, or in the cluster for what is in none.

        Args:
            verb: Such as ``create``.
            resource: Such as ``pods``, or ``pods/exec``.
            group: The API group; empty for the core.
        """
        name, _, part = resource.partition("/")
        attributes = kubernetes.client.V1ResourceAttributes(
            namespace=None if name in OUTSIDE else self.namespace,
            verb=verb,
            group=group,
            resource=name,
            subresource=part or None,
        )
        review = kubernetes.client.V1SelfSubjectAccessReview(
            spec=kubernetes.client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        answer = kubernetes.client.AuthorizationV1Api(self._client).create_self_subject_access_review(review)
        return bool(answer.status and answer.status.allowed)

    def get(self, path: str, seconds: float = TIMEOUT_S, accept: str = "application/json, */*") -> str:
        """The body that a path of the API server answers with."""
        return str(self._request(path, seconds, accept).data.decode())

    def seconds_ahead(self) -> float:
        """By how much this machine's clock is ahead of the API server's, in seconds.

        Raises:
            ValueError: What answers for the API server writes no date.
        """
        asked = datetime.datetime.now(datetime.UTC)
        date = self._request("/version", TIMEOUT_S, "application/json").headers.get("Date", "")
        return seconds_ahead(date, asked, datetime.datetime.now(datetime.UTC))

    def _request(self, path: str, seconds: float, accept: str) -> Any:
        # Without the client's discovery of kinds, which takes longer than an answer and has no deadline.
        request = self._client.param_serialize(
            "GET", path, header_params={"Accept": accept}, auth_settings=["BearerToken"]
        )
        answer = self._client.call_api(*request, _request_timeout=seconds)
        answer.read()
        if not 200 <= answer.status <= 299:
            raise ApiException(http_resp=answer)
        return answer.response

    def items(self, group: str, kind: str, query: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, such as ``("api/v1", "pods")``."""
        found = json.loads(self.get(f"/{group}/namespaces/{self.namespace}/{kind}{query}"))["items"]
        return list(found)

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job, if there is one."""
        try:
            found: dict[str, Any] = json.loads(self.get(f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"))
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    def log(self, pod: str, container: str, since: str) -> list[tuple[str, str]]:
        """What a container has logged after a time: pairs of a time and a line; nothing where it cannot be read.

        Times are as the API server writes them (RFC 3339, with fractions of a second); empty for the whole log.
        """
        query = f"container={container}&timestamps=true&limitBytes={LOG_BYTES}"
        if since:
            query += "&sinceTime=" + quote(since)
        try:
            text = self.get(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?{query}")
        except ApiException:
            # The container is starting, or gone already.
            return []
        lines = text.splitlines()
        if len(text) >= LOG_BYTES and len(lines) > 1:
            # Broken off within a line, which comes whole next time.
            del lines[-1]
        pairs = (line.partition(" ")[::2] for line in lines)
        # The API server takes whole seconds.
        return [(at, line) for at, line in pairs if at > since]

    def ask(self, pod: str, port: int, path: str, seconds: float = TIMEOUT_S) -> str:
        """The body that a pod answers an HTTP request with."""
        return self.get(f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy{path}", seconds)

    def delete_pod(self, name: str) -> None:
        """Delete a pod, which whatever owns it makes anew."""
        self.core.delete_namespaced_pod(name, self.namespace)

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
            command wrote to standard output; and to standard error, or else why there is no exit code.
        """
        # One of its own, for stream() changes the client that it is given while it runs.
        own = kubernetes.client.CoreV1Api(ApiClient(self._settings))
        process = stream(
            own.connect_get_namespaced_pod_exec, pod, self.namespace, container=container, command=list(command),
            stdin=False, stdout=True, stderr=True, tty=False, _preload_content=False,
            _request_timeout=seconds,
        )  # fmt: skip
        process.run_forever(timeout=seconds)
        if process.is_open():
            process.close()
            return None, str(process.read_stdout()), str(process.read_stderr())
        # Before the output, for reading all of that takes this channel's text as well.
        code, why = ended(str(process.read_channel(ERROR_CHANNEL)))
        return code, str(process.read_stdout()), str(process.read_stderr()) or why

    def run(self, pod: str, container: str, *command: str, seconds: float = TIMEOUT_S) -> str:
        """The standard output of a command in a container.

        Raises:
            OSError: The command failed, or has not ended in time.
        """
        code, output, errors = self.execute(pod, container, *command, seconds=seconds)
        if code != 0:
            raise OSError(f"{command[0]} in {pod}: {errors.strip() or 'no answer'}")
        return output


def ended(status: str) -> tuple[int | None, str]:
    """How a command in a container has ended, by the ``Status`` that the API server sends last.

    The client's own reading takes the first cause for an exit code, whatever it says:
    https://github.com/kubernetes-client/python/blob/master/kubernetes/base/stream/ws_client.py.

    Returns:
        The exit code, and nothing; or None, and why the command has not run or has not ended.
    """
    try:
        document = json.loads(status)
        if document["status"] == "Success":
            return 0, ""
        if document["reason"] == "NonZeroExitCode":
            return int(document["details"]["causes"][0]["message"]), ""
        return None, str(document["message"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None, status


def reason(error: Exception) -> str:
    """One line of what an API server or a connection has to say."""
    if isinstance(error, ApiException | DynamicApiError) and error.status:
        try:
            message = json.loads(str(error.body))["message"]
        except (TypeError, ValueError, KeyError):
            message = error.reason
        return f"{error.status} {message}"
    return " ".join(str(error).split()) or type(error).__name__
