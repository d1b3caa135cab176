"""Settings of the role ``postgres_backup``, by the rules of pgBackRest and Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url

from stack.postgres.backups import is_outside_cluster
from stack.quantity import mebibytes, quantity
from stack.validation import Problem, Settings, dns, kubernetes
from stack.validation.postgres import volume
from stack.validation.rules import Rule, check, matches, number, optional
from stack.validation.workloads import schedule

ALIASES = {
    "postgres_backup_storage_class": "stack_storage_class",
    "postgres_backup_instances": "postgres_instances",
    "postgres_backup_database_storage_size": "postgres_storage_size",
    "postgres_backup_user": "postgres_user",
    "postgres_backup_metrics_enabled": "postgres_metrics_enabled",
    "postgres_backup_rollout_timeout": "postgres_rollout_timeout",
}
QUEUE_MIN_MIB = 32
PASSPHRASE = re.compile(r"([!-~]{16,256})?")
ENDPOINT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?")
BUCKET_PATH = re.compile(r"(/[-A-Za-z0-9_.]+)+")
# Seconds that the bucket's endpoint may take for an answer.
ENDPOINT_S = 10
BUCKET = tuple(f"postgres_backup_s3_{part}" for part in ("endpoint", "bucket", "region", "key", "key_secret"))


def authority(value: Any) -> str | None:
    return None if "-----BEGIN CERTIFICATE-----" in value else "it takes a certificate as PEM, or nothing"


def requests(value: Any) -> str | None:
    """What a container requests, of which another setting has the limits."""
    return kubernetes.resources({"requests": value})


RULES: dict[str, Rule] = {
    "postgres_backup_storage_size": volume,
    "postgres_backup_storage_class": optional(dns.subdomain),
    "postgres_backup_full_schedule": schedule,
    "postgres_backup_incr_schedule": schedule,
    "postgres_backup_restore_test_schedule": optional(schedule),
    "postgres_backup_restore_test_max_age": number(1, 3650, wanted="it takes days, 1 to 3650"),
    "postgres_backup_restore_test_requests": requests,
    "postgres_backup_retention": number(1, 9999, wanted="it takes the number of full backups to keep, 1 to 9999"),
    "postgres_backup_resources": kubernetes.resources,
    "postgres_backup_timeout": number(60, wanted="it takes 60 seconds or more"),
}
BUCKET_RULES: dict[str, Rule] = {
    "postgres_backup_s3_endpoint": optional(
        matches(
            ENDPOINT,
            "it takes a host name with or without a port, such as s3.eu-west-1.amazonaws.com; HTTPS is used",
        )
    ),
    "postgres_backup_s3_path": matches(BUCKET_PATH, "it takes a path such as /flask-postgres"),
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings of backups, where there are any."""
    if not settings["postgres_backup_enabled"]:
        return []
    return [*check(settings, RULES, ALIASES), *queue_and_passphrase(settings), *bucket(settings)]


def queue_and_passphrase(settings: Settings) -> Iterator[Problem]:
    queue, storage = settings["postgres_backup_queue_size"], settings["postgres_backup_database_storage_size"]
    if queue and (
        not kubernetes.is_quantity(queue)
        or mebibytes(queue) < QUEUE_MIN_MIB
        or (kubernetes.is_quantity(storage) and quantity(queue) >= quantity(storage))
    ):
        size = f"a quantity such as 1Gi, {QUEUE_MIN_MIB}Mi or more"
        wanted = f"it takes {size}, and less than postgres_storage_size ({storage})"
        yield Problem("postgres_backup_queue_size", wanted, queue)
    if not PASSPHRASE.fullmatch(settings["postgres_backup_passphrase"]):
        wanted = "it takes 16 to 256 characters without spaces, or none to have one generated"
        yield Problem("postgres_backup_passphrase", wanted)


def bucket(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the bucket, where backups go to one."""
    if settings["postgres_backup_repository"] != "s3":
        return
    for name in BUCKET:
        if not re.fullmatch(r"\S+", settings[name]):
            yield Problem(name, "it is not set, and postgres_backup_repository s3 needs it, without spaces")
    yield from check(settings, BUCKET_RULES)
    if complaint := optional(authority)(settings["postgres_backup_s3_ca"]):
        yield Problem("postgres_backup_s3_ca", complaint, settings["postgres_backup_s3_ca"][:40])


def unreachable(settings: Settings) -> list[Problem]:
    """Whether the bucket's endpoint answers this machine, where it has a name that this machine can look up.

    Any answer will do: whether the key is valid is for pgBackRest to find out. An endpoint that only the cluster
    reaches is tried by the first backup.
    """
    endpoint = settings["postgres_backup_s3_endpoint"]
    is_s3 = settings["postgres_backup_enabled"] and settings["postgres_backup_repository"] == "s3"
    if not is_s3 or not is_outside_cluster(endpoint):
        return []
    url = f"https://{endpoint}/"
    try:
        open_url(url, method="HEAD", validate_certs=False, follow_redirects="none", timeout=ENDPOINT_S).close()
    except HTTPError:
        return []
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return [Problem("postgres_backup_s3_endpoint", f"it does not answer: {reason}", endpoint)]
    return []


def running_problems(settings: Settings) -> list[Problem]:
    """What a repository that is there cannot become.

    Beside the settings it reads what the role has found:
        ``found_claim``: The spec of the claim of the repository, or nothing.
        ``volume_grows``: Whether its storage class lets volumes grow.
        ``found_cipher``: The cipher of the repository that the settings name, or nothing where it is a new one.
        ``found_passphrase``: Its passphrase, or nothing.
    """
    return [*claim_changes(settings), *repository_changes(settings)]


def claim_changes(settings: Settings) -> Iterator[Problem]:
    if claim := settings["found_claim"]:
        size, given = claim["resources"]["requests"]["storage"], settings["postgres_backup_storage_size"]
        grows = quantity(given) > quantity(size) and settings["volume_grows"]
        if quantity(given) != quantity(size) and not grows:
            wanted = f"the volume has {size}, and gets larger only where its storage class allows that, never smaller"
            yield Problem("postgres_backup_storage_size", wanted, given)
        found, given = claim.get("storageClassName", ""), settings["postgres_backup_storage_class"]
        if given not in ("", found):
            wanted = f"the volume was made with '{found}', and a volume keeps its class"
            yield Problem("postgres_backup_storage_class", wanted, given)


def repository_changes(settings: Settings) -> Iterator[Problem]:
    if not settings["postgres_backup_enabled"] or not settings["found_cipher"]:
        return
    encrypted = settings["postgres_backup_encrypted"]
    if encrypted != (settings["found_cipher"] != "none"):
        wanted = "the repository was made with the other, and stays so; another bucket or path begins a new one"
        yield Problem("postgres_backup_encrypted", wanted, encrypted)
    elif encrypted and settings["postgres_backup_passphrase"] not in ("", settings["found_passphrase"]):
        wanted = "it takes the one that the repository was made with, for nothing else reads what is in it"
        yield Problem("postgres_backup_passphrase", wanted)
