#!/usr/bin/env bash
# A server that has sent all closes a WebSocket with 1000. One expects a client to call `on_close` only.
# `WebSocketApp` of websocket-client 1.9.2 (Python) calls `on_error` first, with "Connection closed normally (code
# 1000)", so a finished answer looks like a failed one. With `run_forever(reconnect=…)` it opens again after 1000
# and after codes such as 4000, for ever, and neither callback is called: the code is not told to anyone. Close it
# yourself at the last message, from `on_message`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" websocket-client==1.9.2 websockets==17.4 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio, logging, sys, threading, time, websocket
from websockets.asyncio.server import serve

logging.disable()


def read(code, seconds, **more):
    """What the callbacks were told, and how often the server was asked, until the app ends or the time is over."""
    asked, seen, ports, ready = [], [], [], threading.Event()

    async def answer(socket):
        asked.append(1)
        await socket.send("all")
        await socket.close(code, "over")

    async def run():
        async with serve(answer, "127.0.0.1", 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await asyncio.Future()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    ready.wait(10)
    app = websocket.WebSocketApp(
        f"ws://127.0.0.1:{ports[0]}/",
        on_error=lambda _, error: seen.append(str(error)),
        on_close=lambda _, code, reason: seen.append((code, reason)))
    thread = threading.Thread(target=lambda: app.run_forever(**more), daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive() and len(asked) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    return seen, "again" if len(asked) > 1 else "once"


print("websocket-client", websocket.__version__)
verdict("([(1000, 'over')], 'once') twice, and the code 4000 told", {
    "1000": read(1000, 10),
    "1000, reconnect": read(1000, 15, reconnect=1),
    "4000, reconnect": read(4000, 15, reconnect=1),
}, {
    "1000": (["Connection closed normally (code 1000): over", (1000, "over")], "once"),
    "1000, reconnect": ([], "again"),
    "4000, reconnect": ([], "again"),
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
