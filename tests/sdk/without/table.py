"""The situations of requests.json, and the line that says what a client holds."""

import json
import os
import pathlib

BOTH = {way: os.environ[way] for way in ["DIRECT", "THROUGH"]}
TABLE = json.loads((pathlib.Path(__file__).parent / "requests.json").read_text())
FLAT = [{"type": "function", **tool["function"]} for tool in TABLE["tools"]]
NAMED = {"@tools": TABLE["tools"], "@flat_tools": FLAT, "@schema": TABLE["schema"], "@picture": TABLE["picture"], "@pdf": TABLE["pdf"]}


def filled(value):
    if isinstance(value, dict):
        return {name: filled(inner) for name, inner in value.items() if name != "as"}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return NAMED.get(value, value) if isinstance(value, str) else value


def requests(api):
    """Each situation's name and request, the errors last."""
    for name, body in TABLE[api].items():
        yield name, filled(body)
    for name in TABLE["errors"]:
        prompt = f"[[{name}]]"
        yield name, {"input": prompt} if api == "responses" else {"messages": [{"role": "user", "content": prompt}]}


def held(error):
    """What a client's error says."""
    answer = getattr(error, "response", None)
    said = {"class": type(error).__name__, "status": getattr(error, "status_code", None)}
    for name in ["code", "type", "param", "body"]:
        said[name] = getattr(error, name, None)
    # pydantic-ai has a whole run there, with its times.
    if isinstance(said["body"], str):
        del said["body"]
    if answer is not None:
        said["retry-after"] = answer.headers.get("retry-after")
    return {"error": said}


def both(name, ask):
    """Asks at both addresses, and prints a line for each."""
    for way in BOTH:
        for _ in range(20):
            try:
                value = ask(way)
            except Exception as error:
                value = held(error)
            # A database on a busy machine may be slow; the client is asked to come again.
            if "storage_unavailable" not in str(value.get("error")):
                break
        print(json.dumps({"situation": name, "way": way, "held": value}, default=str), flush=True)
