// @durable-streams/client (npm) against two instances behind a dumb proxy: see tests/it/sdk.rs.
const assert = require("node:assert/strict");
const http = require("node:http");

const origin = new URL(process.env.BASE).origin;
const api = `${origin}/v1/generations`;

async function start(prompt) {
  const answer = await fetch(api, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt }),
  });
  return (await answer.json()).id;
}

const seqs = (events) => events.map((event) => event.seq);
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

/** Whether `closed` resolves before the last batch was handed over. */
async function early(stream, url) {
  const seen = [];
  const following = await stream({ url, live: "sse" });
  following.subscribeJson(async (batch) => {
    // Any consumer may take its time.
    await new Promise((resolve) => setTimeout(resolve, 100));
    seen.push(...batch.items);
  });
  await following.closed;
  return !seen.some((event) => event.type === "done");
}

/** A server that does no more than the protocol's text says: an event at once, and the last one live. */
async function reference() {
  const at = (n) => String(n).padStart(18, "0");
  const server = http.createServer((request, response) => {
    if (!request.url.includes("live=")) {
      const headers = { "stream-next-offset": at(1), "stream-up-to-date": "true" };
      response.writeHead(200, { "content-type": "application/json", ...headers });
      return response.end(`[{"seq":1,"type":"started"}]`);
    }
    const control = { streamNextOffset: at(2), streamCursor: "1", upToDate: true, streamClosed: true };
    response.writeHead(200, { "content-type": "text/event-stream", "stream-next-offset": at(1) });
    response.write(`event: data\ndata: [{"seq":2,"type":"done"}]\n\n`);
    response.end(`event: control\ndata: ${JSON.stringify(control)}\n\n`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/s`, server };
}

(async () => {
  const { stream, DurableStream } = await import("@durable-streams/client").catch(() =>
    import(`${process.env.NODE_PATH}/@durable-streams/client/dist/index.js`),
  );
  for (const live of ["long-poll", "sse"]) {
    const id = await start("/demo tokens=60 tps=100 ttft_ms=0 unicode seed=3");
    const url = `${api}/${id}/stream`;
    const events = [];
    let offset;
    const following = await stream({ url, live });
    const whole = new Promise((resolve) => {
      following.subscribeJson(async (batch) => {
        events.push(...batch.items);
        offset = batch.offset;
        if (batch.items.at(-1)?.type === "done") resolve();
      });
    });
    // Each comes, and neither waits for the other: see `early`.
    await Promise.all([whole, following.closed]);
    assert.deepEqual(seqs(events), upTo(events.length), live);
    assert.equal(events.at(-1).type, "done");
    const all = await (await stream({ url, live: false })).json();
    assert.deepEqual(all, events);
    const rest = await (await stream({ url, live: false, offset: String(5).padStart(18, "0") })).json();
    assert.deepEqual(rest, events.slice(5));
    const end = await fetch(`${url}?offset=${offset}&live=long-poll`);
    assert.equal(end.status, 204);
    assert.equal(end.headers.get("stream-closed"), "true");
    const head = await DurableStream.head({ url });
    assert.equal(head.offset, offset);
    assert.equal((await fetch(`${url}?offset=${"9".repeat(18)}`)).status, 400);
    console.log("ok durable streams", live);
  }
  // The client's `closed` runs ahead of its own consumers: with us as with any server. Once it does
  // not, docs/protocol.md need not say so.
  const { url, server } = await reference();
  const id = await start("/demo tokens=20 tps=200 ttft_ms=0 seed=3");
  const both = [await early(stream, url), await early(stream, `${api}/${id}/stream`)];
  server.close();
  assert.deepEqual(both, [true, true]);
  console.log("ok durable streams: `closed` is early with any server");
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
