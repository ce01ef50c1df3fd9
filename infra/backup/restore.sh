#!/bin/sh
# Usage: restore.sh FOLDER/TIME
#
# Puts a copy made by back-up.sh back: the files of versions, then the database, which must be empty (PostgreSQL) or not
# there (SQLite), then checks that both audit logs still hold up to the ends that were noted. The server must not run.
#
# What happened after the copy has not happened: API keys revoked since then are valid again (`glassbox keys list`), and
# the champion is the one of then (`glassbox versions list`).
set -eu
umask 077

[ $# -eq 1 ] || { echo "usage: $0 FOLDER/TIME" >&2; exit 2; }
source=$1
. "$(dirname "$0")/place.sh"

(cd "$source" && sha256sum --check --quiet SHA256SUMS) || { echo "$source is damaged: nothing was changed" >&2; exit 1; }

case $url in
  postgresql*)
    [ -f "$source/database.dump" ] || { echo "$source is no copy of PostgreSQL" >&2; exit 2; }
    n=$(psql --no-psqlrc --tuples-only --no-align --dbname="$place" \
      --command="select count(*) from pg_tables where schemaname = 'public'")
    [ "$n" = 0 ] || { echo "The database has $n tables: make an empty one, and name it in storage.url" >&2; exit 2; }
    ;;
  sqlite:///*)
    [ -f "$source/database.db" ] || { echo "$source is no copy of SQLite" >&2; exit 2; }
    for each in "$path" "$path-wal" "$path-shm"; do
      [ ! -e "$each" ] || { echo "$each is there: move it away first" >&2; exit 2; }
    done
    ;;
esac

# A version's folder is named by what is in it, so one that is there already is the same.
if [ -f "$source/versions.tar" ]; then
  mkdir -p "$versions"
  tar --extract --skip-old-files --directory "$versions" --file "$source/versions.tar"
fi

case $url in
  postgresql*)
    pg_restore --exit-on-error --single-transaction --no-owner --dbname="$place" "$source/database.dump"
    ;;
  *)
    mkdir -p "$(dirname "$path")"
    cp "$source/database.db" "$path.part"
    mv "$path.part" "$path"
    ;;
esac

# Prints the end of one log that was noted, as SEQUENCE:HASH; nothing for a log that was empty.
known() {
  "$python" -c 'import json, sys
head = json.load(open(sys.argv[1]))[sys.argv[2]]["head"]
print("{sequence}:{hash}".format(**head) if head["sequence"] else "")' "$source/audit.json" "$1"
}
set --
noted=$(known predictions)
[ -z "$noted" ] || set -- --known "$noted"
noted=$(known actions)
[ -z "$noted" ] || set -- "$@" --known-actions "$noted"
glassbox audit verify "$@"
