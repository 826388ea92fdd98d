#!/usr/bin/env bash
# `Connection.notifies()` of psycopg gives notifications as they come. One expects that a loop left by `break` after
# the first finds the next one when it is entered again, as those do that come between two loops. With psycopg 3.3.9
# the notifications that came in the same read as the first are lost: a worker that wakes at one, does its work and
# waits again misses the others until the next one wakes it. `stop_after=1` does not stop after one, but loses none.
# Take all that there is, or look at the table each time. The server here speaks just enough of PostgreSQL's
# protocol; PostgreSQL 15.18 gives the same.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" psycopg[binary]==3.3.9 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import psycopg, socketserver, struct, sys, threading, time


class Postgres(socketserver.BaseRequestHandler):
    """Answers each query by CommandComplete, and LISTEN also by two notifications in one write, a moment later."""

    def take(self, size):
        got = b""
        while len(got) < size:
            piece = self.request.recv(size - len(got))
            if not piece:
                raise EOFError
            got += piece
        return got

    def body(self):
        return self.take(struct.unpack("!I", self.take(4))[0] - 4)

    def handle(self):
        try:
            while struct.unpack("!I", self.body()[:4])[0] != 196608:  # asks for TLS or GSS first
                self.request.sendall(b"N")
            self.request.sendall(b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I")
            while self.take(1) == b"Q":
                query = self.body().rstrip(b"\0")
                tag = query.split()[0] + b"\0"
                self.request.sendall(b"C" + struct.pack("!I", 4 + len(tag)) + tag + b"Z" + struct.pack("!I", 5) + b"I")
                if tag == b"LISTEN\0":
                    time.sleep(0.1)
                    notes = [struct.pack("!I", 7) + b"jobs\0" + payload + b"\0" for payload in (b"one", b"two")]
                    self.request.sendall(b"".join(b"A" + struct.pack("!I", 4 + len(note)) + note for note in notes))
        except (EOFError, ConnectionError):
            pass


server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postgres)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()


def wait(first):
    with psycopg.connect(f"host=127.0.0.1 port={server.server_address[1]} user=u dbname=d", autocommit=True) as connection:
        connection.execute("LISTEN jobs")
        time.sleep(0.3)
        return first(connection), [note.payload for note in connection.notifies(timeout=0.3)]


def leave(connection):
    for note in connection.notifies(timeout=2):
        return [note.payload]


print("psycopg", psycopg.__version__)
verdict("(['one'], ['two']) for the last two", {
    "all": wait(lambda connection: [note.payload for note in connection.notifies(timeout=0.3)]),
    "left at the first": wait(leave),
    "stop_after=1": wait(lambda connection: [note.payload for note in connection.notifies(timeout=2, stop_after=1)]),
}, {
    "all": (["one", "two"], []),
    "left at the first": (["one"], []),
    "stop_after=1": (["one", "two"], []),
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
