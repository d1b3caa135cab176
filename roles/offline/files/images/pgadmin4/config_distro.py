"""What the official image's entrypoint writes into this file: its defaults, and each PGADMIN_CONFIG_<NAME>."""

import ast
import os

CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
LOG_FILE = "/dev/null"
HELP_PATH = "../../docs"
MINIFY_HTML = False
DEFAULT_BINARY_PATHS = {"pg": "/usr/local/pgsql-17", "pg-17": "/usr/local/pgsql-17"}

for _name, _value in os.environ.items():
    if _name.startswith("PGADMIN_CONFIG_"):
        globals()[_name.removeprefix("PGADMIN_CONFIG_")] = ast.literal_eval(_value)
