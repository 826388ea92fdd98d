"""One Python client follows a generation: `follow.py CLIENT URL`. It prints what it has read as JSON:
`text`, and whether `done` came. Each is written as its own documentation has it; where it does not
come back by itself, a loop of ours does, with the last id."""

import asyncio
import json
import sys
import time

RETRY = 0.2


class Seen:
    """The answer so far."""

    def __init__(self) -> None:
        self.text, self.done, self.last = "", False, "0"

    def event(self, name: str, data: str, last: str | None) -> None:
        self.last = last or self.last
        if not data:
            return
        said = json.loads(data)
        if name == "delta":
            self.text += said["text"]
        elif name == "snapshot":
            self.text = said["text"]
        self.done |= name == "done"

    def headers(self) -> dict[str, str]:
        return {"Accept": "text/event-stream", "Last-Event-ID": self.last}


class Lines:
    """The rule of the specification over lines: an event counts at its blank line."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.begin()

    def begin(self) -> None:
        self.name, self.data, self.last = "", [], None

    def line(self, line: str) -> None:
        if not line:
            self.seen.event(self.name, "\n".join(self.data), self.last)
            return self.begin()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self.name = value
        elif field == "data":
            self.data.append(value)
        elif field == "id":
            self.last = value


def again(read, lost) -> Seen:
    """Reads until `done`, coming back after each cut."""
    seen = Seen()
    while not seen.done:
        try:
            read(seen)
        except lost:
            pass
        time.sleep(RETRY)
    return seen


def httpx_sse(url: str) -> Seen:
    import httpx
    from httpx_sse import connect_sse

    def read(seen: Seen) -> None:
        with httpx.Client(timeout=45) as client, connect_sse(client, "GET", url, headers=seen.headers()) as source:
            for event in source.iter_sse():
                seen.event(event.event, event.data, event.id)

    return again(read, httpx.TransportError)


def httpx_lines(url: str) -> Seen:
    import httpx

    def read(seen: Seen) -> None:
        lines = Lines(seen)
        with httpx.Client(timeout=45) as client, client.stream("GET", url, headers=seen.headers()) as response:
            for line in response.iter_lines():
                lines.line(line)

    return again(read, httpx.TransportError)


def sseclient(url: str) -> Seen:
    import requests
    from sseclient import SSEClient

    def read(seen: Seen) -> None:
        response = requests.get(url, headers=seen.headers(), stream=True, timeout=45)
        for event in SSEClient(response).events():
            seen.event(event.event, event.data, event.id)

    return again(read, requests.RequestException)


def requests_lines(url: str) -> Seen:
    import requests

    def read(seen: Seen) -> None:
        lines = Lines(seen)
        response = requests.get(url, headers=seen.headers(), stream=True, timeout=45)
        for line in response.iter_lines(decode_unicode=True):
            lines.line(line)

    return again(read, requests.RequestException)


def aiohttp_lines(url: str) -> Seen:
    import aiohttp

    def read(seen: Seen) -> None:
        async def one() -> None:
            lines = Lines(seen)
            async with aiohttp.ClientSession() as session, session.get(url, headers=seen.headers()) as response:
                async for line in response.content:
                    lines.line(line.decode().rstrip("\r\n"))

        asyncio.run(one())

    return again(read, aiohttp.ClientError)


def aiohttp_sse(url: str) -> Seen:
    from aiohttp_sse_client import client

    seen = Seen()

    async def one() -> None:
        async with client.EventSource(url) as source:
            async for event in source:
                seen.event(event.type, event.data, event.last_event_id)
                if seen.done:
                    return

    try:
        asyncio.run(one())
    except Exception as error:  # What it does is what is asked for.
        print(type(error).__name__, file=sys.stderr)
    return seen


CLIENTS = {
    "httpx-sse": httpx_sse, "httpx iter_lines": httpx_lines, "sseclient-py": sseclient,
    "requests iter_lines": requests_lines, "aiohttp": aiohttp_lines, "aiohttp-sse-client": aiohttp_sse,
}

if __name__ == "__main__":
    answer = CLIENTS[sys.argv[1]](sys.argv[2])
    print(json.dumps({"text": answer.text, "done": answer.done}))
