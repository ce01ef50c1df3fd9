# Read by back-up.sh and restore.sh: where the settings in force keep things. Sets url, versions, python; for PostgreSQL
# place and, in the environment, PGPASSWORD; for SQLite path.
url=${GLASSBOX_STORAGE__URL:-}
[ -n "$url" ] || [ -z "${GLASSBOX_STORAGE__URL_FILE:-}" ] || url=$(cat "$GLASSBOX_STORAGE__URL_FILE")
url=${url:-"sqlite:///$HOME/.glassbox/glassbox.db"}
versions=${GLASSBOX_PATHS__VERSIONS:-$HOME/.glassbox/versions}
python=$(command -v python3 || command -v python)

# What PostgreSQL's programs are given; the password in the environment, because everybody sees their words.
address() {
  printf '%s' "$url" | "$python" -c 'import sys
from urllib.parse import unquote, urlsplit
parts = urlsplit(sys.stdin.read().strip())
if sys.argv[1] == "password":
    print(unquote(parts.password or ""))
else:
    user, _, host = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + "@" + host if user else host
    print("postgresql://" + netloc + parts.path + ("?" + parts.query if parts.query else ""))' "$1"
}
case $url in
  postgresql*)
    place=$(address place)
    password=$(address password)
    [ -z "$password" ] || export PGPASSWORD="$password"
    ;;
  sqlite:///*)
    path=${url#sqlite:///}
    case $path in "~/"*) path=$HOME/${path#"~/"} ;; esac
    ;;
  *)
    echo "storage.url is neither PostgreSQL nor a file of SQLite: nothing was done" >&2
    exit 2
    ;;
esac
