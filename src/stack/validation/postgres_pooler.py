"""Settings of the role ``postgres_pooler``, by the rules of PgBouncer and Kubernetes.

Whether PostgreSQL has the connections that the pooler opens is validated with the settings of the role ``postgres``.
"""

from __future__ import annotations

from stack.validation import Problem, Settings, kubernetes
from stack.validation.rules import Rule, check, number, optional

ALIASES = {
    "postgres_pooler_image_repository": "stack_image_repository",
    "postgres_pooler_database": "postgres_database",
    "postgres_pooler_databases": "postgres_databases",
    "postgres_pooler_client_certificates": "postgres_client_certificates",
    "postgres_pooler_metrics_enabled": "postgres_metrics_enabled",
    "postgres_pooler_rollout_timeout": "postgres_rollout_timeout",
}

RULES: dict[str, Rule] = {
    "postgres_pooler_base_image": kubernetes.image,
    "postgres_pooler_image_repository": optional(kubernetes.repository),
    "postgres_pooler_replicas": number(1, 10),
    "postgres_pooler_pool_size": number(1, wanted="it takes connections of each replica to the database, 1 or more"),
    "postgres_pooler_max_clients": number(1, 10_000),
    "postgres_pooler_query_timeout": number(1, wanted="it takes seconds, 1 or more"),
    "postgres_pooler_resources": kubernetes.resources,
    "postgres_pooler_exporter_resources": kubernetes.resources,
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings of the pooler, where there is one."""
    if not settings["postgres_pooler_enabled"]:
        return []
    found = [*check(settings, RULES, ALIASES)]
    if settings["postgres_pooler_client_certificates"]:
        wanted = (
            "it takes false where postgres_client_certificates is true, for PgBouncer logs in for clients whose"
            " certificates it does not have"
        )
        found.append(Problem("postgres_pooler_enabled", wanted, True))
    return found
