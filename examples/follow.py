"""A generation from its start to its last word, over every cut: each event once.

pip install httpx-sse
python examples/follow.py "Tell me about rivers"
"""

import json
import os
import sys
import time
import uuid

import httpx
from httpx_sse import connect_sse

SERVER = os.environ.get("LASTWORD_SERVER", "http://127.0.0.1:7878")
KEY = os.environ.get("LASTWORD_API_KEY")


def start(client: httpx.Client, prompt: str) -> str:
    """Starts it; the key makes a repeat the same start, should an answer be lost."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    while True:
        try:
            response = client.post("/v1/generations", json={"prompt": prompt}, headers=key)
            response.raise_for_status()
            return response.json()["links"]["events"]
        except httpx.TransportError:
            time.sleep(1)


def events(client: httpx.Client, path: str):
    """Each event once, until there are no more."""
    last = "0"
    while True:
        try:
            with connect_sse(client, "GET", path, headers={"Last-Event-ID": last}) as source:
                if source.response.status_code == 204:
                    return
                source.response.raise_for_status()
                for event in source.iter_sse():
                    if not event.data:  # `retry:` and signs of life come as empty events
                        continue
                    last = event.id
                    yield json.loads(event.data)
                    if event.event == "done":
                        return
        except httpx.TransportError:
            time.sleep(1)


def main() -> None:
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    # The server gives a sign of life every 15 s.
    with httpx.Client(base_url=SERVER, headers=headers, timeout=45) as client:
        text = ""
        for event in events(client, start(client, sys.argv[1])):
            match event["type"]:
                case "delta":
                    text += event["text"]
                    print(event["text"], end="", flush=True)
                case "superseded":  # the model lost its answer and begins again
                    text = ""
                    print("\n--")
                case "snapshot":  # in place of everything before it
                    text = event["text"]
                    print(f"\n--\n{text}", end="")
                case "done":
                    print(f"\n[{event['status']}]", file=sys.stderr)


main()
