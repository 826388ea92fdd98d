"""The fate of an answer whose agent is stopped, killed, or loses its network, or whose server is restarted or killed:
`tests/agents/gestures.py`.

Prints how long the model was still read after the gesture, and how many answers to the question it gave to
their end. It is a measurement for the table of docs/clients.md, and fails only if an agent cannot be run.
"""

import os
import signal
import socket
import sys
import tempfile
import threading
import time

from agents import CLAUDE_CODE, CODEX, OPENCODE, PI
from model import Model
from server import Server

AGENTS = [(CLAUDE_CODE, "messages"), (CODEX, "responses"), (OPENCODE[0], "chat"), (PI[0], "chat")]
GESTURES = ("interrupt", "kill", "network", "restart", "crash")
# Long enough to see the grace of 10 s pass.
WORDS, PACE = 600, 0.05


class LongModel(Model):
    """Says the answer at once, without tools, and notes when it was no longer read."""

    def question(self, body):
        return "aside" if self.shell(body) is None else 3

    def paced(self, words):
        if len(words) == 1:
            yield words[0]
            return
        how = "left"
        self.read_by.add(threading.get_ident())
        try:
            for n in range(WORDS):
                time.sleep(PACE)
                if n == 20:
                    self.reached.put("answer")
                yield f"word{n} "
            how = "to its end"
        finally:
            self.left = (how, time.monotonic())
            self.read_by.discard(threading.get_ident())

    def reset(self, stops=()):
        super().reset(stops)
        self.left, self.read_by = None, set()

    def until_left(self):
        """Waits until no answer is read, and a new server would have asked for the rest."""
        give_up = time.monotonic() + 120
        while self.read_by:
            assert time.monotonic() < give_up, "the model is read for ever"
            time.sleep(0.1)


class Wire:
    """A proxy whose connections can be cut. It has the `port` that agents are given."""

    def __init__(self, to):
        self.to, self.pairs = to, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        close(one, other)

    def cut(self):
        for pair in self.pairs:
            close(*pair)
        self.pairs.clear()


def close(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def run(server, agent, model, gesture, directory):
    work, home = tempfile.mkdtemp(dir=directory), tempfile.mkdtemp(dir=directory)
    model.reset()
    wire = Wire(server.port)
    process = agent.start(wire, model, work, home)
    model.reached.get(timeout=180)
    begun = time.monotonic()
    if gesture == "network":
        wire.cut()
    elif gesture in ("restart", "crash"):
        server.stop() if gesture == "restart" else server.kill()
        server.start()
    else:
        process.send_signal(signal.SIGINT if gesture == "interrupt" else signal.SIGKILL)
    try:
        process.communicate(timeout=120)
        ended = f"exit {process.returncode} after {time.monotonic() - begun:.0f} s"
    except Exception:
        process.kill()
        process.communicate()
        ended = "still there after 120 s"
    model.until_left()
    how, when = model.left
    print(f"| {agent.name} {agent.version} | {agent.speaks} | {gesture} | {ended} | {how}, after {when - begun:.0f} s | "
          f"{model.asked[3]} | {model.answered[3]} |", flush=True)


def main():
    chosen = [name.lower() for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)
        models = {wire: LongModel(wire) for wire in ("chat", "responses", "messages")}
        server = Server(directory, models.values())
        print("| client | its protocol | gesture | the client | the model is read | asked | answered |\n"
              "|---|---|---|---|---|---|---|", flush=True)
        try:
            for agent, wire in AGENTS:
                for gesture in GESTURES:
                    if not chosen or agent.name.lower().replace(" ", "-") in chosen:
                        run(server, agent, models[wire], gesture, directory)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
