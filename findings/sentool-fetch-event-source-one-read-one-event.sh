#!/usr/bin/env bash
# The borders of TCP segments mean nothing in SSE. One expects an event whose lines arrive in two reads to be
# whole. @sentool/fetch-event-source 0.6.0 calls `onmessage` twice for an event in two reads, first without
# data, and of several `data:` lines only the last survives. Long events (a tool call, a snapshot) seldom come
# in one read; it works on one machine and surprises over a network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @sentool/fetch-event-source@0.6.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { fetchEventSource } from '@sentool/fetch-event-source';
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

async function read(pieces) {
  const url = await serve(pieces, { pause: 100 });
  const seen = [];
  await new Promise((done) => {
    fetchEventSource(url, { onmessage: (m) => seen.push(typeof m.data === 'string' ? m.data : JSON.stringify(m.data)), onclose: done, ondone: done, onerror: done });
    setTimeout(done, 1500);
  });
  return seen;
}
const two = 'data: one\ndata: two\n\n';
console.log('@sentool/fetch-event-source 0.6.0');
verdict('"hello"; "one\\ntwo"', [await read(['data: hel', 'lo\n\n']), await read([two])], [[null, 'hello'], ['two']]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
