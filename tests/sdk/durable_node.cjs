// @durable-streams/client (npm) against two instances behind a dumb proxy: see tests/it/sdk.rs.
const assert = require("node:assert/strict");

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
    await new Promise((resolve, reject) => {
      following.subscribeJson(async (batch) => {
        events.push(...batch.items);
        offset = batch.offset;
        if (batch.items.at(-1)?.type === "done") resolve();
      });
      following.closed.catch(reject);
    });
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
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
