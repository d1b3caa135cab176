"""What the actions have in common that ask the cluster."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from kubernetes.config import ConfigException

from stack.cluster import READ_ERRORS, Cluster, reason

Result = dict[str, Any]
Options = dict[str, dict[str, Any]]
# Options of every action that asks the cluster, and the settings that they default to.
ACCESS = {"kubeconfig": "stack_kubeconfig", "context": "stack_context", "namespace": "stack_namespace"}


class ClusterAction(ActionBase):
    """An action that asks the cluster: reads its options, connects, and says why it cannot.

    A subclass has its own options and what it does with them; ``kubeconfig``, ``context`` and ``namespace`` come beside
    them, and are those of the stack where a task does not name others.
    """

    _supports_check_mode = True
    arguments: dict[str, Any]
    options: ClassVar[Options] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Return the action's result, or a failure with a line that says why there is none."""
        result: Result = super().run(tmp, task_vars)
        access = {"kubeconfig": {"type": "path"}, "context": {"type": "str"}, "namespace": {"type": "str"}}
        _, self.arguments = self.validate_argument_spec(argument_spec={**access, **self.options})
        for option, setting in ACCESS.items():
            if self.arguments[option] is None:
                self.arguments[option] = self._templar.resolve_variable_expression(setting)
        try:
            result.update(self.act())
        except (*READ_ERRORS, ConfigException) as error:
            result.update(self.unreachable(error))
        return result

    def connect(self) -> Cluster:
        """The cluster that the options name."""
        return Cluster(self.arguments["kubeconfig"], self.arguments["context"], self.arguments["namespace"])

    def act(self) -> Result:
        """Do what the action is for.

        Raises:
            Exception: One of `stack.cluster.READ_ERRORS`, or kubernetes.config.ConfigException.
        """
        raise NotImplementedError

    def unreachable(self, error: Exception) -> Result:
        """The result where the cluster does not answer."""
        return {"failed": True, "msg": f"the cluster does not answer: {reason(error)}"}
