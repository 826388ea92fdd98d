"""An answer on its way through the proxy: its text is cut anew, held at a character, and lost.

The text stops behind `at` characters until `lose(how)`. With `recut` it comes in pieces of other lengths than the server's
tokens, so that a loss falls off their borders. The bytes always go out in arbitrary portions.
"""

import io
import json
import socket
import struct
import threading

import sse

HOW = ["reset", "truncated", "clean"]


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
    def __init__(self, chance, handler, answer, upstream, hold):
        self.random, self.handler, self.answer, self.socket = chance, handler, answer, upstream
        self.hold = hold
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
        self.hold.decided.wait(1800)
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
