"""The undisturbed text of a prompt at temperature 0, with its tokens and what else the model would have said there."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import sse


@dataclass
class Token:
    start: int  # in bytes of the text
    end: int
    others: list = field(default_factory=list)  # (bytes, how much less likely than the best one, in nats)


@dataclass
class Reference:
    prompt: str
    text: str
    tokens: list
    finish: str
    # Undisturbed, too, and not the same text.
    others: list = field(default_factory=list)

    def first(self, number):
        """The same as if it had been ended by a limit of so many tokens."""
        others = [other.first(number) for other in self.others]
        if len(self.tokens) <= number:
            return Reference(self.prompt, self.text, self.tokens, self.finish, others)
        tokens = self.tokens[:number]
        text = self.text.encode()[: tokens[-1].end].decode(errors="ignore")
        return Reference(self.prompt, text, tokens, "length", others)

    def begins(self, text):
        """Whether `text` is all of it; one that was ended by its limit may go on."""
        return text == self.text or (self.finish == "length" and text.startswith(self.text))

    def beside(self, text, at):
        """The undisturbed texts that begin as `text` does up to the character `at`."""
        return [r for r in (self, *self.others) if r.text[:at] == text[:at]]

    def borders(self):
        """Characters of the text at which a token ends and nothing of a character is left over."""
        data, found = self.text.encode(), set()
        for token in self.tokens[:-1]:
            try:
                found.add(len(data[: token.end].decode()))
            except UnicodeDecodeError:
                pass
        return found

    def written(self):
        tokens = [[t.start, t.end, [[o.decode("latin-1"), less] for o, less in t.others]] for t in self.tokens]
        return [self.prompt, self.text, tokens, self.finish, [o.written() for o in self.others]]


def read(written):
    prompt, text, tokens, finish, others = written
    tokens = [Token(start, end, [(o.encode("latin-1"), less) for o, less in rest]) for start, end, rest in tokens]
    return Reference(prompt, text, tokens, finish, [read(o) for o in others])


def kept(file, port, prompts, limit):
    """The undisturbed texts by name; what is in the file already is not asked for again."""
    known = json.loads(file.read_text()) if file.exists() else {}
    new = [name for name, prompt in prompts.items() if known.get(name, [None])[0] != prompt]
    with ThreadPoolExecutor(len(prompts)) as pool:
        answers = list(pool.map(lambda name: undisturbed(port, prompts[name], limit), new))
    if new:
        known |= {name: answer.written() for name, answer in zip(new, answers)}
        file.write_text(json.dumps(known))
    return {name: read(known[name]) for name in prompts}


def ask(port, path, body):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    link.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    return link.getresponse()


def take(port, prompt, limit, model="real", more=None):
    """Asks the model's server itself. The list of other tokens is what `top_logprobs` gives."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "seed": 1}
    body |= {"max_tokens": limit, "stream": True, "logprobs": True, "top_logprobs": 20, **(more or {})}
    text, tokens, at, finish = "", [], 0, None
    for _, data in sse.events(ask(port, "/v1/chat/completions", body)):
        event = json.loads(data) if data.startswith("{") else {}
        for choice in event.get("choices", []):
            text += choice["delta"].get("content") or ""
            finish = choice.get("finish_reason") or finish
            for entry in ((choice.get("logprobs") or {}).get("content")) or []:
                size = len(bytes_of(entry))
                best = max([o["logprob"] for o in entry["top_logprobs"]] + [entry["logprob"]])
                others = [(bytes_of(o), best - o["logprob"]) for o in entry["top_logprobs"] if o["token"] != entry["token"]]
                tokens.append(Token(at, at + size, others))
                at += size
    return Reference(prompt, text, tokens, finish)


def bytes_of(entry):
    return bytes(entry["bytes"]) if entry.get("bytes") is not None else entry["token"].encode()


def undisturbed(port, prompt, limit):
    """The server's text when nothing happens, asked twice."""
    first, *more = [take(port, prompt, limit) for _ in range(2)]
    for other in more:
        if other.text not in {first.text, *(o.text for o in first.others)}:
            first.others.append(other)
    return first
