"""lastword with the scripted models, to be killed and started again."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

PROGRAM = os.environ["SERVER_BINARY"]
MODELS = {
    "chat": "provider = 'openai'\nbase_url = 'http://127.0.0.1:{port}/v1'\n",
    "responses": "provider = 'openai'\nwire = 'responses'\nbase_url = 'http://127.0.0.1:{port}/v1'\n",
    "messages": "provider = 'anthropic'\nbase_url = 'http://127.0.0.1:{port}'\n",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, directory, models, agents=()):
        self.directory, self.port = directory, free_port()
        with open(f"{directory}/lastword.toml", "w") as file:
            for model in models:
                names = [agent.knows[model.wire] for agent in agents if model.wire in agent.knows]
                for name in [f"{model.wire}-scripted", *names]:
                    more = "on_loss = 'restart'\n" if name.endswith("-restarts") else ""
                    file.write(f"[[models]]\nname = '{name}'\n{MODELS[model.wire].format(port=model.port)}{more}\n")
        self.start()

    def start(self):
        arguments = ["serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", f"{self.directory}/data",
                     "--config", f"{self.directory}/lastword.toml"]
        log = open(f"{self.directory}/log", "a")
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=log, stderr=log)
        while True:
            try:
                self.get("/readyz")
                return
            except OSError:
                assert self.process.poll() is None, self.log()
                time.sleep(0.05)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def log(self):
        return open(f"{self.directory}/log").read()

    def attached(self):
        """How many requests took an earlier answer over, since the start."""
        found = re.search(r"^lastword_requests_attached_total (\d+)", self.get("/metrics"), re.M)
        return int(found[1]) if found else 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
