"""A proxy between lastword and a model server. `arm(at, recut)` is for the next answer (`held.py`), or for the first one whose
request has a mark; others pass through."""

import http.client
import json
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from held import Hold, Stream, reset


class Proxy:
    def __init__(self, upstream, seed=1):
        self.upstream = upstream
        self.random = random.Random(seed)
        self.armed, self.lock = {}, threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self):
                proxy.pass_on(self)

            do_POST = do_DELETE = do_GET

        self.handler, self.port = Handler, 0
        self.back()
        self.url = f"http://127.0.0.1:{self.port}"

    def back(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def away(self):
        """From here to `back` a connection is refused, as by a server that is not there."""
        self.server.shutdown()
        self.server.server_close()

    def back_when_it_listens(self):
        """As soon as the server behind takes connections, in a thread of its own."""

        def wait():
            while True:
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", self.upstream)) == 0:
                        return self.back()
                time.sleep(0.05)

        threading.Thread(target=wait, daemon=True).start()

    def arm(self, at, recut, mark=None):
        with self.lock:
            self.armed[mark] = hold = Hold(at, recut)
        return hold

    def take(self, body):
        """The hold that waits for this request, once."""
        with self.lock:
            return self.armed.pop(mark_of(body), None) or self.armed.pop(None, None)

    def pass_on(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        link = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=600)
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection", "accept-encoding")}
        try:
            link.request(handler.command, handler.path, body or None, headers)
            upstream = link.sock
            answer = link.getresponse()
        except (OSError, http.client.HTTPException):
            return reset(handler)
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "keep-alive", "date", "server"):
                handler.send_header(name, value)
        if "event-stream" in (answer.getheader("content-type") or ""):
            handler.send_header("transfer-encoding", "chunked")
            handler.send_header("connection", "close")
            handler.end_headers()
            try:
                Stream(self.random, handler, answer, upstream, self.take(body)).run()
            finally:
                link.close()
            return None
        try:
            data = answer.read()
        except (OSError, http.client.HTTPException):
            return reset(handler)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return None


def mark_of(body):
    """The mark of a request: its seed, which has no effect at temperature 0. Messages have none, so it is a stop text there."""
    try:
        asked = json.loads(body)
    except ValueError:
        return None
    stops = asked.get("stop_sequences")
    return int(stops[0].strip("⟦⟧")) if stops else asked.get("seed")
