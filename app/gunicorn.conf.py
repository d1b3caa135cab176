"""Configuration of gunicorn, which finds it in the working directory.

Names are gunicorn's settings (https://gunicorn.org/reference/settings/).
"""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

# prometheus_client looks for this when it is imported, and adds up whatever it finds there.
_metrics_dir = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="prometheus-"))
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_dir)
shutil.rmtree(_metrics_dir, ignore_errors=True)
_metrics_dir.mkdir(parents=True)

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

from flask_postgres_app import logs, metrics  # noqa: E402
from flask_postgres_app.connection import Limits  # noqa: E402
from flask_postgres_app.settings import Settings, SettingsError  # noqa: E402

try:
    _settings = Settings.from_environ(os.environ)
except SettingsError as _error:
    sys.exit(f"flask-postgres-app: {_error.message}")

wsgi_app = "flask_postgres_app:create_app()"
bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
threads = _settings.web_threads
worker_class = "flask_postgres_app.worker.Worker"
# One copy of the code in memory for all workers; connections are opened after the fork.
preload_app = True
# A heartbeat file on a disk can stall a worker, and the root file system may be read-only.
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
# Whose X-Forwarded-* headers count is for TRUSTED_PROXIES alone to say.
forwarded_allow_ips = ""
# Longer than the proxy's, so that it is never the service that closes a connection about to be used.
keepalive = 75
timeout = 30
graceful_timeout = 25
logconfig_dict = logs.config(_settings.log_level)


def post_fork(_: Any, worker: Any) -> None:
    """Tell a worker what clients may take."""
    worker.limits = Limits(
        request_s=_settings.web_request_timeout_s,
        response_s=_settings.web_response_timeout_s,
        body_bytes=_settings.max_content_length,
    )


def when_ready(_: Any) -> None:
    """Keep what was loaded out of garbage collection, so that workers share its memory."""
    gc.collect()
    gc.freeze()
    # Few objects of a request are in cycles. To look for some after every 700 takes 7% of its time.
    gc.set_threshold(10_000)


def post_worker_init(worker: Any) -> None:
    """Serve the metrics from every worker, and connect to the database before the first request."""
    metrics.APP_INFO.labels(_settings.app_version).set(1)
    metrics.serve(_settings.metrics_port)
    worker.wsgi.extensions["database"].fill()


def child_exit(_: Any, worker: Any) -> None:
    """Take the gauges of a worker that has ended out of the metrics."""
    mark_process_dead(worker.pid)


def on_exit(_: Any) -> None:
    """Remove the files of the metrics."""
    shutil.rmtree(_metrics_dir, ignore_errors=True)
