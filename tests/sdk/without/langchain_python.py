"""LangChain's ChatOpenAI (PyPI) over both APIs, whole and streamed: see tests/it/without.rs."""

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

from table import BOTH, TABLE, both

PICTURE = {"type": "image_url", "image_url": {"url": TABLE["picture"]}}
FILE = {"type": "file", "base64": TABLE["pdf"].split(",")[1], "mime_type": "application/pdf", "filename": "bill.pdf"}
CALLS = [{"id": "call_a", "name": "weather", "args": {"place": "Rome"}}, {"id": "7", "name": "weather", "args": {}}]


def ask(text, *parts):
    return [SystemMessage("Answer."), HumanMessage([{"type": "text", "text": f"[[{text}]]"}, *parts] if parts else f"[[{text}]]")]


SITUATIONS = {name: ask(name) for name in ["text", "details", "reasoning", "refusal", "length", "filtered", "unicode", "empty", *TABLE["errors"]]}
SITUATIONS |= {"picture": ask("picture", PICTURE), "file": ask("file", FILE), "tool": ask("tool"), "parallel": ask("parallel")}
SITUATIONS["results"] = [
    *ask("results"), AIMessage("", tool_calls=CALLS), ToolMessage("cold", tool_call_id="7"), ToolMessage("warm", tool_call_id="call_a"),
]


def model(way, responses, name):
    options = {"logprobs": True, "top_logprobs": 2} if name == "logprobs" and not responses else {}
    made = ChatOpenAI(
        model="gpt-5" if responses else "gpt-4o", base_url=BOTH[way], api_key="none", max_retries=0,
        use_responses_api=responses, stream_usage=True, temperature=0.5, **options,
    )
    if name in ("tool", "parallel", "results"):
        return made.bind_tools(TABLE["tools"], tool_choice="auto")
    return made


def streamed(made, messages):
    whole = None
    for piece in made.stream(messages):
        whole = piece if whole is None else whole + piece
    return whole


SITUATIONS["logprobs"] = ask("logprobs")
for responses in [False, True]:
    api = "responses" if responses else "chat"
    for name, messages in SITUATIONS.items():
        # A refusal is the same answer to both; the streamed one is the harder.
        if name not in TABLE["errors"]:
            both(f"{api} {name} whole", lambda way: model(way, responses, name).invoke(messages).model_dump())
        both(f"{api} {name} stream", lambda way: streamed(model(way, responses, name), messages).model_dump())
    structured = lambda way: model(way, responses, "").with_structured_output({"title": "sky", **TABLE["schema"]}, method="json_schema")
    both(f"{api} structured", lambda way: structured(way).invoke(ask("structured")))
