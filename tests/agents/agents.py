"""The agents: how each is told where lastword is, and run once without a person."""

import contextlib
import json
import os
import subprocess

NODE = os.path.abspath(".agents/node_modules")
PACKAGES = json.load(open("tests/agents/package.json"))["dependencies"]
PROMPT = "Do the task"
# Other questions of theirs are impossible.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}


class Agent:
    """`speaks` names the protocol of its client: chat, responses or messages. `knows` has models that it knows, by the
    protocol of their server."""

    def __init__(self, name, package, speaks, prepare, knows=None):
        self.name, self.version, self.speaks, self.prepare = name, PACKAGES[package], speaks, prepare
        self.knows = knows or {}

    def label(self, wire):
        model = self.knows.get(wire)
        more = "" if model is None else ", answers lost" if model.endswith("-restarts") else f", as {model}"
        return f"{self.name} {self.version}{more}"

    def start(self, server, model, work, home):
        """Starts it in the folder `work`."""
        url = f"http://127.0.0.1:{server.port}"
        name = self.knows.get(model.wire, f"{model.wire}-scripted")
        command, environment = self.prepare(url, name, work, home)
        environment |= {"PATH": os.environ["PATH"], "HOME": home} | OFFLINE
        return subprocess.Popen(command, cwd=work, env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def ended(process, model, server):
    """Ends an agent where something fails under it; the error has all that it and the server said."""
    try:
        yield
    except BaseException as problem:
        process.kill()
        said, errors = process.communicate()
        raise AssertionError(f"{problem!r} {dict(model.asked)}\n{said}\n{errors}\n{server.log()[-6000:]}") from problem


def claude_code(url, model, _work, _home):
    command = [f"{NODE}/@anthropic-ai/claude-code-linux-x64/claude", "-p", PROMPT, "--model", model,
               "--allowedTools", "Bash"]
    return command, {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def codex(url, model, _work, home):
    with open(f"{home}/config.toml", "w") as file:
        file.write(f"model = '{model}'\nmodel_provider = 'lastword'\n[model_providers.lastword]\n"
                   f"name = 'lastword'\nbase_url = '{url}/v1'\nwire_api = 'responses'\n")
    command = [f"{NODE}/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex", "exec",
               "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", PROMPT]
    return command, {"CODEX_HOME": home}


def opencode(package):
    def prepare(url, model, work, home):
        options = {"baseURL": f"{url}/v1", "apiKey": "none"}
        if package == "@ai-sdk/openai":
            # The agent keeps its own history: it sends items whole and not by their ids.
            settings = {"options": {"store": False}}
        else:
            settings = {}
        provider = {"npm": package, "name": "lastword", "options": options,
                    "models": {model: {"name": model, "tool_call": True} | settings}}
        with open(f"{work}/opencode.json", "w") as file:
            json.dump({"provider": {"lastword": provider}, "permission": "allow", "autoupdate": False,
                       "share": "disabled", "small_model": f"lastword/{model}"}, file)
        command = [f"{NODE}/opencode-linux-x64/bin/opencode", "run", "-m", f"lastword/{model}", PROMPT]
        return command, {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
                         "XDG_DATA_HOME": f"{home}/data", "XDG_CONFIG_HOME": f"{home}/config"}
    return prepare


def pi(api):
    def prepare(url, model, _work, home):
        base = url if api == "anthropic-messages" else f"{url}/v1"
        provider = {"baseUrl": base, "apiKey": "none", "api": api, "models": [{"id": model}]}
        os.makedirs(f"{home}/agent")
        with open(f"{home}/agent/models.json", "w") as file:
            json.dump({"providers": {"lastword": provider}}, file)
        command = ["node", f"{NODE}/@mariozechner/pi-coding-agent/dist/cli.js", "-p", "--offline",
                   "--provider", "lastword", "--model", model, PROMPT]
        return command, {"PI_CODING_AGENT_DIR": f"{home}/agent", "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
    return prepare


CLAUDE_CODE = Agent("Claude Code", "@anthropic-ai/claude-code", "messages", claude_code)
CODEX = Agent("Codex", "@openai/codex", "responses", codex)
# Its model loses answers and begins again, which a client that has a part of one is told as an error.
CLAUDE_CODE_LOST = Agent("Claude Code", "@anthropic-ai/claude-code", "messages", claude_code,
                         {"messages": "messages-restarts", "chat": "chat-restarts"})
# Models that Codex knows get other tools than those that it does not. The two pairs differ again.
CODEX_KNOWN = [
    Agent("Codex", "@openai/codex", "responses", codex, {"responses": "gpt-6.2-sol", "chat": "gpt-6-luna"}),
    Agent("Codex", "@openai/codex", "responses", codex, {"responses": "gpt-5.6-luna", "chat": "gpt-5.5"}),
]
OPENCODE = [
    Agent("opencode", "opencode-linux-x64", "chat", opencode("@ai-sdk/openai-compatible")),
    Agent("opencode", "opencode-linux-x64", "responses", opencode("@ai-sdk/openai")),
    Agent("opencode", "opencode-linux-x64", "messages", opencode("@ai-sdk/anthropic")),
]
PI = [
    Agent("pi", "@mariozechner/pi-coding-agent", "chat", pi("openai-completions")),
    Agent("pi", "@mariozechner/pi-coding-agent", "responses", pi("openai-responses")),
    Agent("pi", "@mariozechner/pi-coding-agent", "messages", pi("anthropic-messages")),
]
