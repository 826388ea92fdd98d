#!/usr/bin/env bash
# The last event id counts when an event is complete (SSE specification: at dispatch). One expects a client that
# is cut in mid event to ask for what follows the last whole event. @microsoft/fetch-event-source 2.0.1 sends
# the id of the half event: the server goes on behind it, and that event is lost without an error. A server that
# writes `id:` as the last field of each event loses nothing here: the order of fields is free.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @microsoft/fetch-event-source@2.0.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { fetchEventSource } from '@microsoft/fetch-event-source';
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

globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
/** Six events; every third is broken off before its blank line, and each request goes on behind the id that it names. */
async function read(idFirst) {
  let tries = 0;
  const server = http.createServer((request, response) => {
    const from = Number(request.headers['last-event-id'] ?? 0);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let n = from + 1; n <= 6; n++) {
      const fields = idFirst ? [`id: ${n}\n`, `data: ${n}\n`] : [`data: ${n}\n`, `id: ${n}\n`];
      if (n % 3 === 0 && tries++ < 2) return response.write(fields[0], () => setTimeout(() => response.destroy(), 50));
      response.write(fields.join('') + '\n');
    }
    response.end('data: end\n\n');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const seen = [];
  const stop = new AbortController();
  await fetchEventSource(`http://127.0.0.1:${server.address().port}`, {
    signal: stop.signal, openWhenHidden: true, onerror: () => 10,
    onmessage: (m) => (m.data === 'end' ? stop.abort() : seen.push(Number(m.data))),
  });
  return seen;
}
console.log('@microsoft/fetch-event-source 2.0.1');
verdict('1 to 6, twice', [await read(true), await read(false)], [[1, 2, 4, 5], [1, 2, 3, 4, 5, 6]]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
