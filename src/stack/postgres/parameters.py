"""PostgreSQL's parameters: what they take, what is wanted of them, and whether it is in force.

The rules are those of PostgreSQL 17 (https://www.postgresql.org/docs/17/config-setting.html#CONFIG-SETTING-NAMES-VALUES),
held against a server in ``tests/unit/test_postgres_parameters.py``. ``parameters-17.json`` is what ``pg_settings`` of a
server says that has loaded every library of the official image with parameters of its own; see the role's README.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stack.quantity import mebibytes

TABLE = Path(__file__).with_name("parameters-17.json")
VERSION = 17

# The bytes and milliseconds of each unit, from the smallest to the largest. 8kB is a block, the unit of buffers.
MEMORY = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
TIME = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
BASES = {**MEMORY, **TIME, "8kB": 8192}
INTEGERS = range(-(2**31), 2**31)

# Patroni goes back to its own defaults below these, which are lower in PostgreSQL itself.
PATRONI_MINIMUMS = {
    "maintenance_work_mem": 1024,
    "max_connections": 25,
    "max_locks_per_transaction": 32,
    "max_replication_slots": 4,
    "max_wal_senders": 3,
    "max_worker_processes": 2,
    "wal_keep_size": 16,
}
# Beside the parameters that the role gives a value of its own: Patroni sets these, or they lead out of the container.
RESERVED = frozenset({
    "archive_cleanup_command", "archive_command", "archive_library", "archive_mode", "cluster_name", "config_file",
    "data_directory", "external_pid_file", "hba_file", "hot_standby", "ident_file", "listen_addresses", "port",
    "primary_conninfo", "primary_slot_name", "restore_command", "ssl_crl_dir", "ssl_crl_file",
    "ssl_passphrase_command", "ssl_passphrase_command_supports_reload", "synchronous_standby_names",
    "unix_socket_group", "unix_socket_permissions", "wal_level",
})  # fmt: skip
# Of one transaction, whatever a file says.
OF_A_TRANSACTION = frozenset({"transaction_deferrable", "transaction_isolation", "transaction_read_only"})
PASSED = {"on", "off", "true", "false", "yes", "no", "1", "0"}

_SPACE = " \t\n\v\f\r"
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_REAL = re.compile(
    r"[+-]?(0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?[0-9]+)?"
    r"|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf(inity)?|nan)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"-?(0|[1-9][0-9]*) *[a-zA-Z]*")


@dataclass(frozen=True)
class Parameter:
    """A row of ``pg_settings`` (https://www.postgresql.org/docs/17/view-pg-settings.html).

    Attributes:
        name: In the case in which PostgreSQL shows it.
        context: When it can change: ``postmaster`` at a restart alone, ``internal`` never, others by a reload.
        type: ``bool``, ``enum``, ``integer``, ``real`` or ``string``.
        unit: What a bare number counts, such as ``8kB``; empty where a number has no unit.
        min: The least value of a number, in the unit.
        max: The greatest value of a number, in the unit.
        values: The words of an enum, as PostgreSQL shows them.
        aliases: Words that an enum takes and PostgreSQL shows as another one, with that one.
    """

    name: str
    context: str
    type: str
    unit: str = ""
    min: float = 0
    max: float = 0
    values: tuple[str, ...] = ()
    aliases: Mapping[str, str] | None = None

    @property
    def library(self) -> str:
        """The library that brings the parameter; empty for PostgreSQL's own."""
        return self.name.partition(".")[0] if "." in self.name else ""


@cache
def known() -> Mapping[str, Parameter]:
    """All parameters of PostgreSQL and of the libraries in its image, by their names in lower case."""
    table = json.loads(TABLE.read_text())
    return {
        name.lower(): Parameter(**{**row, "name": name, "values": tuple(row.get("values", ()))})
        for name, row in table.items()
    }


def text(value: Any) -> str:
    """A value of YAML as it is written into postgresql.conf."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def _units(unit: str) -> dict[str, float]:
    """How much of a parameter's unit each unit is that the parameter takes."""
    scale = MEMORY if unit in MEMORY or unit == "8kB" else TIME if unit else {}
    return {name: size / BASES[unit] for name, size in scale.items()}


def _rounded(number: float) -> float:
    """To the nearest integer, halves to the even one, as C's rint()."""
    return float(round(number)) if math.isfinite(number) else number


def _in_unit(number: float, unit: str, base: str) -> float:
    """A number with a unit as one of the parameter's unit; a fraction is rounded to the next smaller unit."""
    units = _units(base)
    if not base:
        raise ValueError("it takes a number without a unit")
    if unit not in units:
        names = list(units)
        raise ValueError(f"valid units are {', '.join(names[:-1])} and {names[-1]}, in exactly this case")
    converted = number * units[unit]
    smaller = [size for size in units.values() if size < units[unit]]
    return _rounded(converted / smaller[-1]) * smaller[-1] if smaller else converted


def _scan(pattern: re.Pattern[str], value: str) -> tuple[str, str]:
    """The number at the beginning of a value, and what follows it."""
    stripped = value.lstrip(_SPACE)
    found = pattern.match(stripped)
    return (found[0], stripped[found.end() :]) if found else ("", stripped)


def _float(number: str) -> float:
    if "x" in number.lower():
        return float.fromhex(number)
    return float(number)


def parse_real(value: str, unit: str = "") -> float:
    """A real number as PostgreSQL reads it.

    Args:
        value: Such as ``0.5``, ``1e3`` or ``10.5ms``.
        unit: The parameter's unit; empty for none.

    Returns:
        The number in the parameter's unit.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    number, rest = _scan(_REAL, value)
    if not number or math.isnan(parsed := _float(number)):
        raise ValueError(_number_wanted(unit))
    rest = rest.strip(_SPACE)
    return _in_unit(parsed, rest, unit) if rest else parsed


def parse_integer(value: str, unit: str = "") -> int:
    """An integer as PostgreSQL reads it: decimal, octal or hexadecimal, with a fraction that is rounded.

    Args:
        value: Such as ``100``, ``0x64``, ``64MB`` or ``1.5 GB``.
        unit: The parameter's unit; empty for none.

    Returns:
        The number in the parameter's unit.

    Raises:
        ValueError: It is none, or beyond 32 bits; the message says what would do.
    """
    number, rest = _scan(_INTEGER, value)
    if rest[:1] in {".", "e", "E"}:
        number, rest = _scan(_REAL, value)
        parsed = _float(number) if number else math.nan
    elif number:
        digits = number.lstrip("+-")
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
        whole = int(digits, 8 if octal else 0)
        # C's long ends there, and PostgreSQL goes on with a real number.
        parsed = float(-whole if number[0] == "-" else whole)
    else:
        parsed = math.nan
    if math.isnan(parsed):
        raise ValueError(_number_wanted(unit))
    rest = rest.strip(_SPACE)
    converted = _rounded(_in_unit(parsed, rest, unit) if rest else parsed)
    if not INTEGERS.start <= converted < INTEGERS.stop:
        raise ValueError("it is beyond the range of an integer")
    return int(converted)


def _number_wanted(unit: str) -> str:
    example = "64MB" if unit in MEMORY or unit == "8kB" else "10s"
    return f"it takes a number, with a unit such as {example}" if unit else "it takes a number without a unit"


def parse_bool(value: str) -> bool:
    """A truth value as PostgreSQL reads it: on, off, true, false, yes, no, 1, 0, or a beginning that only one has.

    Raises:
        ValueError: It is none.
    """
    lowered = value.lower()
    for word, meaning in {"true": True, "false": False, "yes": True, "no": False}.items():
        if lowered and word.startswith(lowered):
            return meaning
    if lowered in {"on", "1"}:
        return True
    if lowered in {"of", "off", "0"}:
        return False
    raise ValueError("it takes on or off")


def parse_enum(value: str, parameter: Parameter) -> str:
    """The word of an enum, in any case, as PostgreSQL shows it.

    Raises:
        ValueError: It is none; the message names those there are.
    """
    lowered = value.lower()
    words = {**{word.lower(): word for word in parameter.values}, **(parameter.aliases or {})}
    if lowered in words:
        return words[lowered]
    raise ValueError(f"it takes {', '.join(parameter.values)}")


def parse(value: str, parameter: Parameter) -> bool | float | str:
    """A value by the type of its parameter, in its unit.

    Raises:
        ValueError: PostgreSQL does not take it; the message says what it takes.
    """
    match parameter.type:
        case "bool":
            return parse_bool(value)
        case "enum":
            return parse_enum(value, parameter)
        case "string":
            return value
    number = (parse_integer if parameter.type == "integer" else parse_real)(value, parameter.unit)
    least = max(parameter.min, PATRONI_MINIMUMS.get(parameter.name, parameter.min))
    # Where -1 or 0 stands for another meaning, it is the least value itself.
    if not least <= number <= parameter.max:
        raise ValueError(f"it takes {_shown(least, parameter)} to {_shown(parameter.max, parameter)}")
    return number


def _shown(number: float, parameter: Parameter) -> str:
    """A number of a parameter's unit as its user would write it."""
    bare = f"{number:.15g}"
    if not parameter.unit or number <= 0:
        return bare
    for name, size in reversed(_units(parameter.unit).items()):
        if size >= 1 and number % size == 0:
            return f"{number / size:.15g}{name}"
    return f"{number * 8:.15g}kB" if parameter.unit == "8kB" else f"{bare}{parameter.unit}"


def spelled(name: str, value: Any) -> str:
    """A value in a spelling that Patroni takes as well as PostgreSQL.

    Patroni drops ``t`` of a truth value, and a word of an enum that PostgreSQL does not show. What both take stays as
    it is.

    Args:
        name: The parameter in lower case.
        value: What its user set, and PostgreSQL takes.
    """
    written = text(value)
    parameter = known().get(name)
    if parameter is None or parameter.type == "string":
        return written
    try:
        parsed = parse(written, parameter)
    except ValueError:
        return written
    if isinstance(parsed, bool):
        return written if written.lower() in PASSED else text(parsed)
    if isinstance(parsed, str):
        return written if written.lower() in {*PASSED, *map(str.lower, parameter.values)} else parsed
    return written if _PLAIN.fullmatch(written) else f"{parsed:.15g}"


def wanted(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    own: Mapping[str, Any],
    memory: str,
    storage: str,
    loaded: Iterable[str] = (),
) -> dict[str, str]:
    """All parameters, by their names in lower case, as they are written into Patroni's configuration.

    Args:
        given: What the stack's user set, in any case.
        defaults: What counts where the user set nothing, beside what follows the size of an instance.
        own: What the role sets and nobody else may.
        memory: The limit of the container's memory, as a quantity of Kubernetes.
        storage: The size of the volume, as a quantity of Kubernetes.
        loaded: Libraries that the server has to load at its start, beside those of ``shared_preload_libraries``.
    """
    lowered = {str(name).lower(): value for name, value in given.items()}
    values = {**_sized(mebibytes(memory), mebibytes(storage)), **defaults, **lowered, **own}
    if missing := [name for name in loaded if name not in libraries(values)]:
        listed = text(values.get("shared_preload_libraries", "")).strip()
        values["shared_preload_libraries"] = ", ".join([*([listed] if listed else []), *missing])
    return {name: spelled(name, value) for name, value in values.items()}


def _sized(memory_mib: int, storage_mib: int) -> dict[str, str]:
    """The parameters that follow the size of an instance.

    A quarter of the memory is for PostgreSQL's own cache, about as much for the system's, the rest for sessions and
    Patroni.

    Args:
        memory_mib: The limit of the container's memory.
        storage_mib: The size of the volume. A replica that is gone may cost a fifth of it and not all.
    """

    def between(least: int, size: int, most: int) -> str:
        return f"{min(max(size, least), most)}MB"

    return {
        "shared_buffers": f"{max(memory_mib // 4, 16)}MB",
        "effective_cache_size": f"{max(memory_mib // 2, 16)}MB",
        "work_mem": between(4, memory_mib // 128, 64),
        "maintenance_work_mem": between(16, memory_mib // 16, 1024),
        "max_wal_size": between(64, storage_mib // 5, 4096),
        "max_slot_wal_keep_size": f"{max(storage_mib // 5, 64)}MB",
    }


def restarting(values: Mapping[str, str]) -> dict[str, str]:
    """Those of the wanted parameters that take a restart; a module's are among them."""
    return {name: value for name, value in values.items() if name in known() and known()[name].context == "postmaster"}


def libraries(values: Mapping[str, Any]) -> list[str]:
    """The names in ``shared_preload_libraries``."""
    listed = text(values.get("shared_preload_libraries", ""))
    return [Path(name.strip().strip('"')).name.removesuffix(".so") for name in listed.split(",") if name.strip()]


def complaints(given: Mapping[str, Any], own: Iterable[str], values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What PostgreSQL or Patroni would not take of the parameters that were set.

    Args:
        given: What the stack's user set.
        own: The names of those that the role sets, beside `RESERVED`.
        values: All that is wanted, as `wanted` returns it.

    Yields:
        The name as its user wrote it, and what is wrong or would do.
    """
    kept = {*RESERVED, *own}
    seen: dict[str, str] = {}
    loaded = libraries(values)
    prefixes = {parameter.library for parameter in known().values()} - {""}
    for name, value in given.items():
        lowered = str(name).lower()
        parameter = known().get(lowered)
        if lowered in seen:
            yield name, f"it is the same as {seen[lowered]}, which is set as well"
            continue
        seen[lowered] = name
        if lowered in kept or lowered.startswith("recovery_"):
            yield name, "the role sets it itself"
        elif isinstance(value, dict | list):
            yield name, "it takes one value, not a list or a mapping"
        elif "\n" in text(value) or "\0" in text(value):
            yield name, "it takes one line"
        elif lowered in OF_A_TRANSACTION:
            yield name, f"it is of one transaction; default_{lowered} is the parameter for all of them"
        elif parameter is None and "." not in lowered:
            yield name, f"PostgreSQL {VERSION} has no such parameter"
        elif parameter is None and lowered.partition(".")[0] in prefixes:
            yield name, f"{lowered.partition('.')[0]} of PostgreSQL {VERSION} has no such parameter"
        elif parameter is None and not re.fullmatch(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)+", lowered):
            yield (
                name,
                "a library's parameter is named by the library and a name, such as auto_explain.log_min_duration",
            )
        elif parameter is not None:
            yield from ((name, complaint) for complaint in _complaint(parameter, text(value), loaded))


def _complaint(parameter: Parameter, value: str, loaded: list[str]) -> Iterator[str]:
    if parameter.context == "internal":
        yield "PostgreSQL does not let it be set"
        return
    if parameter.library and parameter.context in {"postmaster", "sighup"} and parameter.library not in loaded:
        yield f"it counts only with {parameter.library} in shared_preload_libraries"
        return
    try:
        parse(value, parameter)
    except ValueError as error:
        yield str(error)


def shared_memory_mib(values: Mapping[str, str]) -> int:
    """What PostgreSQL's shared memory takes at the least, in MiB: its buffers, and nothing of its tables.

    The whole is what ``postgres -C shared_memory_size`` says, of which this is 95% and more with default settings.
    """

    def size(name: str, unset: int = 0) -> float:
        parameter = known()[name]
        found = parse(values[name], parameter) if name in values else unset
        return max(float(found), 0) * BASES[parameter.unit] / 1024**2

    buffers = size("shared_buffers", 16384)
    wal = size("wal_buffers") or min(buffers / 32, 16)
    others = (name for name, parameter in known().items() if parameter.unit == "8kB" and name.endswith("_buffers"))
    rest = sum(size(name) for name in others if name not in {"shared_buffers", "wal_buffers", "temp_buffers"})
    return int(buffers + wal + rest + size("min_dynamic_shared_memory"))


# What Patroni and PostgreSQL's processes take beside shared memory with few connections, in MiB.
PROCESSES_MIB = 80


def too_much_memory(shared_buffers: str, needed_mib: int, limit_mib: int) -> list[str]:
    """Why PostgreSQL would not start in its container, or not live long, where shared memory does not fit into it.

    Args:
        shared_buffers: Its largest part, as it was set.
        needed_mib: All of shared memory, as ``shared_memory_size`` or `shared_memory_mib` has it.
        limit_mib: What the container may have.
    """
    if needed_mib + PROCESSES_MIB <= limit_mib:
        return []
    needed = f"shared memory takes {needed_mib} MiB with shared_buffers {shared_buffers}"
    processes = f"the processes of PostgreSQL and Patroni {PROCESSES_MIB} MiB"
    return [f"{needed}, and {processes}: more than limits.memory of postgres_resources, {limit_mib} MiB"]


def refused(answer: str, shared_buffers: str, limit: str) -> list[str]:
    """What PostgreSQL itself refuses of the parameters, as lines for people.

    Args:
        answer: What ``roles/postgres/files/check_parameters.py`` printed; empty where nobody could be asked.
        shared_buffers: As it was set.
        limit: The limit of the container's memory, as a quantity of Kubernetes.
    """
    if not answer.strip():
        return []
    found = json.loads(answer)
    needed = found["shared_memory_mib"]
    lines = found["complaints"] or (too_much_memory(shared_buffers, needed, mebibytes(limit)) if needed else [])
    return [f"postgres_parameters: {line}" for line in lines]


def not_in_force(values: Mapping[str, str], answer: str) -> list[str]:
    """Which parameters an instance does not run with, as lines for people.

    Args:
        values: What is wanted, as `wanted` returns it.
        answer: What ``roles/postgres/files/read_parameters.py`` printed, a JSON list of rows: of each parameter its
            ``name``, its ``setting``, ``source`` and ``pending_restart`` in ``pg_settings``; ``file`` is the text in
            the file that counts, or null where the file has nothing of it or PostgreSQL could not apply it. Empty where
            the instance did not answer.
    """
    if not answer.strip():
        return ["it does not answer"]
    rows = {str(row["name"]).lower(): row for row in json.loads(answer)}
    lines = []
    for name, value in values.items():
        row = rows.get(name)
        if row is None or row["setting"] is None:
            lines.append(f"{name} is to be {value} and is not known to it")
        elif row["pending_restart"]:
            lines.append(f"{name} is to be {value} and is {row['setting']} until a restart")
        elif not _is_same(name, value, row):
            lines.append(f"{name} is to be {value} and is {row['setting']}")
    return lines


# Shown as the connection has them, and one over a socket has none.
_OF_A_CONNECTION = {"tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"}
# What a session, a login or a database sets for itself says nothing of the server.
_OWN_SOURCES = {"client", "database", "database user", "global", "session", "test", "user"}


def _is_same(name: str, value: str, row: Mapping[str, Any]) -> bool:
    parameter = known().get(name)
    in_file = row["file"] is not None and row["file"] == value
    if parameter is None or name in _OF_A_CONNECTION or row["source"] in _OWN_SOURCES:
        return in_file
    if parameter.type == "string":
        # A few are shown in another spelling than they were set in, such as names of time zones.
        return bool(row["setting"] == value or in_file)
    try:
        if parameter.type in {"integer", "real"}:
            return math.isclose(float(parse(value, parameter)), float(row["setting"]))
        return parse(value, parameter) == parse(str(row["setting"]), parameter)
    except ValueError:
        return False
