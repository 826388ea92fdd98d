"""Claude Code, as it is published, through lastword: `make agents`.

Two scripted models: one speaks Anthropic's API, the other OpenAI's. The task takes three tool calls,
two of them at once; the server is killed in the middle of the last answer and started again. Fails
unless the agent finishes, says the whole answer and ran its tools. Needs no network.
"""

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVER = os.environ["SERVER_BINARY"]
CLAUDE = sorted(glob.glob(".agents/node_modules/@anthropic-ai/claude-code-*/claude"))[0]
WORDS = [f"word{n} " for n in range(60)]
CALLS = [
    [("t1", "echo one > one.txt")],
    [("t2", "cat one.txt > two.txt"), ("t3", "echo three > three.txt")],
]


class Model:
    """A scripted model server; `wire` is `anthropic` or `openai`."""

    def __init__(self, wire):
        self.wire = wire
        self.turns = []  # what each request with tools was: the number of results in it
        self.words_sent = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                try:
                    for event in model.events(body):
                        self.wfile.write(event.encode())
                        self.wfile.flush()
                except OSError:
                    pass
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self, body):
        text = json.dumps(body)
        done = text.count('"tool_result"') if self.wire == "anthropic" else text.count('"role": "tool"')
        main = bool(body.get("tools"))
        if main:
            self.turns.append(done)
            if self.wire == "openai":
                assert "billing-header" not in text, "the vendor's billing line went to another vendor"
        calls = CALLS[{0: 0, 1: 1}[done]] if main and done in (0, 1) else []
        words = ["Now"] if calls else WORDS if main else ["Title"]
        return getattr(self, self.wire)(words, calls, main)

    def paced(self, words, calls):
        for n, word in enumerate(words):
            if not calls and len(words) > 1:
                time.sleep(0.05)
                if n == 20:
                    self.words_sent.set()
            yield word

    def anthropic(self, words, calls, _main):
        event = lambda kind, **more: f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n"
        usage = {"input_tokens": 10, "output_tokens": 1}
        yield event("message_start", message={"id": "msg_up", "type": "message", "role": "assistant",
                    "model": "up", "content": [], "usage": usage})
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in self.paced(words, calls):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=0)
        for n, (name, command) in enumerate(calls, 1):
            block = {"type": "tool_use", "id": name, "name": "Bash", "input": {}}
            yield event("content_block_start", index=n, content_block=block)
            piece = json.dumps({"command": command, "description": "a step"})
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=n, delta=delta)
            yield event("content_block_stop", index=n)
        reason = "tool_use" if calls else "end_turn"
        yield event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9})
        yield event("message_stop")

    def openai(self, words, calls, _main):
        chunk = lambda delta, reason=None: "data: " + json.dumps(
            {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}) + "\n\n"
        yield chunk({"role": "assistant", "reasoning_content": "Thinking about it"})
        for word in self.paced(words, calls):
            yield chunk({"content": word})
        texts = [json.dumps({"command": command, "description": "a step"}) for _, command in calls]
        for n, (name, _) in enumerate(calls):
            function = {"name": "Bash", "arguments": ""}
            yield chunk({"tool_calls": [{"index": n, "id": name, "type": "function", "function": function}]})
        # By turns, a few characters each.
        for at in range(0, max(map(len, texts), default=0), 7):
            for n, text in enumerate(texts):
                if text[at : at + 7]:
                    function = {"arguments": text[at : at + 7]}
                    yield chunk({"tool_calls": [{"index": n, "function": function}]})
        yield chunk({}, "tool_calls" if calls else "stop")
        yield "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 9}}) + "\n\n"
        yield "data: [DONE]\n\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """lastword, to be killed and started again."""

    def __init__(self, directory, models):
        self.directory, self.port = directory, free_port()
        lines = []
        for model in models:
            path = "" if model.wire == "anthropic" else "/v1"
            lines.append(
                f"[[models]]\nname = '{model.wire}-scripted'\nprovider = '{model.wire}'\n"
                f"base_url = 'http://127.0.0.1:{model.port}{path}'\n"
            )
        with open(f"{directory}/lastword.toml", "w") as file:
            file.write("\n".join(lines))
        self.start()

    def start(self):
        arguments = ["serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", f"{self.directory}/data",
                     "--config", f"{self.directory}/lastword.toml"]
        log = open(f"{self.directory}/log", "a")
        self.process = subprocess.Popen([SERVER, *arguments], stdout=log, stderr=log)
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, open(f"{self.directory}/log").read()
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def run(server, model, directory, kill):
    work = tempfile.mkdtemp(dir=directory)
    home = tempfile.mkdtemp(dir=directory)
    name = f"{model.wire}-scripted"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.port}",
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": name,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        # Whatever else it wants to ask, it cannot.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    model.turns.clear()
    model.words_sent.clear()
    command = [os.path.abspath(CLAUDE), "-p", "Do the task", "--model", name, "--allowedTools", "Bash"]
    begun = time.monotonic()
    agent = subprocess.Popen(command, cwd=work, env=environment, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if kill:
        assert model.words_sent.wait(120), f"the last turn was not reached: {model.turns}"
        server.kill()
        server.start()
    said, errors = agent.communicate(timeout=240)
    took = time.monotonic() - begun
    files = {name: open(f"{work}/{name}").read().strip() for name in os.listdir(work) if name.endswith(".txt")}
    assert agent.returncode == 0, (said, errors, model.turns)
    assert files == {"one.txt": "one", "two.txt": "one", "three.txt": "three"}, (files, model.turns)
    assert said.strip().endswith("".join(WORDS).strip()), said
    print(f"{name}{', killed in the last answer' if kill else ''}: finished after {took:.1f} s; "
          f"upstream requests by tool results: {model.turns}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as directory:
        # Root's database belongs to another user, who has to pass.
        os.chmod(directory, 0o711)
        models = [Model("anthropic"), Model("openai")]
        server = Server(directory, models)
        try:
            for model in models:
                for kill in (False, True):
                    run(server, model, directory, kill)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
