#!/usr/bin/env bash
# `async for socket in websockets.connect(url)` reconnects by itself, with growing pauses. One expects a pause
# after any close, and a new try after a private code such as 4000. websockets 17.4: after a close with 1000 or
# 1001 (a server that restarts) it connects again at once, tens of times a second as long as each connection
# succeeds; after 4000 or 1011 the inner loop raises ConnectionClosedError, which ends the outer one. Catch
# ConnectionClosed inside the loop, and pause there.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" websockets==17.4 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import sys

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio

import websockets


async def loop(code):
    count = 0

    async def handler(socket):
        nonlocal count
        count += 1
        await socket.close(code, "reconnect and resume")

    async def client(url):
        async for socket in websockets.connect(url):
            async for _ in socket:
                pass

    async with websockets.serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            await asyncio.wait_for(client(f"ws://127.0.0.1:{port}"), 4)
        except asyncio.TimeoutError:
            return "more than 10 connections in 4 s" if count > 10 else f"{count} connections in 4 s"
        except websockets.ConnectionClosed as error:
            return type(error).__name__


print("websockets", websockets.__version__)
verdict("2 or 3 connections in 4 s, for each", {code: asyncio.run(loop(code)) for code in (1000, 1001, 4000)},
        {1000: "more than 10 connections in 4 s", 1001: "more than 10 connections in 4 s", 4000: "ConnectionClosedError"})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
