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
const shows = {
  delta: ({ text }) => process.stdout.write(text),
  superseded: () => process.stdout.write("\n--\n"), // what was said is void
  snapshot: ({ text }) => process.stdout.write(`\n--\n${text}`), // in place of everything before
  done: ({ status }) => end(`\n[${status}]`),
};
let source;
let last = 0;
follow();

// Over every cut it comes back by itself. An answer such as a proxy's 502 ends it for good: a new one
// goes on behind the last event.
function follow() {
  source = new EventSource(`${server}${links.events}?after=${last}`);
  for (const [type, show] of Object.entries(shows)) {
    source.addEventListener(type, ({ data, lastEventId }) => {
      last = lastEventId;
      show(JSON.parse(data));
    });
  }
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 1000);
  };
}

// It does not tell the status, so we ask: a server that is there and says no means it.
async function again() {
  const status = await fetch(server + links.self).then((answer) => answer.status, () => 0);
  if (status >= 400 && status < 500) end("the server refuses");
  else follow();
}

function end(word) {
  source.close();
  clearInterval(alive);
  console.error(word);
}
