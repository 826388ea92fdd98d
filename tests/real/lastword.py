"""The program under test, with a database of its own, and a client that reads over every loss."""

import http.client
import json
import os
import subprocess
import time
from pathlib import Path

import sse
from process import Process, free_port

SCRUBBED = ("LASTWORD_", "OPENAI_", "ANTHROPIC_", "DATABASE_URL", "HTTP_PROXY", "HTTPS_PROXY")


class Lastword:
    def __init__(self, binary, models, into, limits=""):
        self.dir = Path(into)
        # The private database runs as another user.
        self.dir.chmod(0o755)
        self.port = free_port()
        (self.dir / "lastword.toml").write_text(limits + models)
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith(SCRUBBED)}
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.dir / "data", "--config", self.dir / "lastword.toml"]
        self.process = Process([str(c) for c in command], self.port, "/readyz", self.dir / "lastword.log", wait_s=90, env=env)

    def version(self):
        return subprocess.check_output([self.process.command[0], "--version"], text=True).strip()

    def start(self):
        self.process.start()
        return self

    def restart(self):
        """kill -9, and a new start on the same data."""
        self.process.kill()
        self.process.start()

    def ask(self, method, path, body=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        link.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
        answer = link.getresponse()
        data = answer.read()
        link.close()
        return answer.status, json.loads(data) if data[:1] in (b"{", b"[") else data.decode()

    def begin(self, prompt, model="real", **more):
        body = {"model": model, "prompt": prompt, "temperature": 0, "seed": 1, **more}
        status, answer = self.ask("POST", "/v1/generations", body)
        if status != 201:
            raise RuntimeError(f"{status}: {answer}")
        return answer["id"]

    def begin_chat(self, model, **more):
        """An answer over chat completions that goes on without its reader; its id in the other protocol."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"content-type": "application/json", "lastword-on-disconnect": "continue"}
        link.request("POST", "/v1/chat/completions", json.dumps({"model": model, "temperature": 0, "stream": True, **more}), headers)
        answer = link.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.read()[:300]}")
        link.close()
        return answer.getheader("lastword-generation")

    def follow(self, generation, limit_s=300):
        """Each event once, over however many connections; ends behind `done`."""
        seen, end = 0, time.monotonic() + limit_s
        while time.monotonic() < end:
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                link.request("GET", f"/v1/generations/{generation}/events?after={seen}")
                answer = link.getresponse()
                if answer.status == 204:
                    return
                for _, data in sse.events(answer):
                    event = json.loads(data)
                    if event["seq"] <= seen:
                        continue
                    seen = event["seq"]
                    yield event
                    if event["type"] == "done":
                        return
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            finally:
                link.close()
        raise TimeoutError(f"no end of {generation} after {limit_s} s")


class Answer:
    """A reader's result of the events: the text, where it was joined, and how it ended."""

    def __init__(self):
        self.text, self.done = "", None
        self.ends = {0: 0}  # the length of the text behind each seq
        self.seams, self.restarts, self.notices, self.resumed = [], 0, [], []

    def apply(self, event):
        kind = event["type"]
        if kind == "delta":
            self.text += event["text"]
        elif kind == "snapshot":
            self.text = event["text"]
        elif kind == "superseded":
            self.text = self.text[: self.ends.get(event["after"], 0)]
            self.restarts += bool(self.seams or self.text) or 1
            self.seams = [at for at in self.seams if at <= len(self.text)]
        elif kind == "resumed":
            self.resumed.append(event.get("reason"))
            if len(self.text) not in self.seams:
                self.seams.append(len(self.text))
        elif kind == "notice":
            self.notices.append(event["code"])
        elif kind == "done":
            self.done = event
        self.ends[event["seq"]] = len(self.text)
