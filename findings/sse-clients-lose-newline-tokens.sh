#!/usr/bin/env bash
# A token that is a line break travels as an event of two empty `data:` lines, and one followed by "Hi" as
# `data:` and `data: Hi`. One expects clients to join the lines with a line break, as EventSource does.
# @microsoft/fetch-event-source 2.0.1 (and its fork by @fortaine), @azure/core-sse 2.4.0 and fetch-event-stream
# 0.1.6 test the data so far for being empty, so the first line break is lost; the last two give no event at all
# for a token of one line break. Text must not be streamed bare: wrapped in JSON it has no line breaks.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @microsoft/fetch-event-source@2.0.1 @azure/core-sse@2.4.0 fetch-event-stream@0.1.6 eventsource@5.1.5) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { EventSource } from 'eventsource';
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { createSseStream } from '@azure/core-sse';
import { events } from 'fetch-event-stream';
import http from 'node:http';

/** An upstream that answers every request with these pieces; `cut` breaks the connection instead of ending the body. */
async function serve(pieces, { cut = false, pause = 20, kind = 'text/event-stream' } = {}) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': kind });
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await new Promise((done) => setTimeout(done, pause));
      }
      cut ? response.destroy() : response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}
const event = (value, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(value)}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const pieces = ['data: Oh\n\n', 'data:\ndata:\n\n', 'data:\ndata: Hi\n\n'];
const url = await serve(pieces);
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
const all = { eventsource: '', microsoft: '', azure: '', 'fetch-event-stream': '' };
await new Promise((done) => {
  const source = new EventSource(url);
  source.onmessage = (m) => (all.eventsource += m.data);
  source.onerror = () => (source.close(), done());
});
await fetchEventSource(url, {
  openWhenHidden: true, onmessage: (m) => (all.microsoft += m.data), onclose: () => { throw new Error('end'); }, onerror: (e) => { throw e; },
}).catch(() => {});
for await (const m of createSseStream((await fetch(url)).body)) all.azure += m.data;
for await (const m of events(await fetch(url))) all['fetch-event-stream'] += m.data ?? '';
console.log('@microsoft/fetch-event-source 2.0.1, @azure/core-sse 2.4.0, fetch-event-stream 0.1.6, eventsource 5.1.5');
verdict('Oh, two line breaks, Hi: four times', all,
  { eventsource: 'Oh\n\nHi', microsoft: 'OhHi', azure: 'OhHi', 'fetch-event-stream': 'OhHi' });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
