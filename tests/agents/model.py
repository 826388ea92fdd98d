"""A scripted model server that speaks chat completions, Responses or Anthropic Messages.
It gives the task of `TURNS`, one call and then two at once, by the shell tool that the agent offers. It says `WORDS`
once the three results are there. It counts for each question how often it was asked and how often its answer went out
to the end. At each of `stops` an answer waits to be cut.
"""

import collections
import itertools
import json
import queue
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = [f"word{n} " for n in range(60)]
TURNS = {
    0: [("call_1", "echo one > one.txt")],
    1: [("call_2", "cat one.txt > two.txt"), ("call_3", "echo three > three.txt")],
}
FILES = {"one.txt": "one", "two.txt": "one", "three.txt": "three"}
SHELLS = ["Bash", "bash", "exec_command", "shell_command", "shell"]
# Codex gives models that it knows a tool that takes a program, in a namespace.
PROGRAM = {"responses": ("exec", "functions"), "chat": ("functions__exec", None)}


class Model:
    """`wire` is `chat`, `responses` or `messages`."""

    def __init__(self, wire):
        self.wire, self.tokens = wire, 10
        self.reset()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.close_connection = True
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                question = model.question(body)
                model.asked[question] += 1
                try:
                    for event in model.events(body, question):
                        self.wfile.write(event.encode())
                        self.wfile.flush()
                    model.answered[question] += 1
                except OSError:
                    pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self, stops=()):
        self.asked, self.answered = collections.Counter(), collections.Counter()
        self.stops = set(stops)
        self.reached, self.go = queue.Queue(), threading.Semaphore(0)
        self.faults = []

    def question(self, body):
        """The kind of the request: the number of results that are there, or `aside` for a request that is no turn of
        the task."""
        if self.shell(body) is None:
            return "aside"
        if self.wire == "chat" and "billing-header" in json.dumps(body["messages"]):
            self.faults.append("a vendor's billing line went to another vendor")
        # A call that was cut is kept by some, with a result that says so.
        ran = [id[:6] for id, said in self.results(body) if not re.search("abort|interrupt|cancel", said, re.I)]
        if len(ran) != len(set(ran)):
            self.faults.append(f"a call ran twice: {ran}")
        return len(set(ran))

    def results(self, body):
        """The results of tools: the call's id, and the result as JSON."""
        if self.wire == "messages":
            messages = [item["content"] for item in body["messages"] if isinstance(item["content"], list)]
            blocks = [block for content in messages for block in content if block["type"] == "tool_result"]
            return [(block["tool_use_id"], json.dumps(block.get("content"))) for block in blocks]
        if self.wire == "chat":
            tools = [item for item in body["messages"] if item["role"] == "tool"]
            return [(item["tool_call_id"], json.dumps(item["content"])) for item in tools]
        outputs = [item for item in body["input"] if item.get("type", "").endswith("_call_output")]
        return [(item["call_id"], json.dumps(item["output"])) for item in outputs]

    def shell(self, body):
        """The agent's shell: its name with its namespace, and the schema of its arguments."""
        tools = {}
        for tool in self.tools(body):
            if self.wire == "chat":
                tool = tool["function"]
            schema = tool.get("parameters") or tool.get("input_schema") or {}
            tools[(tool.get("name"), tool.get("namespace"))] = schema
        known = [PROGRAM[self.wire]] if self.wire in PROGRAM else []
        return next(((name, tools[name]) for name in [*((name, None) for name in SHELLS), *known] if name in tools), None)

    @staticmethod
    def tools(body):
        """All tools of a request, those of a namespace with its name."""
        items = body.get("input") if isinstance(body.get("input"), list) else []
        added = [item["tools"] for item in items if item.get("type") == "additional_tools"]
        for tool in itertools.chain(body.get("tools") or [], *added):
            inner = tool.get("tools", []) if tool.get("type") == "namespace" else None
            yield from [tool] if inner is None else [one | {"namespace": tool["name"]} for one in inner]

    def arguments(self, body, command):
        name, schema = self.shell(body)
        if name in PROGRAM.values():
            program = f"text(await tools.exec_command({json.dumps({'cmd': command})}))"
            return program if self.wire == "responses" else json.dumps({"input": program})
        properties = schema["properties"]
        name = "cmd" if "cmd" in properties else "command"
        is_list = properties[name].get("type") == "array"
        said = {name: ["bash", "-c", command] if is_list else command}
        if "description" in properties:
            said["description"] = "a step"
        return json.dumps(said)

    def stop(self, where):
        """Waits until the server was killed, the first time; a model whose reader is gone stops."""
        if where in self.stops:
            self.stops.remove(where)
            self.reached.put(where)
            self.go.acquire()
            raise ConnectionAbortedError

    def events(self, body, question):
        calls = TURNS.get(question, [])
        said = [(name, self.arguments(body, command)) for name, command in calls]
        words = ["Now"] if calls else WORDS if question == 3 else ["Title"]
        name = self.shell(body)[0] if calls else None
        return getattr(self, self.wire)(self.paced(words), [(id, name, text) for id, text in said])

    def paced(self, words):
        for n, word in enumerate(words):
            if len(words) > 1:
                time.sleep(0.03)
            yield word
            if n == 20:
                self.stop("answer")

    def pieces(self, text):
        for at in range(0, len(text), 7):
            yield text[at : at + 7]
            if at == 14 and "two.txt" in text:
                self.stop("call")

    def messages(self, words, calls):
        event = lambda kind, **more: f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n"
        usage = {"input_tokens": 10, "output_tokens": 1}
        yield event("message_start", message={"id": "msg_up", "type": "message", "role": "assistant",
                    "model": "up", "content": [], "usage": usage})
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in words:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=0)
        for n, (id, (name, _), text) in enumerate(calls, 1):
            block = {"type": "tool_use", "id": id, "name": name, "input": {}}
            yield event("content_block_start", index=n, content_block=block)
            for piece in self.pieces(text):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield event("content_block_delta", index=n, delta=delta)
            yield event("content_block_stop", index=n)
        reason = "tool_use" if calls else "end_turn"
        yield event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9})
        yield event("message_stop")

    def chat(self, words, calls):
        chunk = lambda delta, reason=None: "data: " + json.dumps(
            {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}) + "\n\n"
        yield chunk({"role": "assistant", "reasoning_content": "Thinking about it"})
        for word in words:
            yield chunk({"content": word})
        for n, (id, (name, _), _) in enumerate(calls):
            function = {"name": name, "arguments": ""}
            yield chunk({"tool_calls": [{"index": n, "id": id, "type": "function", "function": function}]})
        # By turns, a few characters each.
        for pieces in itertools.zip_longest(*(self.pieces(text) for _, _, text in calls)):
            for n, piece in enumerate(pieces):
                if piece is not None:
                    yield chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
        yield chunk({}, "tool_calls" if calls else "stop")
        yield "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": self.tokens, "completion_tokens": 9}}) + "\n\n"
        yield "data: [DONE]\n\n"

    def responses(self, words, calls):
        numbers = iter(range(10_000))
        event = lambda kind, **more: (
            f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': next(numbers)} | more)}\n\n")
        whole = {"id": "resp_up", "object": "response", "created_at": 1, "model": "up", "output": [],
                 "status": "in_progress"}
        yield event("response.created", response=whole)
        item = {"type": "message", "id": "msg_up", "role": "assistant", "status": "in_progress", "content": []}
        place = {"output_index": 0, "item_id": "msg_up", "content_index": 0}
        yield event("response.output_item.added", output_index=0, item=item)
        part = {"type": "output_text", "text": "", "annotations": []}
        yield event("response.content_part.added", **place, part=part)
        text = ""
        for word in words:
            text += word
            yield event("response.output_text.delta", **place, delta=word)
        yield event("response.output_text.done", **place, text=text)
        part |= {"text": text}
        yield event("response.content_part.done", **place, part=part)
        output = [item | {"status": "completed", "content": [part]}]
        yield event("response.output_item.done", output_index=0, item=output[0])
        for n, (id, (name, namespace), text) in enumerate(calls, 1):
            kind, field, event_kind = ("function_call", "arguments", "function_call_arguments")
            if namespace:
                kind, field, event_kind = ("custom_tool_call", "input", "custom_tool_call_input")
            item = {"type": kind, "id": f"fc_{id}", "call_id": id, "name": name, field: "",
                    "status": "in_progress"}
            item |= {"namespace": namespace} if namespace else {}
            place = {"output_index": n, "item_id": f"fc_{id}"}
            yield event("response.output_item.added", output_index=n, item=item)
            for piece in self.pieces(text):
                yield event(f"response.{event_kind}.delta", **place, delta=piece)
            yield event(f"response.{event_kind}.done", **place, **{field: text})
            output.append(item | {"status": "completed", field: text})
            yield event("response.output_item.done", output_index=n, item=output[-1])
        usage = {"input_tokens": self.tokens, "output_tokens": 9, "total_tokens": self.tokens + 9}
        yield event("response.completed", response=whole | {"status": "completed", "output": output, "usage": usage})
