// A generation from its start to its last word with fetch, in Node.js, Deno, Bun or a browser:
// each event once, over every cut.   node examples/follow-fetch.mjs "Tell me about rivers"
const env = globalThis.process?.env ?? {};
const server = env.LASTWORD_SERVER ?? "http://127.0.0.1:7878";
const auth = env.LASTWORD_API_KEY ? { authorization: `Bearer ${env.LASTWORD_API_KEY}` } : {};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts it; the key makes a repeat the same start, should an answer be lost. */
async function start(prompt) {
  const headers = { ...auth, "content-type": "application/json", "idempotency-key": crypto.randomUUID() };
  for (;;) {
    try {
      const response = await fetch(`${server}/v1/generations`, {
        method: "POST", headers, body: JSON.stringify({ prompt }),
      });
      if (response.ok) return (await response.json()).links.events;
      if (response.status < 500) throw new Error(await response.text());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch: no connection, or it broke
    }
    await pause(1000);
  }
}

/** Each event once, until there are no more. */
async function* events(path) {
  let last = 0;
  for (;;) {
    try {
      const response = await fetch(server + path, { headers: { ...auth, "last-event-id": String(last) } });
      if (response.status === 204) return;
      if (!response.ok && response.status < 500) throw new Error(await response.text());
      let text = "";
      for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (text + bytes).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const data = block.split("\n").find((line) => line.startsWith("data: "));
          if (!data) continue; // a sign of life
          const event = JSON.parse(data.slice("data: ".length));
          last = event.seq;
          yield event;
          if (event.type === "done") return;
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await pause(1000);
  }
}

for await (const event of events(await start(process.argv[2]))) {
  if (event.type === "delta") process.stdout.write(event.text);
  if (event.type === "superseded") process.stdout.write("\n--\n"); // what was said is void
  if (event.type === "snapshot") process.stdout.write(`\n--\n${event.text}`); // in place of all before
  if (event.type === "done") console.error(`\n[${event.status}]`);
}
