"""A proxy that cuts event streams: the first so many answers of each client end after forty events,
in good order or in the middle of an event. Later ones pass whole."""

import asyncio

EVENTS = 40
CUTS = 5


class Cutter:
    """Listens on a port of its own; `how` is `clean` or `broken`."""

    def __init__(self, port: int, how: str) -> None:
        self.server_port, self.how = port, how
        self.cuts = self.streams = 0
        self.cursors: list[str] = []

    async def __aenter__(self) -> "Cutter":
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()

    async def serve(self, client: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        try:
            head = await client.readuntil(b"\r\n\r\n")
            # One request a connection: the end of an answer is the end of it.
            lines = [x for x in head.split(b"\r\n") if not x.lower().startswith((b"connection:", b"accept-encoding:"))]
            asked = b"\r\n".join(lines[:-2] + [b"Connection: close", b"", b""])
            self.cursors += [x.split(b":")[1].strip().decode() for x in lines if x.lower().startswith(b"last-event-id:")]
            server, up = await asyncio.open_connection("127.0.0.1", self.server_port)
            up.write(asked)
            answer = await server.readuntil(b"\r\n\r\n")
            # Node takes any end of an answer with `Connection: close` for a clean one.
            out.write(b"\r\n".join(x for x in answer.split(b"\r\n") if not x.lower().startswith(b"connection:")))
            if b"text/event-stream" in answer.lower():
                self.streams += 1
                await self.stream(server, out)
            else:
                out.write(await server.read())
            await out.drain()
            up.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            out.close()

    async def stream(self, server: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        """The chunks as they come, as long as they may."""
        cut = self.cuts < CUTS
        seen, rest = 0, b""
        while size := int(await server.readline(), 16):
            rest += await server.readexactly(size)
            await server.readexactly(2)
            *events, rest = rest.split(b"\n\n")
            for event in events:
                if cut and seen == EVENTS:
                    self.cuts += 1
                    if self.how == "broken":
                        out.write(chunk(event[: len(event) // 2]))
                    else:
                        out.write(b"0\r\n\r\n")
                    return
                out.write(chunk(event + b"\n\n"))
                seen += b"\nid:" in event or event.startswith(b"id:")
            await out.drain()
        out.write(b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
