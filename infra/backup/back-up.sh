#!/bin/sh
# Usage: back-up.sh FOLDER
#
# Writes FOLDER/TIME with the database, the files of registered versions, the ends of the audit logs, and a digest
# of each. The server goes on meanwhile. The settings are Glassbox's own: GLASSBOX_STORAGE__URL (or its _FILE) and
# GLASSBOX_PATHS__VERSIONS; run it under the server's account. PostgreSQL needs pg_dump, at least as new as the server.
#
# The copy holds what the database holds: digests of API keys, the secret that names features, and all that was kept of
# predictions. Keep it as you keep the database.
set -eu
umask 077

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
. "$(dirname "$0")/place.sh"

mkdir -p "$1"
target=$1/$(date -u +%Y-%m-%dT%H-%M-%SZ)
mkdir "$target.part"
trap 'rm -rf "$target.part"' EXIT

# First the ends of the logs: whatever the copy of the database holds, it holds at least these.
glassbox audit verify --json > "$target.part/audit.json"

case $url in
  postgresql*)
    # pg_dump sees one state of the database, whatever is written meanwhile.
    pg_dump --format=custom --no-owner --dbname="$place" --file="$target.part/database.dump"
    ;;
  sqlite:///*)
    # Copying the file itself would miss its write-ahead log, or catch a page half written.
    "$python" -c 'import sqlite3, sys
source = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)
source.execute("VACUUM INTO ?", (sys.argv[2],))' "$path" "$target.part/database.db"
    ;;
esac

# Then the files: they are only ever added, so every version that the copy of the database names is among them.
if [ -d "$versions" ]; then
  tar --create --directory "$versions" --file "$target.part/versions.tar" .
fi

(cd "$target.part" && sha256sum -- * > SHA256SUMS)
mv "$target.part" "$target"
echo "$target"
