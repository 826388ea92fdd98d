"""Codex that compacts its history in the middle of a task, while the server is killed: a case of `make agents`."""

import json
import os
import tempfile

from agents import Agent, codex, ended
from model import WORDS, Model
from server import Server

SUMMARY = [f"so{n} " for n in range(40)]
# The beginning of the words that Codex puts in front of a summary, in its next question.
COMPACTED = "Another language model started to solve this problem"


def compacting(url, model, work, home):
    command, environment = codex(url, model, work, home)
    with open(f"{home}/config.toml") as file:
        config = file.read()
    with open(f"{home}/config.toml", "w") as file:
        file.write("model_auto_compact_token_limit = 1000\n" + config)
    return command, environment


CODEX_COMPACTS = Agent("Codex", "@openai/codex", "responses", compacting, {"responses": "gpt-6.2-sol", "chat": "gpt-5.5"})


class CompactedModel(Model):
    """Its first answer fills the window; then it is asked for a summary, and then for the last answer."""

    def question(self, body):
        text = json.dumps(body)
        if COMPACTED in text:
            return 3
        return 0 if not self.results(body) else "summary"

    def events(self, body, question):
        self.tokens = 100_000 if question == 0 else 10
        if question == "summary":
            return getattr(self, self.wire)(self.paced(SUMMARY), [])
        return super().events(body, question)


def all():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o711)
        models = [CompactedModel(wire) for wire in CODEX_COMPACTS.knows]
        server = Server(directory, models, [CODEX_COMPACTS])
        try:
            for model in models:
                run(server, model, directory)
        finally:
            server.stop()


def run(server, model, directory):
    work, home = tempfile.mkdtemp(dir=directory), tempfile.mkdtemp(dir=directory)
    model.reset(("answer",))
    process = CODEX_COMPACTS.start(server, model, work, home)
    with ended(process, model, server):
        model.reached.get(timeout=180)
        server.kill()
        model.go.release()
        server.start()
        said, errors = process.communicate(timeout=180)
    about = (said, errors, dict(model.asked), dict(model.answered))
    assert process.returncode == 0 and " ".join(said.split()) == "".join(WORDS).strip(), about
    assert os.path.exists(f"{work}/one.txt"), about
    questions = (0, "summary", 3)
    assert [model.answered[question] for question in questions] == [1, 1, 1], about
    print(f"{CODEX_COMPACTS.label(model.wire)} compacts with {model.wire}: asked "
          f"{', '.join(str(model.asked[question]) for question in questions)}, answered 1, 1, 1", flush=True)
