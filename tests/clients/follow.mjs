// One JavaScript client follows a generation: `follow.mjs CLIENT URL`. It prints what it has read as
// JSON: `text`, and whether `done` came. Each is used as its own documentation has it.
import { createRequire } from 'node:module';

const [, , name, url] = process.argv;
const require = createRequire(`${process.env.CLIENTS}/package.json`);
let text = '';
let done = false;

function event(type, data) {
  if (!data) return;
  const said = JSON.parse(data);
  if (type === 'delta') text += said.text;
  if (type === 'snapshot') text = said.text;
  done ||= type === 'done';
}

/** The standard's interface: it comes back by itself until it is closed. */
function eventSource(EventSource) {
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 1000);
    const source = new EventSource(url);
    const end = () => {
      source.close();
      clearInterval(alive);
      resolve();
    };
    for (const type of ['delta', 'snapshot', 'done']) {
      source.addEventListener(type, ({ data }) => {
        event(type, data);
        if (done) end();
      });
    }
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) end();
    };
  });
}

/** Microsoft's client wants a document: to be told when a page is hidden. */
async function fetchEventSource(onclose) {
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  globalThis.window = globalThis;
  const { fetchEventSource: follow } = require('@microsoft/fetch-event-source');
  const stop = new AbortController();
  await follow(url, {
    signal: stop.signal,
    onmessage: (message) => {
      event(message.event, message.data);
      if (done) stop.abort();
    },
    onclose,
    onerror: () => 200,
  });
}

const clients = {
  eventsource: () => eventSource(require('eventsource').EventSource),
  undici: () => eventSource(require('undici').EventSource),
  'fetch-event-source': () => fetchEventSource(undefined),
  'fetch-event-source, onclose throws': () => fetchEventSource(() => {
    if (!done) throw new Error('not the end yet');
  }),
};
await clients[name]();
console.log(JSON.stringify({ text, done }));
process.exit(0);
