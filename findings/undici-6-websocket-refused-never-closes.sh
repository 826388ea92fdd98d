#!/usr/bin/env bash
# A WebSocket whose handshake is refused (a proxy without upgrade answers 426) fires `error` and then `close`
# (HTML standard). One expects code that waits for `close` to go on. undici 6.24.1, the WebSocket that Node
# 20.20 has built in, fires `error` only and stays in state CONNECTING; undici 7.30.2 fires both and is CLOSED.
# A client that falls back from WebSocket to SSE has to take `error` before `open` for the end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts old@npm:undici@6.24.1 new@npm:undici@7.30.2) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { WebSocket as Old } from 'old';
import { WebSocket as New } from 'new';
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

const server = http.createServer().on('upgrade', (_, socket) => socket.end('HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n'));
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const seen = {};
for (const [name, WebSocket] of Object.entries({ '6.24.1': Old, '7.30.2': New })) {
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
  const fired = [];
  for (const kind of ['error', 'close']) socket.addEventListener(kind, () => fired.push(kind));
  await new Promise((done) => setTimeout(done, 3000));
  seen[name] = [fired, socket.readyState];
}
verdict('error, close, state 3 from both', seen, { '6.24.1': [['error'], 0], '7.30.2': [['error', 'close'], 3] });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
