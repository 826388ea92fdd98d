// A generation with the browser's own EventSource, which comes back by itself with the id of the last
// event that it saw.   node --experimental-eventsource examples/follow-eventsource.mjs "Tell me about rivers"
// It can send no header. Where a key is needed, sign in for a cookie, or put a ticket into the URL
// (POST /v1/tickets).
const server = globalThis.process?.env.LASTWORD_SERVER ?? "http://127.0.0.1:7878";

const response = await fetch(`${server}/v1/generations`, {
  method: "POST",
  headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID() },
  body: JSON.stringify({ prompt: process.argv[2] }),
});
if (!response.ok) throw new Error(await response.text());
const { links } = await response.json();

// A browser needs no such thing; Node.js would end between two connections.
const alive = setInterval(() => {}, 1000);
const source = new EventSource(server + links.events);
const on = (type, show) => source.addEventListener(type, ({ data }) => show(JSON.parse(data)));
on("delta", ({ text }) => process.stdout.write(text));
on("superseded", () => process.stdout.write("\n--\n")); // what was said is void
on("snapshot", ({ text }) => process.stdout.write(`\n--\n${text}`)); // in place of everything before
on("done", ({ status }) => {
  source.close();
  clearInterval(alive);
  console.error(`\n[${status}]`);
});
// A cut: it comes back by itself. Closed: the server said no, for good.
source.onerror = () => {
  if (source.readyState === EventSource.CLOSED) {
    clearInterval(alive);
    console.error("the server refuses");
  }
};
