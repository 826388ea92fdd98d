#!/usr/bin/env bash
# lastword: LASTWORD names its program. PROTOCOL (default sse) INSTANCES (default 1), which share a PostgreSQL of their own.
# LASTWORD_NOTIFY=off keeps the instances from telling each other of news by NOTIFY: they poll. PORT (9410) moves all ports.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
protocol=${1:-sse} instances=${2:-1} port=${PORT:-9410}
shift $(($# < 2 ? $# : 2))
. "$here/common.sh"
as=()
# PostgreSQL does not run as root.
[ "$(id -u)" = 0 ] && as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
pg=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | tail -1)
db=$(mktemp -d) && chmod 711 "$dir" && { [ "$(id -u)" != 0 ] || chown 65534:65534 "$db"; }
"${as[@]}" "$pg" -D "$db/data" -A trust -U lastword -E UTF8 --no-sync >/dev/null
database=$((port + 8)) upstream=$((port + 9))
serve "$database" "cd $db; exec ${as[*]} $(dirname "$pg")/postgres -D $db/data -k $db -p $database -c listen_addresses=127.0.0.1"
cat >"$dir/$port.toml" <<TOML
[[models]]
name = "streamproof"
provider = "openai"
base_url = "http://127.0.0.1:$upstream/v1"
TOML
run() {
  echo "exec env DATABASE_URL=postgres://lastword@127.0.0.1:$database/postgres NO_PROXY=127.0.0.1 \
    $LASTWORD serve --no-detect --config $dir/$port.toml --data-dir $db --listen 127.0.0.1:$1"
}
targets=()
for n in $(seq "$instances" -1 1); do
  serve $((port + n - 1)) "$(run $((port + n - 1)))"
  targets=(--target "http://127.0.0.1:$((port + n - 1))" "${targets[@]}")
done
map=()
[ "$protocol" = sse ] && map=(--map "$here/../maps/lastword.json")
[ "$protocol" = durable ] && map=(--map "$here/../maps/lastword-durable.json")
status=0
"$streamproof" run --protocol "$protocol" "${map[@]}" "${targets[@]}" --upstream-listen "127.0.0.1:$upstream" \
  --pid "$pid" --start "echo \$\$ >$dir/pid; $(run "$port")" "$@" || status=$?
stop
wait
rm -rf "$db"
exit "$status"
