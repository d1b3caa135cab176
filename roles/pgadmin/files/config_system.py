"""pgAdmin's settings, which it reads from here last."""

import json as _json
from pathlib import Path as _Path

# How people log in elsewhere is a secret; what the settings say of it wins.
for _file in ("/run/secrets/pgadmin-oauth2/settings.json", "/etc/pgadmin/settings.json"):
    if _Path(_file).exists():
        globals().update(_json.loads(_Path(_file).read_text()))
