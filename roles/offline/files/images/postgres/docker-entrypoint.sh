#!/usr/bin/env bash
# Initialises PGDATA on the first start, then runs what it was asked to: the official entry point's contract for
# POSTGRES_{USER,PASSWORD,DB,INITDB_ARGS,HOST_AUTH_METHOD} (each also as *_FILE but the last two) and
# /docker-entrypoint-initdb.d.
set -Eeuo pipefail

from_file() {
  local name=$1 file="${1}_FILE"
  if [ -n "${!file:-}" ]; then
    [ -z "${!name:-}" ] || { echo >&2 "error: both $name and $file are set"; exit 1; }
    export "$name"="$(<"${!file}")"
    unset "$file"
  fi
}

initialise() {
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER
  from_file POSTGRES_DB
  export POSTGRES_USER="${POSTGRES_USER:-postgres}"
  export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
  local method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo >&2 "error: POSTGRES_PASSWORD is empty: set it for the superuser, or POSTGRES_HOST_AUTH_METHOD=trust"
    exit 1
  fi

  # shellcheck disable=SC2086 # the arguments are words
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") ${POSTGRES_INITDB_ARGS:-} "$@"
  printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"

  # Over the socket only, until everything is there.
  PGUSER=$POSTGRES_USER pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses='' -p ${PGPORT:-5432}" --wait start
  local psql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password)
  if [ "$POSTGRES_DB" != postgres ]; then
    PGHOST='' "${psql[@]}" --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) # shellcheck disable=SC1090
        if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) PGHOST='' "${psql[@]}" --dbname "$POSTGRES_DB" --file "$file" ;;
      *.sql.gz) gunzip -c "$file" | PGHOST='' "${psql[@]}" --dbname "$POSTGRES_DB" ;;
    esac
  done
  PGUSER=$POSTGRES_USER pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
  echo "PostgreSQL init process complete; ready for start up."
}

[ "${1:0:1}" != - ] || set -- postgres "$@"

if [ "$1" = postgres ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || :
  if [ "$(id -u)" = 0 ]; then
    chown -R postgres: "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  [ -s "$PGDATA/PG_VERSION" ] || initialise
fi
exec "$@"
