#!/usr/bin/env bash
# The borders of TCP segments mean nothing in SSE. One expects an event to arrive, once, wherever the server's
# writes begin and end. extended-eventsource 2.1.0 takes CR and LF that come in two reads for two line ends:
# each event ended by CRLF is followed by messages without data. With whole events in each read all is right,
# and with LF alone always. A stream behind a server that writes CRLF meets such borders by chance, and
# JSON.parse of "" throws then. Write LF.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts extended-eventsource@2.1.0 eventsource@5.1.5) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { EventSource as Plain } from 'eventsource';
import { EventSource as Extended } from 'extended-eventsource';
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

console.error = console.warn = console.info = () => {};
async function read(Source, pieces) {
  const url = await serve(pieces, { pause: 60 });
  const source = new Source(url);
  const seen = [];
  await new Promise((done) => {
    source.onmessage = (message) => seen.push(message.data);
    source.onerror = done;
    setTimeout(done, 3000);
  });
  source.close();
  return seen;
}
const whole = ['data: a\r\n\r\n', 'data: b\r\n\r\n'];
const cut = ['data: a\r', '\n\r', '\ndata: b\r', '\n\r', '\n'];
console.log('extended-eventsource 2.1.0, eventsource 5.1.5');
verdict('a and b, four times', [await read(Extended, whole), await read(Extended, cut), await read(Plain, whole), await read(Plain, cut)],
  [['a', 'b'], ['a', '', '', 'b', '', ''], ['a', 'b'], ['a', 'b']]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
