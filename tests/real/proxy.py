"""A proxy between lastword and a model server: cuts texts anew, holds them at a character, and loses connections.

`arm(at, recut)` is for the next answer: its text stops behind `at` characters until `lose(how)`. With `recut` the text comes in
pieces of other lengths than the server's tokens, so that a loss falls off their borders. The bytes always go out in
arbitrary portions. Answers that nothing is armed for pass through.
"""

import http.client
import io
import json
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import sse

HOW = ["reset", "truncated", "clean"]


class Proxy:
    def __init__(self, upstream, seed=1):
        self.upstream = upstream
        self.random = random.Random(seed)
        self.armed = None
        self.requests = []
        self.open = 0
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

    def arm(self, at, recut):
        self.armed = Hold(at, recut)
        return self.armed

    def pass_on(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        self.requests.append((handler.command, handler.path, body))
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
            self.open += 1
            try:
                Stream(self, handler, answer, upstream).run()
            finally:
                self.open -= 1
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


class Hold:
    """Where one answer stops: `reached` tells that it did, `lose` what becomes of it."""

    def __init__(self, at, recut):
        self.at, self.recut = at, recut
        self.reached, self.decided = threading.Event(), threading.Event()
        self.how = None

    def lose(self, how):
        self.how = how
        self.decided.set()


class Stream:
    def __init__(self, proxy, handler, answer, upstream):
        self.random, self.handler, self.answer, self.socket = proxy.random, handler, answer, upstream
        self.hold, proxy.armed = proxy.armed, None
        self.sent, self.kept, self.last = 0, "", None

    def run(self):
        """Passes events on; ends as the hold says, or as the server's answer ends."""
        watch_close(self.handler.connection, self.socket)
        try:
            for name, data in sse.events(lines(self.answer)):
                if self.event(name, data):
                    return
            self.handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            reset(self.handler)

    def event(self, name, data):
        event = json.loads(data) if data.startswith("{") else {}
        text = sse.get_text(event)
        if not self.hold or (text is None and not self.kept):
            return self.write(sse.encode(name, data))
        if text is None or not self.hold.recut:
            flush, self.kept = self.kept, ""
            return self.texts([flush]) or self.write_text(name, data, event, text)
        self.last, self.kept = (name, event), self.kept + text
        pieces = []
        while len(self.kept) > 9:
            size = self.random.randint(1, 9)
            pieces.append(self.kept[:size])
            self.kept = self.kept[size:]
        finish = event.get("choices") and event["choices"][0].get("finish_reason")
        return self.texts(pieces) or (self.write(sse.encode(name, data)) if finish else False)

    def write_text(self, name, data, event, text):
        """A whole event; where the hold falls into its text, only the part before it."""
        self.last = (name, event)
        if not text or self.sent + len(text) < self.hold.at:
            self.sent += len(text or "")
            return self.write(sse.encode(name, data))
        return self.texts([text])

    def texts(self, pieces):
        for piece in filter(None, pieces):
            left = self.hold.at - self.sent
            if 0 <= left <= len(piece):
                self.text(piece[:left])
                if self.stop():
                    return True
                piece = piece[left:]
                self.sent += left
                self.hold.at = 1 << 60
            self.text(piece)
            self.sent += len(piece)
        return False

    def text(self, text):
        if text:
            name, event = self.last
            self.write(sse.encode(name, json.dumps(sse.with_text(event, text))))

    def stop(self):
        self.hold.reached.set()
        self.hold.decided.wait(300)
        how = self.hold.how
        if how == "clean":
            self.handler.wfile.write(b"0\r\n\r\n")
        elif how == "truncated":
            self.handler.close_connection = True
            self.handler.connection.shutdown(socket.SHUT_RDWR)
        elif how == "reset":
            reset(self.handler)
        return how != "go on"

    def write(self, data):
        """One event in portions that do not respect its borders."""
        while data:
            size = self.random.randint(1, max(1, len(data)))
            self.handler.wfile.write(b"%x\r\n%s\r\n" % (size, data[:size]))
            self.handler.wfile.flush()
            data = data[size:]
        return False


def reset(handler):
    """Ends a connection by RST."""
    handler.close_connection = True
    # The handler flushes once more.
    handler.wfile = io.BytesIO()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Wakes `watch_close`: a descriptor that a thread waits at stays open.
    handler.connection.shutdown(socket.SHUT_RD)
    handler.connection.close()
    handler.rfile.close()


def lines(answer):
    """Lines of a body. An end that is none raises, which `http.client` does not do at every place."""
    rest = b""
    while True:
        if answer.chunked:
            head = answer.fp.readline()
            if not head:
                raise ConnectionError("the body broke off")
            size = int(head.split(b";")[0], 16)
            data = answer.fp.read(size)
            if len(data) < size or not answer.fp.readline():
                raise ConnectionError("the body broke off")
        else:
            data = answer.read1(65536)
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
        if not data:
            return


def watch_close(client, upstream):
    """Closes the request to the server as soon as the client is gone: a cancel has to arrive while nothing is said."""

    def watch():
        try:
            while client.recv(1, socket.MSG_PEEK):
                return
        except OSError:
            pass
        try:
            upstream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    threading.Thread(target=watch, daemon=True).start()
