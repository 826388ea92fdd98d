"""Agents, as they are published, through lastword: `make agents`.
The task takes three tool calls, two of them at once. The server is killed (SIGKILL) in the middle of a tool call, and
again in the middle of the last answer. It is started again each time. In the cases with `restarts` the model's server
breaks off instead, and the model begins its answer again. Fails unless the agent ends well, says the whole
answer once, ran its tools, and no answer was paid twice. Needs no network. Arguments choose among the agents by name:
`codex`, `pi:chat`, `gpt-6.2-sol`.
"""

import os
import sys
import tempfile
import time
import traceback

import compaction
from agents import CLAUDE_CODE, CLAUDE_CODE_LOST, CODEX, CODEX_KNOWN, OPENCODE, PI, ended
from model import FILES, WORDS, Model
from server import Server

CASES = [
    (CLAUDE_CODE, "messages"), (CLAUDE_CODE, "chat"), (CLAUDE_CODE_LOST, "messages"), (CLAUDE_CODE_LOST, "chat"),
    (CODEX, "responses"), (CODEX, "chat"),
    *((known, wire) for known in CODEX_KNOWN for wire in ("responses", "chat")),
    (OPENCODE[0], "chat"), (OPENCODE[1], "responses"), (OPENCODE[2], "messages"), (OPENCODE[2], "chat"),
    (PI[0], "chat"), (PI[1], "responses"), (PI[2], "messages"), (PI[2], "chat"),
]
STOPS = ("call", "answer")


def run(server, agent, model, directory):
    work, home = tempfile.mkdtemp(dir=directory), tempfile.mkdtemp(dir=directory)
    model.reset(STOPS)
    begun, attached = time.monotonic(), 0
    process = agent.start(server, model, work, home)
    with ended(process, model, server):
        for _ in STOPS:
            model.reached.get(timeout=180)
            if agent is CLAUDE_CODE_LOST:
                model.go.release()
                continue
            attached += server.attached()
            server.kill()
            model.go.release()
            server.start()
        said, errors = process.communicate(timeout=180)
    took = time.monotonic() - begun
    about = (said, errors, dict(model.asked), dict(model.answered))
    files = {name: open(f"{work}/{name}").read().strip() for name in os.listdir(work) if name.endswith(".txt")}
    assert process.returncode == 0, about
    assert files == FILES, (files, about)
    text = " ".join(said.split())
    assert text.count("".join(WORDS).strip()) == 1 and text.count("word0 ") == 1, about
    turns = (0, 1, 3)
    paid = {turn: model.answered[turn] for turn in turns}
    assert paid == dict.fromkeys(turns, 1) and not model.faults, (model.faults, about)
    attached += server.attached()
    print(f"| {agent.label(model.wire)} | {agent.speaks} | {model.wire} | {took:.0f} s | "
          f"{', '.join(str(model.asked[turn]) for turn in turns)} | {', '.join(map(str, paid.values()))} | {attached} |",
          flush=True)


def chosen(agent):
    names = [name.lower() for name in sys.argv[1:]]
    called = agent.name.lower().replace(" ", "-")
    also = {called, f"{called}:{agent.speaks}", *agent.knows.values()}
    return not names or not also.isdisjoint(names)


def main():
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        # Root's database belongs to another user, who has to pass.
        os.chmod(directory, 0o711)
        models = {wire: Model(wire) for wire in ("chat", "responses", "messages")}
        server = Server(directory, models.values(), [CLAUDE_CODE_LOST, *CODEX_KNOWN])
        print("| agent | its protocol | the model's | took | asked, by turn | answered | taken over |\n"
              "|---|---|---|---|---|---|---|", flush=True)
        try:
            for agent, wire in CASES:
                if chosen(agent):
                    try:
                        run(server, agent, models[wire], directory)
                    except AssertionError:
                        failed += 1
                        print(f"{agent.label(wire)} ({agent.speaks}) with {wire}: {traceback.format_exc()}", flush=True)
                        if server.process.poll() is not None:
                            server.start()
        finally:
            server.stop()
    if chosen(compaction.CODEX_COMPACTS):
        compaction.all()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
