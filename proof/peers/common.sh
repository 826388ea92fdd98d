# The shared part of the peers' scripts. STREAMPROOF names the program; PEERS the folder that keeps what is installed.
streamproof=${STREAMPROOF:-streamproof}
dir=${PEERS:-$(mktemp -d)}/$(basename "$0" .sh)
mkdir -p "$dir"
started=()

# The process that the test started again has left its number in the file `pid`.
stop() {
  for one in "${started[@]}" $(cat "$dir/pid" 2>/dev/null); do kill "$one" 2>/dev/null || true; done
  rm -f "$dir/pid"
}
trap stop EXIT

need_npm() {
  [ -f "$dir/installed" ] && return
  (cd "$dir" && npm init -y >/dev/null && npm install --no-audit --no-fund --ignore-scripts "$@" >&2)
  touch "$dir/installed"
}

need_pip() {
  [ -f "$dir/installed" ] && return
  "${PYTHON:-python3}" -m venv "$dir/python"
  "$dir/python/bin/pip" install -q --disable-pip-version-check "$@" >&2
  touch "$dir/installed"
}

# serve PORT COMMAND: in the background, until the port answers.
serve() {
  local port=$1
  (cd "$dir" && exec sh -c "$2") >>"$dir/log" 2>&1 &
  pid=$!
  started+=("$pid")
  for _ in $(seq 1500); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$pid" 2>/dev/null || { tail "$dir/log" >&2; exit 3; }
    sleep 0.2
  done
  echo "nothing answers at port $port" >&2
  exit 3
}

# answers URL: until it answers with 200.
answers() {
  for _ in $(seq 300); do
    curl -sf --noproxy '*' -o /dev/null "$1" && return
    sleep 0.4
  done
  echo "$1 does not answer" >&2
  exit 3
}
