#!/usr/bin/env bash
# SSE has no limit for an event, and httpx-sse 0.4.3 has none. One expects its successor inside httpx2 to read the
# same streams. `EventSource` of httpx2 2.16.2 raises SSEError for an event above 1 MiB, and so the MCP client (mcp
# 2.3.0) fails a tool call whose result, a picture say, is larger and comes as SSE, while the same result as JSON is
# fine: the server chooses which. Both take a limit of None (`max_event_size`, `max_sse_event_size`).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" mcp==2.3.0 httpx2==2.16.2 httpx-sse==0.4.3 httpx==0.28.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio, http.server, httpx, httpx2, httpx_sse, json, sys, threading
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

SIZE = 1_200_000


class Stub(http.server.BaseHTTPRequestHandler):
    """GET /sse is one large event. Elsewhere an MCP server of one tool, which answers as JSON at /json, as SSE at /mcp."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/sse":
            return self.answer(200, b"data: " + b"x" * SIZE + b"\n\n", "text/event-stream")
        self.answer(405)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            return self.answer(202)
        results = {
            "initialize": lambda: {
                "protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"}},
            "tools/list": lambda: {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
            "tools/call": lambda: {"content": [{"type": "text", "text": "x" * SIZE}]},
        }
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] in results:
            answer["result"] = results[message["method"]]()
        else:
            answer["error"] = {"code": -32601, "message": "no such method"}
        body = json.dumps(answer).encode()
        if message["method"] == "tools/call" and self.path == "/mcp":
            return self.answer(200, b"event: message\ndata: " + body + b"\n\n", "text/event-stream")
        self.answer(200, body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
server.daemon_threads = True
server.handle_error = lambda *_: None
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}"


def attempt(run):
    try:
        return run()
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return f"{type(error).__name__}: {error}"


def sse(**more):
    with httpx2.stream("GET", f"{url}/sse") as response:
        return [len(event.data) for event in httpx2.EventSource(response, **more)][0]


def old():
    with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", f"{url}/sse") as source:
        return [len(event.data) for event in source.iter_sse()][0]


async def call(transport):
    async with Client(transport) as client:
        return len((await client.call_tool("t", {})).content[0].text)


print("httpx2 2.16.2, httpx-sse 0.4.3, mcp 2.3.0")
TOO_MUCH = "Server-sent event exceeded the 1048576 byte limit."
verdict(f"{SIZE} six times", {
    "httpx-sse": attempt(old),
    "httpx2": attempt(sse),
    "httpx2, no limit": attempt(lambda: sse(max_event_size=None)),
    "mcp, JSON": attempt(lambda: asyncio.run(call(f"{url}/json"))),
    "mcp, SSE": attempt(lambda: asyncio.run(call(f"{url}/mcp"))),
    "mcp, SSE, no limit": attempt(lambda: asyncio.run(call(streamable_http_client(f"{url}/mcp", max_sse_event_size=None)))),
}, {
    "httpx-sse": SIZE,
    "httpx2": f"SSEError: {TOO_MUCH}",
    "httpx2, no limit": SIZE,
    "mcp, JSON": SIZE,
    "mcp, SSE": f"MCPError: SSE stream failed: {TOO_MUCH}",
    "mcp, SSE, no limit": SIZE,
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
