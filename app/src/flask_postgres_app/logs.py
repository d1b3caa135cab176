"""Logs: one JSON object a line, on standard output."""

from __future__ import annotations

import logging
from typing import Any

from flask import g, has_request_context


def config(level: str) -> dict[str, Any]:
    """The configuration of the `logging` module, for the service and for gunicorn.

    Args:
        level: The lowest level that is written, such as ``INFO``.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.orjson.OrjsonFormatter",
                "fmt": ["levelname", "name", "message"],
                "rename_fields": {"levelname": "level", "name": "logger"},
                "timestamp": "time",
            }
        },
        "filters": {"request": {"()": RequestFilter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "filters": ["request"],
                "stream": "ext://sys.stdout",
            },
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            "gunicorn.error": {"level": level, "propagate": True, "handlers": []},
        },
    }


class RequestFilter(logging.Filter):
    """Adds the id of the request under way to whatever is logged meanwhile."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        if has_request_context() and "request_id" in g:
            record.request_id = g.request_id
        return True
