#!/bin/bash
# The official image's entrypoint: account, servers and password file on the first start, then one gunicorn worker.
set -euo pipefail
PATH=/venv/bin:$PATH

if [[ -n ${PGADMIN_DEFAULT_PASSWORD_FILE:-} ]]; then
    PGADMIN_DEFAULT_PASSWORD=$(<"$PGADMIN_DEFAULT_PASSWORD_FILE")
fi

if [[ ! -f /var/lib/pgadmin/pgadmin4.db ]]; then
    if [[ -z ${PGADMIN_DEFAULT_EMAIL:-} || -z ${PGADMIN_DEFAULT_PASSWORD:-} ]]; then
        echo "Set PGADMIN_DEFAULT_EMAIL and PGADMIN_DEFAULT_PASSWORD or PGADMIN_DEFAULT_PASSWORD_FILE." >&2
        exit 1
    fi
    # Importing it creates the database and the account.
    PGADMIN_SETUP_EMAIL=$PGADMIN_DEFAULT_EMAIL PGADMIN_SETUP_PASSWORD=$PGADMIN_DEFAULT_PASSWORD python3 run_pgadmin.py
    servers=${PGADMIN_SERVER_JSON_FILE:-/pgadmin4/servers.json}
    if [[ -f $servers ]]; then
        python3 setup.py load-servers "$servers" --user "$PGADMIN_DEFAULT_EMAIL"
    fi
    if [[ -n ${PGPASS_FILE:-} ]]; then
        install -D -m 0600 "$PGPASS_FILE" "/var/lib/pgadmin/storage/${PGADMIN_DEFAULT_EMAIL/@/_}/.pgpass"
    fi
fi

timeout=$(python3 -c 'import config; print(config.SESSION_EXPIRATION_TIME * 86400)')
bind="${PGADMIN_LISTEN_ADDRESS:-[::]}"
options=(--no-control-socket --workers 1 --threads "${GUNICORN_THREADS:-25}" --timeout "$timeout"
    --access-logfile "${GUNICORN_ACCESS_LOGFILE:--}" --limit-request-line "${GUNICORN_LIMIT_REQUEST_LINE:-8190}")
if [[ -n ${PGADMIN_ENABLE_TLS:-} ]]; then
    options+=(--bind "$bind:${PGADMIN_LISTEN_PORT:-443}" --certfile /certs/server.cert --keyfile /certs/server.key)
else
    options+=(--bind "$bind:${PGADMIN_LISTEN_PORT:-80}")
fi
exec gunicorn "${options[@]}" run_pgadmin:app
