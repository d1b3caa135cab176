"""pgAdmin's settings, which it reads from here last."""

import json as _json
from pathlib import Path as _Path

globals().update(_json.loads(_Path("/etc/pgadmin/settings.json").read_text()))
